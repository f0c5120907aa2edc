package sbom

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var when = time.Date(2025, 1, 3, 12, 34, 56, 0, time.UTC)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// official is the schema of the specification.
func official(t testing.TB) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("testdata/spdx-schema-2.3.json")
	must(t, err)
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	must(t, err)
	c := jsonschema.NewCompiler()
	must(t, c.AddResource("spdx.json", doc))
	s, err := c.Compile("spdx.json")
	must(t, err)
	return s
}

// describe makes a document, holds it against the schema and checks what a
// schema can't: ids that are there and there once.
func describe(t testing.TB, p Program, self *debug.BuildInfo) document {
	t.Helper()
	out, err := Describe(p, self, when)
	must(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.JSON))
	must(t, err)
	if err := official(t).Validate(v); err != nil {
		t.Fatalf("%v\n%s", err, out.JSON)
	}
	var d document
	must(t, json.Unmarshal(out.JSON, &d))
	ids := map[string]bool{documentID: true}
	for _, p := range d.Packages {
		if ids[p.ID] || idString(p.ID) != p.ID {
			t.Errorf("id %q twice, or of other letters", p.ID)
		}
		ids[p.ID] = true
		if p.Version == unknown && p.Comment == "" {
			t.Errorf("%s: nothing says why its version is unknown", p.Name)
		}
	}
	for _, r := range d.Relationships {
		if !ids[r.From] || !ids[r.To] {
			t.Errorf("%+v is about what isn't there", r)
		}
	}
	return d
}

func (d document) find(t testing.TB, name string) *pkg {
	t.Helper()
	for _, p := range d.Packages {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no %s in %d packages; %s", name, len(d.Packages), d.Comment)
	return nil
}

func selfInfo(t testing.TB) *debug.BuildInfo {
	t.Helper()
	b, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the test has no build info")
	}
	return b
}

// TestDpkg compares with dpkg itself, for programs and their libraries as ldd
// finds them.
func TestDpkg(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/bin/true", "/usr/bin/openssl", "/usr/bin/gdb"} {
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v (make test installs what is missing)", program, err)
		}
		libs := []string{}
		for _, w := range strings.Fields(string(out)) {
			if strings.HasPrefix(w, "/") {
				libs = append(libs, w)
			}
		}
		owners := dpkgOwners(t, append(libs, program))
		// Without the list of files the headers say the same.
		for how, files := range map[string][]string{"watched": append(libs, program), "headers": nil} {
			d := describe(t, Program{Path: program, Files: files}, nil)
			var got, want []string
			for _, p := range d.Packages {
				if p.SourceInfo == "dpkg" || strings.HasPrefix(p.SourceInfo, "dpkg;") {
					got = append(got, p.Name+" "+p.Version)
				}
			}
			want = slices.Clone(owners)
			slices.Sort(got)
			slices.Sort(want)
			if want = slices.Compact(want); !slices.Equal(got, want) {
				t.Errorf("%s, %s:\ngot  %q\nwant %q", program, how, got, want)
			}
			if how == "headers" && !strings.Contains(d.Comment, "loaded at run time") {
				t.Errorf("%s: nothing says that run-time libraries are unknown: %s", program, d.Comment)
			}
		}
	}
}

