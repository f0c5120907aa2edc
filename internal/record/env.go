package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// Environment returns what a recorded program gets of env, and the names of
// what was held back because it looks like a secret. Each of allow is a NAME,
// which lets that variable through, or a NAME=VALUE, which sets it.
func Environment(env, allow []string) (kept, held []string, err error) {
	rules, err := scrub.Builtin("secrets")
	if err != nil {
		return nil, nil, err
	}
	set := map[string]string{}
	asked := map[string]bool{}
	for _, a := range allow {
		name, value, ok := strings.Cut(a, "=")
		if name == "" {
			return nil, nil, fmt.Errorf("--env needs NAME or NAME=VALUE, found %q", a)
		}
		asked[name] = true
		if ok {
			set[name] = value
		}
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if _, ok := set[name]; ok {
			continue
		}
		if !asked[name] && rules.SecretEnv(name, value) {
			held = append(held, name)
			continue
		}
		kept = append(kept, e)
	}
	for name, value := range set {
		kept = append(kept, name+"="+value)
	}
	slices.Sort(kept)
	slices.Sort(held)
	return kept, slices.Compact(held), nil
}
