package privacy

import (
	"strings"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/scrubfile"
)

// ScrubManifest scrubs the text in a manifest that comes from the program or its
// surroundings. Digests and what tapedeck itself says stay.
func ScrubManifest(s *scrub.Scrubber, m *bundle.Manifest) {
	for name, value := range m.Env {
		m.Env[name] = s.Field(scrub.Env, name, value)
	}
	for _, r := range m.Recorders {
		fields(s, r)
	}
	for _, extra := range []map[string]any{m.Origin.Extra, m.Inputs.Extra, m.Privacy.Extra, m.Toolchain, m.Extra} {
		fields(s, extra)
	}
	for _, text := range []*string{&m.Origin.Env, &m.Origin.Region, &m.Origin.Service,
		&m.Inputs.TimeStream, &m.Inputs.OrderStream, &m.Inputs.NetworkCassette, &m.Inputs.DBCassette} { // paths: as the files are named now
		*text = string(s.Text([]byte(*text)).Bytes())
	}
	for i := range m.Lossy {
		m.Lossy[i].Reason = string(s.Text([]byte(m.Lossy[i].Reason)).Bytes())
	}
}

// fields scrubs the values of an open map by their names. A version such as
// 7.2.22.1 looks like an address, and is none.
func fields(s *scrub.Scrubber, m map[string]any) {
	for name, v := range m {
		if strings.HasSuffix(name, "version") || strings.HasSuffix(name, "sha256") || name == "kernel" || name == "guest_kernel" {
			continue
		}
		m[name] = field(s, name, v)
	}
}

func field(s *scrub.Scrubber, name string, v any) any {
	switch v := v.(type) {
	case string:
		return s.Field(scrub.Attr, name, v)
	case []string:
		return scrubfile.Args(s, v)
	case []any:
		var args []string
		for _, e := range v {
			text, ok := e.(string)
			if !ok {
				args = nil
				break
			}
			args = append(args, text)
		}
		if args != nil {
			for i, clean := range scrubfile.Args(s, args) {
				v[i] = clean
			}
			return v
		}
		for i, e := range v {
			v[i] = field(s, name, e)
		}
	case map[string]any:
		if name == "env" || name == "environment" {
			for k, e := range v {
				if text, ok := e.(string); ok {
					v[k] = s.Field(scrub.Env, k, text)
				}
			}
			return v
		}
		fields(s, v)
	case map[string]string:
		for k, e := range v {
			v[k] = s.Field(scrub.Env, k, e)
		}
	}
	return v
}
