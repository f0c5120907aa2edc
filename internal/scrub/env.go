package scrub

import (
	"bytes"
	"strings"
)

// SecretEnv says whether an environment variable looks like a secret, by its
// name or by its value. What is held back by mistake is noticed at once; what
// is let through by mistake is noticed by nobody.
func (r *Rules) SecretEnv(name, value string) bool {
	if f := r.find(Env, name); f != nil && !f.scan && r.actionOf(f) != Keep {
		return true
	}
	return r.scanner.secret(value)
}

// secret says whether a value holds what opens something. Personal data is
// no reason to hold a variable back.
func (s *scanner) secret(value string) bool {
	for _, prefix := range []string{"github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "ya29.", "sk-ant-"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	var st state
	st.depth = maxDepth // not inside base64: that is scrubbed later
	s.scan([]byte(value), &st)
	for _, h := range st.hits {
		switch h.det {
		case detJWT, detPrivateKey, detAPIKey, detBearer, detBasic, detConnString:
			return true
		case detField:
			switch h.field.class {
			case Password, Secret, APIKey, PrivateKey, Bearer, Basic, ConnString:
				return true
			}
		}
	}
	return bytes.Contains([]byte(value), []byte("hooks.slack.com/services/"))
}
