package main

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// guestOrders are what a replay in the guest is told. The salt does not go
// there, as what is on the guest's disk is in the recording: the tokens that a
// replay here made do.
type guestOrders struct {
	Salt  []byte       `json:"salt"` // of the tokens of what was not seen here, for this run alone
	Known *scrub.Known `json:"known"`
}

func writeGuestOrders(path string, known *scrub.Known) error {
	salt := make([]byte, 32)
	rand.Read(salt) // never fails
	text, err := json.Marshal(guestOrders{Salt: salt, Known: known})
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// toldScrubbers are what a replay in the guest scrubs with: what it compares,
// and what it prints.
func (o *replayOptions) toldScrubbers() (compare, shown *scrub.Scrubber, err error) {
	text, err := os.ReadFile(o.guest)
	if err != nil {
		return nil, nil, err
	}
	told := guestOrders{Known: &scrub.Known{}}
	if err := json.Unmarshal(text, &told); err != nil {
		return nil, nil, err
	}
	rules, err := o.private.load()
	if err != nil {
		return nil, nil, err
	}
	salt, err := scrub.NewSalt("none", told.Salt)
	if err != nil {
		return nil, nil, err
	}
	if compare, err = scrub.New(rules, salt); err != nil {
		return nil, nil, err
	}
	compare.Share(told.Known)
	if o.unscrubbed {
		return compare, nil, nil
	}
	if shown, err = scrub.New(rules, salt); err != nil {
		return nil, nil, err
	}
	shown.Share(told.Known)
	return compare, shown, nil
}

// The line by which a replay in the guest tells which process the program was:
// rewind looks at that one.
const guestProcessLine = "the program was process %d of the guest"

var guestProcessText = regexp.MustCompile(`(?m)^tapedeck: the program was process (\d+) of the guest$`)

func guestProcess(stderr []byte) int {
	all := guestProcessText.FindAllSubmatch(stderr, -1)
	if len(all) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(string(all[len(all)-1][1])) // the program itself may have printed such a line before
	return pid
}

// guestVerdict is what the replay in the guest said of itself.
func guestVerdict(stderr []byte) string {
	lines := slices.DeleteFunc(strings.Split(string(stderr), "\n"), func(l string) bool { return !strings.HasPrefix(l, "tapedeck: replay ") })
	if len(lines) == 0 {
		return "it gave no verdict"
	}
	return strings.TrimPrefix(lines[0], "tapedeck: ")
}
