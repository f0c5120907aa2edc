package trust

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"
)

// Bind is a file to show at the place of another one.
type Bind struct{ Source, Target string }

// Replaced are the trust stores of this machine with the authority in them.
type Replaced struct {
	Binds []Bind
	Env   []string // for what can't be bound over
	Named []string // files that variables name as trust stores, and that are not there
}

// Prepare writes into dir what a program has to see instead of the trust stores
// that it may open: those of OpenSSL and Go, of each JDK, of Python's certifi,
// and those that variables name. Node has its own within it, and reads one more.
func Prepare(c *CA, dir string, env []string) (Replaced, error) {
	var r Replaced
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return r, err
	}
	// The program may be another user's namespace's.
	_ = os.Chmod(filepath.Dir(dir), 0o755)
	write := func(name string, b []byte) (string, error) {
		name = filepath.Join(dir, name)
		return name, os.WriteFile(name, b, 0o644)
	}
	own, err := write("ca.pem", c.PEM())
	if err != nil {
		return r, err
	}
	node := false
	for i, target := range pemStores(env) {
		old, err := os.ReadFile(target)
		if err != nil {
			continue
		}
		if len(old) > 0 && old[len(old)-1] != '\n' {
			old = append(old, '\n')
		}
		source, err := write(fmt.Sprintf("%d.pem", i), append(old, c.PEM()...))
		if err != nil {
			return r, err
		}
		r.Binds = append(r.Binds, Bind{source, target})
	}
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if namesStore(name) && filepath.IsAbs(value) {
			if _, err := os.Stat(value); err != nil {
				r.Named = append(r.Named, value)
			}
		}
	}
	var keystore string
	for _, target := range javaStores(env) {
		if keystore == "" {
			if keystore, err = write("cacerts", c.jks()); err != nil {
				return r, err
			}
		}
		r.Binds = append(r.Binds, Bind{keystore, target})
	}
	for _, e := range env {
		node = node || strings.HasPrefix(e, "NODE_EXTRA_CA_CERTS=")
	}
	if !node {
		// By a copy in the system's own folder if there is one, since dir may be hidden later.
		r.Env = append(r.Env, "NODE_EXTRA_CA_CERTS="+nodeFile(r.Binds, own))
	}
	return r, nil
}

func nodeFile(binds []Bind, own string) string {
	for _, b := range binds {
		if strings.HasPrefix(b.Target, "/etc/ssl/") || strings.HasPrefix(b.Target, "/etc/pki/") {
			return b.Target
		}
	}
	return own
}

// pemStores are the files with certificates that a program may open, each once.
func pemStores(env []string) []string {
	files := []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/usr/local/share/certs/ca-root-nss.crt"}
	var roots []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		if namesStore(name) {
			files = append(files, value)
		}
		switch name {
		case "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME", "PYENV_ROOT":
			roots = append(roots, value)
		case "HOME":
			roots = append(roots, value+"/.local", value+"/.pyenv/versions/*")
		case "PATH":
			for _, dir := range filepath.SplitList(value) {
				if filepath.Base(dir) == "bin" {
					roots = append(roots, filepath.Dir(dir))
				}
			}
		case "PWD":
			roots = append(roots, value+"/.venv", value+"/venv")
		}
	}
	roots = append(roots, "/usr", "/usr/local")
	for _, root := range roots {
		for _, pattern := range []string{"lib/python3*/*-packages/certifi/cacert.pem", "lib/python3*/*-packages/pip/_vendor/certifi/cacert.pem", "lib/python3/dist-packages/certifi/cacert.pem", "versions/*/lib/python3*/site-packages/certifi/cacert.pem"} {
			found, _ := filepath.Glob(filepath.Join(root, pattern))
			files = append(files, found...)
		}
	}
	return distinct(files)
}

// namesStore tells whether a variable names a file of certificates.
func namesStore(variable string) bool {
	switch variable {
	case "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "GIT_SSL_CAINFO", "PIP_CERT", "DENO_CERT", "HTTPLIB2_CA_CERTS":
		return true
	}
	return false
}

func javaStores(env []string) []string {
	files := []string{"/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"}
	patterns := []string{"/usr/lib/jvm/*/lib/security/cacerts", "/usr/lib/jvm/*/jre/lib/security/cacerts", "/opt/*/lib/security/cacerts"}
	for _, e := range env {
		if name, value, _ := strings.Cut(e, "="); name == "JAVA_HOME" && value != "" {
			patterns = append(patterns, value+"/lib/security/cacerts")
		}
	}
	for _, p := range patterns {
		found, _ := filepath.Glob(p)
		files = append(files, found...)
	}
	return distinct(files)
}

// distinct keeps what is there, by its real path, once.
func distinct(files []string) []string {
	var all, real []string
	for _, f := range files {
		r, err := filepath.EvalSymlinks(f)
		if err != nil || slices.Contains(real, r) {
			continue
		}
		if fi, err := os.Stat(r); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		all, real = append(all, f), append(real, r)
	}
	return all
}

// jks is a keystore that every JDK since 8 reads without a password: of the
// system's authorities, and this one.
func (c *CA) jks() []byte {
	ders := [][]byte{c.cert.Raw}
	system, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt") // without it, ours alone
	for {
		var block *pem.Block
		if block, system = pem.Decode(system); block == nil {
			break
		}
		ders = append(ders, block.Bytes)
	}
	var b bytes.Buffer
	text := func(s string) {
		b.Write(binary.BigEndian.AppendUint16(nil, uint16(len(s))))
		b.WriteString(s)
	}
	b.Write(binary.BigEndian.AppendUint32(nil, 0xfeedfeed))
	b.Write(binary.BigEndian.AppendUint32(nil, 2)) // version
	b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(ders))))
	for i, der := range ders {
		b.Write(binary.BigEndian.AppendUint32(nil, 2)) // a certificate
		text(fmt.Sprintf("authority-%d", i))
		b.Write(make([]byte, 8)) // made in 1970
		text("X.509")
		b.Write(binary.BigEndian.AppendUint32(nil, uint32(len(der))))
		b.Write(der)
	}
	sum := sha1.New()
	for _, u := range utf16.Encode([]rune("changeit")) {
		sum.Write(binary.BigEndian.AppendUint16(nil, u))
	}
	sum.Write([]byte("Mighty Aphrodite"))
	sum.Write(b.Bytes())
	return sum.Sum(b.Bytes())
}
