package scrub

import (
	"fmt"
	"strings"
)

// Class says what kind of private thing a value is. It is part of the token.
// Rule files may name others: lower case letters, digits and underscores.
type Class string

// The classes that detectors find.
const (
	Email      Class = "email"
	PAN        Class = "pan"
	IBAN       Class = "iban"
	SSN        Class = "ssn"
	Phone      Class = "phone"
	IP         Class = "ip"
	JWT        Class = "jwt"
	PrivateKey Class = "private_key"
	APIKey     Class = "api_key"
	Bearer     Class = "bearer"
	Basic      Class = "basic"
	ConnString Class = "conn_string"
)

// Classes that only a schema tells.
const (
	Password Class = "password"
	Secret   Class = "secret"
	Opaque   Class = "opaque"  // an encoded value that could not be opened within its bounds
	Unknown  Class = "unknown" // a field that the schema does not know, under a policy for such
)

// Action is what becomes of a private value.
type Action int

const (
	Tokenise Action = iota // replaced by a token; the default
	Keep                   // left as it is
	Mask                   // replaced by a fixed text: nothing is left to join by
	Drop                   // removed
	Format                 // replaced by a value of the same shape
	Argon                  // a token that costs time and memory to guess; for few values of low entropy
)

var actionNames = [...]string{"tokenise", "keep", "mask", "drop", "format", "argon2id"}

func (a Action) String() string {
	if a < 0 || int(a) >= len(actionNames) {
		return fmt.Sprintf("action(%d)", int(a))
	}
	return actionNames[a]
}

func parseAction(name string) (Action, bool) {
	for i, n := range actionNames {
		if n == name {
			return Action(i), true
		}
	}
	return 0, false
}

// Kind says where a named value stands.
type Kind int

// The kinds of fields that a schema knows.
const (
	Header Kind = iota
	Query
	Cookie
	Form
	JSONKey
	SQLColumn
	SQLParam
	Env
	Attr
	numKinds = int(Attr) + 1
)

// kindNames are the sections of a rule file.
var kindNames = [numKinds]string{"headers", "query", "cookies", "form", "json", "sql_columns", "sql_params", "env", "attributes"}

func (k Kind) String() string {
	if k < 0 || int(k) >= numKinds {
		return fmt.Sprintf("kind(%d)", int(k))
	}
	return kindNames[k]
}

// validClass keeps classes fit for a token.
func validClass(c string) bool {
	if len(c) < 2 || len(c) > maxClass || c[0] == '_' || c[len(c)-1] == '_' || strings.Contains(c, "__") {
		return false
	}
	for i := range len(c) {
		if !(c[i] >= 'a' && c[i] <= 'z' || c[i] >= '0' && c[i] <= '9' || c[i] == '_') {
			return false
		}
	}
	return true
}

const maxClass = 24
