package record

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// secretName matches names of environment variables that tend to hold what
// must not leave the machine; secretValue the values, whatever their name.
// What is held back by mistake is noticed at once and let through with --env;
// what is let through by mistake is noticed by nobody.
var (
	secretName = regexp.MustCompile(`(?i)(token|secret|passw|passphrase|pwd$|(^|_)pass(_|$)|credential|api_?key|private|access_?key` +
		`|(master|signing|encryption|license)_?key|_key(_|$)|^key$|auth([^o]|$)|cookie|session|signature|dsn$|conn(ection)?_?str` +
		`|jwt|bearer|salt|webhook|(^|_)(otp|pin|pat)$)`)

	secretValue = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@` + // a URL with a password
		`|\b(AKIA|ASIA)[0-9A-Z]{16}\b` + // AWS
		`|\bgh[pousr]_[0-9A-Za-z]{30,}|\bgithub_pat_|\bglpat-|\bxox[abprs]-|\bsk-[0-9A-Za-z_-]{16,}|\bAIza[0-9A-Za-z_-]{30,}` +
		`|\b[sr]k_(live|test)_[0-9A-Za-z]{16,}|\b(hf|npm)_[0-9A-Za-z]{30,}|\bSG\.[0-9A-Za-z_-]{16,}\.|\bya29\.|hooks\.slack\.com/services/` +
		`|(?i:\b(password|pwd|accountkey|sharedaccesskey)=[^;\s]+)|(?i:\bbearer [0-9a-z._~+/-]{16,})` +
		`|\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+\.` + // a JWT
		`|-----BEGIN [A-Z ]*PRIVATE KEY`)

	// harmless names that secretName would catch.
	plainName = regexp.MustCompile(`^(PWD|OLDPWD|XDG_SESSION_(ID|TYPE|CLASS|DESKTOP)|DESKTOP_SESSION|GOAUTH|TOKENIZERS_PARALLELISM)$`)
)

// Environment returns what a recorded program gets of env, and the names of
// what was held back because it looks like a secret. Each of allow is a NAME,
// which lets that variable through, or a NAME=VALUE, which sets it.
func Environment(env, allow []string) (kept, held []string, err error) {
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
		if !asked[name] && secret(name, value) {
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

func secret(name, value string) bool {
	return secretName.MatchString(name) && !plainName.MatchString(name) || secretValue.MatchString(value)
}
