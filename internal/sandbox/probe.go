package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Finding is what Probe found out about one use of sandboxes.
type Finding struct {
	Name  string // "record", "replay"
	Works bool
	Found string
	Need  string // if it does not work
	Fix   string
}

// Probe makes a sandbox of each kind and runs a program in it. No setting is
// read for that: they don't tell what a container or a security module forbids.
func Probe(ctx context.Context) []Finding {
	var all []Finding
	for _, c := range []Config{{}, {Hermetic: true}} {
		f := Finding{Name: "record"}
		if c.Hermetic {
			f.Name = "replay"
		}
		weaknesses, err := try(ctx, c)
		if err != nil && c.Hermetic && ctx.Err() == nil {
			c.Weak = true
			var e error
			if weaknesses, e = try(ctx, c); e != nil {
				weaknesses = nil
			}
		}
		var u *UnavailableError
		switch {
		case err == nil && os.Getuid() == 0:
			f.Works, f.Found = true, "namespaces, as root"
		case err == nil:
			f.Works, f.Found = true, "namespaces, without privileges"
		case errors.As(err, &u):
			f.Need, f.Found, f.Fix = u.Need, u.Found, u.Fix
		default:
			f.Found = err.Error()
		}
		if len(weaknesses) > 0 {
			f.Found += "; a weaker sandbox works: " + strings.Join(weaknesses, "; ")
		}
		all = append(all, f)
	}
	return all
}

// try runs a program that does nothing.
func try(ctx context.Context, c Config) (weaknesses []string, err error) {
	c.Args, c.Dir, c.Env = []string{"true"}, "/", []string{"PATH=/usr/bin:/bin"}
	b, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	status, err := b.Wait()
	if err == nil && status != 0 {
		err = fmt.Errorf("a program that does nothing ended with status %#x", status)
	}
	return b.Weaknesses(), err
}

// namespaceFix is how namespaces are allowed here. What forbids them was found
// out by trying; this is only to name it.
func namespaceFix() string {
	if b, err := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); err == nil && bytes.HasPrefix(b, []byte("1")) && os.Getuid() != 0 {
		return "install the AppArmor profile packaging/apparmor/tapedeck: copy it to /etc/apparmor.d and run apparmor_parser -r /etc/apparmor.d/tapedeck; or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
	}
	if b, err := os.ReadFile("/proc/sys/kernel/unprivileged_userns_clone"); err == nil && bytes.HasPrefix(b, []byte("0")) && os.Getuid() != 0 {
		return "sysctl kernel.unprivileged_userns_clone=1"
	}
	return "allow user namespaces; " + containerFix
}
