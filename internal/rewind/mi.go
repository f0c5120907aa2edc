package rewind

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// record is one line of gdb's machine interface.
//
//	token? ^class,results     the answer to the command with that token
//	*class,results  =… +…     something happened: a stop, a new thread
//	~"text"  &"text"  @"text" the console, gdb's own log, the program
type record struct {
	token   int // -1 without one
	kind    byte
	class   string
	results value  // a tuple
	text    string // of the stream kinds
}

// value is a constant, a tuple or a list. A list of results (frame={…},…) keeps
// the values; what they are called says nothing that the list's name doesn't.
type value struct {
	text   string
	fields []field
	items  []value
}

type field struct {
	name  string
	value value
}

// get follows names through tuples; a missing one gives an empty value.
func (v value) get(path ...string) value {
	for _, name := range path {
		next := value{}
		for _, f := range v.fields {
			if f.name == name {
				next = f.value
				break
			}
		}
		v = next
	}
	return v
}

func (v value) str(path ...string) string { return v.get(path...).text }

func (v value) num(path ...string) int {
	n, _ := strconv.Atoi(v.get(path...).text)
	return n
}

const (
	maxDepth = 64       // of nested tuples and lists; gdb's own are below ten
	maxLine  = 32 << 20 // bytes
)

// errPrompt is the line "(gdb)", which says nothing.
var errPrompt = errors.New("prompt")

// parseRecord reads a line without its newline. A line that is not of the
// interface, as a program under gdb may print, is an error.
func parseRecord(line string) (record, error) {
	line = strings.TrimRight(line, "\r")
	if strings.TrimRight(line, " ") == "(gdb)" {
		return record{}, errPrompt
	}
	p := parser{s: line}
	r := record{token: -1}
	digits := 0
	for digits < len(line) && line[digits] >= '0' && line[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		n, err := strconv.Atoi(line[:digits])
		if err != nil {
			return r, p.errorf("a token that is no number")
		}
		r.token, p.i = n, digits
	}
	if p.i >= len(line) {
		return r, p.errorf("no record")
	}
	r.kind = line[p.i]
	p.i++
	var err error
	switch r.kind {
	case '~', '@', '&':
		if r.text, err = p.quoted(); err != nil {
			return r, err
		}
	case '^', '*', '+', '=':
		if r.class = p.name(); r.class == "" {
			return r, p.errorf("no class")
		}
		for p.i < len(p.s) {
			if p.s[p.i] != ',' {
				return r, p.errorf("want a comma")
			}
			p.i++
			f, err := p.field(0)
			if err != nil {
				return r, err
			}
			r.results.fields = append(r.results.fields, f)
		}
	default:
		return r, p.errorf("unknown kind of record")
	}
	if p.i != len(p.s) {
		return r, p.errorf("more than a record")
	}
	return r, nil
}

type parser struct {
	s string
	i int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("gdb/mi column %d: %s", p.i+1, fmt.Sprintf(format, args...))
}

// name reads what stands before '=' or ','.
func (p *parser) name() string {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte("=,{}[]\"", p.s[p.i]) < 0 {
		p.i++
	}
	return p.s[start:p.i]
}

func (p *parser) field(depth int) (field, error) {
	name := p.name()
	if name == "" || p.i >= len(p.s) || p.s[p.i] != '=' {
		return field{}, p.errorf("want NAME=VALUE")
	}
	p.i++
	v, err := p.value(depth)
	return field{name, v}, err
}

func (p *parser) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, p.errorf("nested too deep")
	}
	if p.i >= len(p.s) {
		return value{}, p.errorf("want a value")
	}
	switch p.s[p.i] {
	case '"':
		text, err := p.quoted()
		return value{text: text}, err
	case '{':
		return p.many('}', depth, func(v *value) error {
			f, err := p.field(depth + 1)
			v.fields = append(v.fields, f)
			return err
		})
	case '[':
		return p.many(']', depth, func(v *value) error {
			if strings.IndexByte("\"{[", p.s[p.i]) < 0 {
				f, err := p.field(depth + 1)
				v.items = append(v.items, f.value)
				return err
			}
			item, err := p.value(depth + 1)
			v.items = append(v.items, item)
			return err
		})
	}
	return value{}, p.errorf("want a string, a tuple or a list")
}

// many reads elements up to the closing bracket, which may follow the opening
// one directly.
func (p *parser) many(closing byte, depth int, element func(*value) error) (value, error) {
	var v value
	p.i++
	for first := true; ; first = false {
		switch {
		case p.i >= len(p.s):
			return v, p.errorf("want %q", closing)
		case p.s[p.i] == closing:
			p.i++
			return v, nil
		case !first && p.s[p.i] != ',':
			return v, p.errorf("want a comma or %q", closing)
		case !first:
			p.i++
		}
		if p.i >= len(p.s) {
			return v, p.errorf("want an element")
		}
		if err := element(&v); err != nil {
			return v, err
		}
	}
}

// quoted reads a string as C writes it.
func (p *parser) quoted() (string, error) {
	if p.i >= len(p.s) || p.s[p.i] != '"' {
		return "", p.errorf("want a string")
	}
	p.i++
	var out strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch c {
		case '"':
			return out.String(), nil
		case '\\':
			if p.i >= len(p.s) {
				return "", p.errorf("a string that doesn't end")
			}
			p.escape(&out)
		default:
			out.WriteByte(c)
		}
	}
	return "", p.errorf("a string that doesn't end")
}

func (p *parser) escape(out *strings.Builder) {
	c := p.s[p.i]
	p.i++
	if i := strings.IndexByte("abfnrtve", c); i >= 0 {
		out.WriteByte("\a\b\f\n\r\t\v\x1b"[i])
		return
	}
	if c < '0' || c > '7' {
		out.WriteByte(c)
		return
	}
	n := int(c - '0')
	for range 2 {
		if p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '7' {
			n = n*8 + int(p.s[p.i]-'0')
			p.i++
		}
	}
	out.WriteByte(byte(n))
}

// quote writes a string as gdb's machine interface reads it.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&out, "\\%03o", c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('"')
	return out.String()
}