// dpkgOwners asks dpkg: "libc6 2.36-9" and so on.
func dpkgOwners(t *testing.T, files []string) []string {
	t.Helper()
	args := []string{"-S"}
	for _, f := range files {
		args = append(args, aliases("", f)...)
	}
	out, err := exec.Command("dpkg-query", args...).Output() // fails, since not every alias is known
	if len(out) == 0 {
		t.Fatalf("dpkg-query knows none of %q: %v", files, err)
	}
	args = []string{"-W", "-f", "${Package} ${Version}\n"}
	for line := range strings.Lines(string(out)) {
		owner, _, _ := strings.Cut(line, ": ")
		args = append(args, owner)
	}
	out, err = exec.Command("dpkg-query", args...).Output()
	must(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestGo compares with go version -m.
func TestGo(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	must(t, err)
	d := describe(t, Program{Path: program, Files: []string{program}}, selfInfo(t))
	b, err := buildinfo.ReadFile(program)
	must(t, err)
	for _, m := range b.Deps {
		p := d.find(t, m.Path)
		if p.Version != m.Version || len(p.References) != 1 || !strings.HasPrefix(p.References[0].Locator, "pkg:golang/"+strings.ToLower(m.Path)+"@v") {
			t.Errorf("%s %s: %+v", m.Path, m.Version, p)
		}
	}
	if p := d.find(t, "stdlib"); "go"+p.Version != b.GoVersion {
		t.Errorf("stdlib %s, built with %s", p.Version, b.GoVersion)
	}
	self := d.find(t, "tapedeck")
	if !slices.Contains(d.Relationships, relationship{documentID, "DESCRIBES", self.ID}) {
		t.Error("tapedeck isn't described")
	}
	out, err := exec.Command("sha256sum", program).Output()
	must(t, err)
	if p := d.Packages[0]; p.Checksums[0].Value != string(out[:64]) {
		t.Errorf("digest %s, sha256sum says %s", p.Checksums[0].Value, out)
	}
}

// TestDamaged: the schema does refuse. Without that the other tests say nothing.
func TestDamaged(t *testing.T) {
	t.Parallel()
	out, err := Describe(Program{Path: "/bin/true"}, selfInfo(t), when)
	must(t, err)
	s := official(t)
	for name, change := range map[string]func(d map[string]any){
		"no name":          func(d map[string]any) { delete(d, "name") },
		"no creation":      func(d map[string]any) { delete(d, "creationInfo") },
		"no creators":      func(d map[string]any) { d["creationInfo"].(map[string]any)["creators"] = []any{} },
		"version a number": func(d map[string]any) { d["spdxVersion"] = 2.3 },
		"no download":      func(d map[string]any) { delete(d["packages"].([]any)[0].(map[string]any), "downloadLocation") },
		"purpose":          func(d map[string]any) { d["packages"].([]any)[0].(map[string]any)["primaryPackagePurpose"] = "FUN" },
		"relationship":     func(d map[string]any) { d["relationships"].([]any)[0].(map[string]any)["relationshipType"] = "KNOWS" },
		"unknown field":    func(d map[string]any) { d["packages"].([]any)[0].(map[string]any)["colour"] = "red" },
	} {
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.JSON))
		must(t, err)
		must(t, s.Validate(v))
		change(v.(map[string]any))
		var invalid *jsonschema.ValidationError
		if err := s.Validate(v); !errors.As(err, &invalid) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestUnknown: what isn't known is said, and nothing fails.
func TestUnknown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "lib.so"), []byte("x"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "noise"), []byte("#!\n\x00"), 0o700))
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe.so"), 0o600))
	for name, c := range map[string]struct {
		p    Program
		want string
	}{
		"a pipe":          {Program{Path: filepath.Join(dir, "pipe.so"), Files: []string{filepath.Join(dir, "pipe.so")}}, "it is no regular file"},
		"nothing":         {Program{}, "didn't tell which file"},
		"no such file":    {Program{Path: "/no/such/file"}, "couldn't be read"},
		"a folder":        {Program{Path: dir}, "it is no regular file"},
		"noise":           {Program{Path: filepath.Join(dir, "noise")}, "only what Go built says it"},
		"not of a system": {Program{Path: "/bin/true", Files: []string{filepath.Join(dir, "lib.so")}}, "no package of the system owns the file"},
		"no dpkg":         {Program{Path: "/noise", Root: dir, Files: []string{"/noise"}}, "there is no database of dpkg"},
	} {
		d := describe(t, c.p, nil)
		text, err := json.Marshal(d)
		must(t, err)
		if !strings.Contains(string(text), c.want) {
			t.Errorf("%s: want %q in %s", name, c.want, text)
		}
	}
}

