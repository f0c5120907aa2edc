// Lab runs a command among servers to record against, on names and addresses
// that exist nowhere else:
//
//	lab [-n] COMMAND [ARG…]
//
// It makes a network and a mount namespace (as root, or as root of a user
// namespace), in which api.example.test and others answer over DNS, HTTP/1.1,
// HTTP/2, TLS, WebSocket and a protocol of its own, and in which the system's
// trust stores hold the authority of their certificates. With -n the names and
// the certificates are there, but no server is.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	serverIP = "203.0.113.10"  // of every server
	otherIP  = "198.51.100.53" // of a DNS server that no file names
	stage    = "TAPEDECK_LAB_STAGE"
)

func main() {
	dead := flag.Bool("n", false, "no servers")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: lab [-n] COMMAND [ARG...]")
		os.Exit(4)
	}
	if os.Getenv(stage) == "" {
		os.Exit(enter())
	}
	os.Unsetenv(stage)
	code, err := run(*dead, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

// enter runs this program again within the namespaces.
func enter() int {
	c := exec.Command("/proc/self/exe", os.Args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), stage+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return exitCode(c.Run())
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	exit, ok := err.(*exec.ExitError)
	if !ok {
		fmt.Fprintln(os.Stderr, "lab:", err)
		return 125
	}
	if ws := exit.Sys().(syscall.WaitStatus); ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return exit.ExitCode()
}

func run(dead bool, command []string) (int, error) {
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	for _, a := range []string{"link set lo up", "addr add " + serverIP + "/32 dev lo", "addr add " + otherIP + "/32 dev lo", "addr add 2001:db8::10/128 dev lo nodad"} {
		if out, err := exec.Command("sh", "-c", "ip "+a).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("ip %s: %v: %s", a, err, out)
		}
	}
	cert, ca, err := certificate()
	if err != nil {
		return 0, err
	}
	if err := stores(dir, ca); err != nil {
		return 0, err
	}
	if !dead {
		if err := serve(cert); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+filepath.Join(dir, "ca.pem"), "REQUESTS_CA_BUNDLE="+filepath.Join(dir, "ca.pem"))
	return exitCode(c.Run()), nil
}

// certificate makes an authority and a certificate of it for every name.
func certificate() (tls.Certificate, []byte, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Lab Authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "example.test"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"example.test", "*.example.test"}, IPAddresses: []net.IP{net.ParseIP(serverIP), net.ParseIP("2001:db8::10")}}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), nil
}

// stores puts the authority into the trust stores that programs open, and the
// DNS server into resolv.conf: by mounts that only this namespace sees.
func stores(dir string, ca []byte) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return err
	}
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o644); err != nil {
			panic(err)
		}
		return name
	}
	over := map[string]string{"/etc/resolv.conf": write("resolv.conf", []byte("nameserver "+serverIP+"\noptions timeout:2 attempts:2\n"))}
	pemFile := write("ca.pem", ca)
	const system = "/etc/ssl/certs/ca-certificates.crt"
	if old, err := os.ReadFile(system); err == nil {
		over[system] = write("system.pem", append(old, ca...))
	}
	const java = "/etc/ssl/certs/java/cacerts"
	if _, err := os.Stat(java); err == nil {
		jks := filepath.Join(dir, "cacerts")
		out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "lab", "-file", pemFile, "-storetype", "JKS", "-keystore", jks, "-storepass", "changeit").CombinedOutput()
		if err != nil {
			return fmt.Errorf("keytool: %v: %s", err, out)
		}
		over[java] = jks
	}
	for target, source := range over {
		if real, err := filepath.EvalSymlinks(target); err == nil {
			target = real
		}
		if err := syscall.Mount(source, target, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind over %s: %w", target, err)
		}
	}
	return nil
}
