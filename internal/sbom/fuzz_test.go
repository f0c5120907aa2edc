package sbom

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// FuzzDpkg: whatever the database holds, the list is an SPDX document.
func FuzzDpkg(f *testing.F) {
	schema := official(f)
	f.Add([]byte("Package: libz1\nArchitecture: amd64\nVersion: 1.3\nMaintainer: Z Team <z@example.org>\nSource: zlib\n"), []byte("/usr/lib/libz.so.1\n"), []byte("ID=debian\nVERSION_ID=\"12\"\n"))
	f.Add([]byte("Package: libz1\n\n\nPackage: libz1\nVersion\n: \n"), []byte("\n\n/usr/lib/libz.so.1"), []byte("ID=\x00\nVERSION_ID='\n"))
	f.Add([]byte("Package: libz1\nVersion: \xff\nArchitecture: a/b?c\nMaintainer: <\n"), []byte("/usr/lib/libz.so.1"), []byte("ID=a b\nVERSION_ID=\xff"))
	f.Fuzz(func(t *testing.T, status, list, release []byte) {
		const file = "/usr/lib/libz.so.1"
		d := &dpkg{distro: "debian", owners: map[string]string{}, about: map[string]stanza{}}
		d.release(release)
		if found := d.take("libz1:amd64", list, map[string][]string{file: {file}}); len(found) == 0 {
			d.owners[file] = "libz1:amd64"
		}
		d.status(status)
		l := newLister(nil, when)
		l.list(documentID, "DESCRIBES", d.component(d.owner(file)))
		text, err := l.done().Encode()
		must(t, err)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		must(t, err)
		if err := schema.Validate(v); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		again, err := l.done().Encode()
		must(t, err)
		if !bytes.Equal(text, again) {
			t.Fatal("two documents")
		}
	})
}