// TestLanguages has a root file system with a package of every kind.
func TestLanguages(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put := func(name, text string) {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(text), 0o600))
	}
	jarOf := func(name string, entries ...string) {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(entries); i += 2 {
			f, err := z.Create(entries[i])
			must(t, err)
			_, err = f.Write([]byte(entries[i+1]))
			must(t, err)
		}
		must(t, z.Close())
		put(name, b.String())
	}
	put("app/run.py", "#!/usr/bin/python3 -u\n")
	put("usr/bin/python3", "ELF")
	put("usr/lib/os-release", "NAME=\"X\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n")
	put("var/lib/dpkg/info/python3.12-minimal.list", "/.\n/usr/bin/python3\n")
	put("var/lib/dpkg/info/libz1:amd64.list", "/lib/x/libz.so.1\n/usr/share/java/owned.jar\n")
	put("var/lib/dpkg/status", "Package: python3.12-minimal\nStatus: install ok installed\nArchitecture: amd64\nMaintainer: Some One <a@b>\nSource: python3.12 (3.12.3)\nVersion: 3.12.3-1+x\n\nPackage: libz1\nArchitecture: amd64\nVersion: 1:1.3\n")
	site := "usr/lib/python3/site-packages/"
	put(site+"requests/api.py", "")
	put(site+"requests-2.31.0.dist-info/METADATA", "")
	put(site+"yaml/__init__.py", "")
	put(site+"PyYAML-6.0.1.dist-info/top_level.txt", "_yaml\nyaml\n")
	put(site+"orphan/__init__.py", "")
	put("opt/lib/python3.13/lib-dynload/_json.cpython-313-x86_64-linux-gnu.so", "")
	put("opt/lib/libpython3.13.so.1.0", "")
	put(site+"unused-1.0.dist-info/METADATA", "")
	put("app/node_modules/@scope/pkg/lib/a.js", "")
	put("app/node_modules/@scope/pkg/package.json", `{"version":"3.2.1"}`)
	put("app/node_modules/broken/index.js", "")
	put("app/node_modules/broken/package.json", `{{`)
	jarOf("app/guava.jar", "META-INF/maven/g/a/pom.properties", "groupId=com.google.guava\nartifactId=guava\nversion=33.0\n")
	jarOf("app/old.jar", "META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nImplementation-Version: 1.4\r\n")
	put("app/noise.jar", "PK")
	d := describe(t, Program{Path: "/app/run.py", Root: root, Files: []string{
		"/app/run.py", "/usr/lib/x/libz.so.1", "/usr/share/java/owned.jar", "/" + site + "requests/api.py", "/" + site + "yaml/__init__.py",
		"/" + site + "yaml/_yaml.cpython-313-x86_64-linux-gnu.so", "/" + site + "orphan/__init__.py", "/" + site + "gone/__init__.py",
		"/opt/lib/python3.13/lib-dynload/_json.cpython-313-x86_64-linux-gnu.so", "/opt/lib/libpython3.13.so.1.0",
		"/app/node_modules/@scope/pkg/lib/a.js", "/app/node_modules/broken/index.js", "/app/guava.jar", "/app/old.jar", "/app/noise.jar",
	}}, nil)
	for _, c := range []struct{ name, version, purl string }{
		{"run.py", unknown, ""},
		{"python3.12-minimal", "3.12.3-1+x", "pkg:deb/ubuntu/python3.12-minimal@3.12.3-1%2Bx?arch=amd64&distro=ubuntu-24.04"},
		{"libz1", "1:1.3", "pkg:deb/ubuntu/libz1@1:1.3?arch=amd64&distro=ubuntu-24.04"},
		{"requests", "2.31.0", "pkg:pypi/requests@2.31.0"},
		{"PyYAML", "6.0.1", "pkg:pypi/pyyaml@6.0.1"},
		{"orphan", unknown, ""},
		{"cpython", "3.13", "pkg:generic/cpython@3.13"},
		{"@scope/pkg", "3.2.1", "pkg:npm/%40scope/pkg@3.2.1"},
		{"broken", unknown, "pkg:npm/broken"},
		{"com.google.guava/guava", "33.0", "pkg:maven/com.google.guava/guava@33.0"},
		{"old", "1.4", ""},
		{"noise", unknown, ""},
	} {
		p := d.find(t, c.name)
		got := ""
		if len(p.References) > 0 {
			got = p.References[0].Locator
		}
		if p.Version != c.version || got != c.purl {
			t.Errorf("%s: %s %s, want %s %s", c.name, p.Version, got, c.version, c.purl)
		}
	}
	if p := d.find(t, "python3.12-minimal"); p.Supplier != "Organization: Some One" {
		t.Errorf("supplier %q", p.Supplier)
	}
	if len(d.Packages) != 13 { // and tapedeck
		t.Errorf("%d packages", len(d.Packages))
	}
}

// TestRoot: a link that leads out of an image isn't followed.
func TestRoot(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	must(t, os.Mkdir(filepath.Join(root, "bin"), 0o700))
	must(t, os.Symlink("/bin/true", filepath.Join(root, "bin/app")))
	must(t, os.Symlink("../../../../../../../../bin/true", filepath.Join(root, "bin/lib.so.1")))
	d := describe(t, Program{Path: "/bin/app", Root: root, Files: []string{"/bin/app", "/bin/lib.so.1"}}, nil)
	if p := d.find(t, "app"); p.Checksums != nil || !strings.Contains(p.Comment, "couldn't be read") {
		t.Errorf("%+v", p)
	}
	if p := d.find(t, "lib.so.1"); p.Checksums != nil {
		t.Errorf("%+v", p)
	}
}

// TestSame: the same program gives the same document.
func TestSame(t *testing.T) {
	t.Parallel()
	a, err := Describe(Program{Path: "/bin/true"}, selfInfo(t), when)
	must(t, err)
	b, err := Describe(Program{Path: "/bin/true"}, selfInfo(t), when)
	must(t, err)
	if !bytes.Equal(a.JSON, b.JSON) {
		t.Error("two documents")
	}
}

// TestBounds: a program that uses more than the list may hold.
func TestBounds(t *testing.T) {
	t.Parallel()
	var files []string
	for i := range maxFiles + 10 {
		files = append(files, filepath.Join("/no/such", strings.Repeat("x", i%200)+string(rune('a'+i%26)), "lib.so."+strings.Repeat("1", 1+i/200)))
	}
	d := describe(t, Program{Path: "/bin/true", Files: files}, nil)
	if len(d.Packages) > maxListed+2 || !strings.Contains(d.Comment, "components beyond the first") {
		t.Errorf("%d packages, %s", len(d.Packages), d.Comment)
	}
}
