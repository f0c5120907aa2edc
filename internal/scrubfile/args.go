package scrubfile

import (
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// Args scrubs the arguments of a command: --password=X and --password X by the
// option's name, everything else as text.
func Args(s *scrub.Scrubber, args []string) []string {
	clean := make([]string, len(args))
	option := "" // the one that the next argument may be the value of
	for i, a := range args {
		name, value, ok := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(a, "-") && ok:
			clean[i] = name + "=" + s.Field(scrub.Attr, optionName(name), value)
			option = ""
		case strings.HasPrefix(a, "-"):
			clean[i] = string(s.Text([]byte(a)).Bytes())
			option = optionName(a)
		case option != "":
			clean[i] = s.Field(scrub.Attr, option, a)
			option = ""
		case ok && i > 0:
			clean[i] = name + "=" + s.Field(scrub.Env, name, value) // env NAME=VALUE PROGRAM
		default:
			clean[i] = string(s.Text([]byte(a)).Bytes())
		}
	}
	return clean
}

// optionName is what an option is about: db.password of -Ddb.password.
func optionName(option string) string {
	if name, ok := strings.CutPrefix(option, "-D"); ok {
		return name
	}
	return strings.TrimLeft(option, "-")
}

// commandLine scrubs the arguments of a command that stand in one text.
func commandLine(s *scrub.Scrubber, line string) string {
	return strings.Join(Args(s, strings.Split(line, " ")), " ")
}
