package pkcs11

import (
	"fmt"
	"net/url"
	"strings"
)

// A uri is as much of RFC 7512 as a reference needs. Library and PIN can't be
// in it: references stand in bundles, and who makes a bundle must not choose
// what is loaded here.
type uri struct{ token, object string }

func parseURI(ref string) (uri, error) {
	const need = "pkcs11:token=TOKEN;object=LABEL"
	rest, ok := strings.CutPrefix(ref, "pkcs11:")
	if !ok || len(ref) > 1024 {
		return uri{}, fmt.Errorf("need %s, found another kind of reference", need)
	}
	if strings.ContainsRune(rest, '?') {
		return uri{}, fmt.Errorf("need %s, found attributes behind a ?; TAPEDECK_PKCS11_MODULE and TAPEDECK_PKCS11_PIN_FILE give library and PIN", need)
	}
	var u uri
	for attr := range strings.SplitSeq(rest, ";") {
		name, value, _ := strings.Cut(attr, "=")
		value, err := url.PathUnescape(value)
		field := map[string]*string{"token": &u.token, "object": &u.object}[name]
		if err != nil || field == nil || *field != "" || value == "" {
			return uri{}, fmt.Errorf("need %s, found %.40q in it", need, attr)
		}
		*field = value
	}
	if u.token == "" || u.object == "" {
		return uri{}, fmt.Errorf("need %s, found one of them alone", need)
	}
	return u, nil
}
