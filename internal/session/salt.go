package session

import (
	"context"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/seal"
)

// scrubber makes the tokens that stand for private values, with the salt that
// the program uses when nobody says: a replay has to make the same ones of what is
// asked. The salt is not in the recording, by which anybody could try values out.
func scrubber() (*scrub.Scrubber, error) {
	ref, key, err := seal.Salt(context.Background(), seal.DefaultSalt, seal.Options{KeyFile: seal.DefaultKeyFile()})
	if err != nil {
		return nil, err
	}
	salt, err := scrub.NewSalt(ref, key)
	if err != nil {
		return nil, err
	}
	rules, err := scrub.Builtin(scrub.Defaults()...)
	if err != nil {
		return nil, err
	}
	return scrub.New(rules, salt)
}
