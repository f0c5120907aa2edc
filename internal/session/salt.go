package session

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// scrubber makes the tokens that stand for private values. A replay has to make
// the same ones of what the program asks, so the salt is kept: not in the
// recording, by which anybody could try values out, but in TAPEDECK_SALT, or else
// in a file of this user's.
func scrubber() (*scrub.Scrubber, error) {
	key := []byte(os.Getenv("TAPEDECK_SALT"))
	if len(key) == 0 {
		var err error
		if key, err = ownSalt(); err != nil {
			return nil, err
		}
	}
	salt, err := scrub.NewSalt("library", key)
	if err != nil {
		return nil, err
	}
	rules, err := scrub.Builtin("secrets", "pci", "gdpr_default")
	if err != nil {
		return nil, err
	}
	return scrub.New(rules, salt)
}

func ownSalt() ([]byte, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "tapedeck", "library-salt")
	if key, err := os.ReadFile(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	tmp, err := os.CreateTemp(filepath.Dir(path), "salt-") // 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), path); errors.Is(err, fs.ErrExist) { // another program was first
		return os.ReadFile(path)
	} else if err != nil {
		return nil, err
	}
	return key, nil
}
