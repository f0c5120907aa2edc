package scrubfile

import (
	"strings"

	"github.com/tapedeck-dev/tapedeck/internal/scrub"
)

// Args scrubs the arguments of a command: --password=X and --password X by the
// option's name, NAME=VALUE by NAME, everything else as text.
func Args(s *scrub.Scrubber, args []string) []string {
	clean := make([]string, len(args))
	option := "" // the one that the next argument may be the value of
	for i, a := range args {
		name, value, ok := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(a, "-") && ok:
			clean[i] = plainText(s, name) + "=" + s.Field(scrub.Attr, optionName(name), value)
			option = ""
		case strings.HasPrefix(a, "-"):
			clean[i] = plainText(s, a)
			option = optionName(a)
		case option == "H" || option == "header": // of curl, and of others
			name, value, _ := strings.Cut(a, ":")
			clean[i] = plainText(s, a)
			if lead := len(value) - len(strings.TrimLeft(value, " ")); lead < len(value) {
				clean[i] = plainText(s, name) + ":" + value[:lead] + s.HTTPField(name, value[lead:])
			}
			option = ""
		case option != "":
			clean[i] = s.Field(scrub.Attr, option, a)
			if clean[i] == a { // --set db.password=X, env -i PASSWORD=X
				clean[i] = assignment(s, a)
			}
			option = ""
		case i > 0:
			clean[i] = assignment(s, a)
		default:
			clean[i] = plainText(s, a)
		}
	}
	return clean
}

// assignment scrubs NAME=VALUE by the name. Before the first = of a URL there
// is no name.
func assignment(s *scrub.Scrubber, a string) string {
	name, value, ok := strings.Cut(a, "=")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return plainText(s, a)
	}
	return plainText(s, name) + "=" + s.Field(scrub.Env, name, value)
}

func plainText(s *scrub.Scrubber, text string) string { return string(s.Text([]byte(text)).Bytes()) }

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
