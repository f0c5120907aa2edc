package importer

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// place fills in of what server and for what the request is. What the URL lacks
// comes from the request's Host, and then from the options.
func (r *reader) place(x *Exchange, link, hostField string) error {
	u, err := url.Parse(link)
	if err != nil {
		return errors.New("its URL can't be read")
	}
	x.Scheme, x.Authority = strings.ToLower(u.Scheme), u.Host
	switch {
	case x.Scheme == "":
		x.Scheme = r.opt.Scheme
	case x.Scheme != "http" && x.Scheme != "https":
		return errors.New("its URL is neither http nor https")
	}
	if x.Authority == "" {
		x.Authority = hostField
	}
	if x.Authority == "" {
		x.Authority = r.opt.Authority
	}
	if x.Scheme == "" || x.Authority == "" {
		return errors.New("the file does not tell its scheme and host; --base-url URL does")
	}
	// The target as it is spelled, not as a library would spell it.
	target, _, _ := strings.Cut(link, "#")
	if i := strings.Index(target, "://"); i >= 0 {
		target = target[i+3:]
		if i := strings.IndexAny(target, "/?"); i >= 0 {
			target = target[i:]
		} else {
			target = ""
		}
	}
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = "/" + target
	}
	x.Target = target
	return checkPlace(x)
}

func checkPlace(x *Exchange) error {
	if x.Method == "" || strings.ContainsFunc(x.Method, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return errors.New("its method can't stand in a request")
	}
	if strings.ContainsFunc(x.Target, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return errors.New("its URL can't stand in a request")
	}
	if _, _, err := hostPort(x.Scheme, x.Authority); err != nil {
		return err
	}
	if x.Method == "CONNECT" {
		return errors.New("it asks a proxy for a connection")
	}
	return nil
}

// hostPort is whom a request goes to.
func hostPort(scheme, authority string) (host string, port uint16, err error) {
	host, text, err := net.SplitHostPort(authority)
	if err != nil {
		host, text = strings.Trim(authority, "[]"), "80"
		if scheme == "https" {
			text = "443"
		}
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || host == "" {
		return "", 0, errors.New("its host can't be read")
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return host, uint16(n), nil
	}
	if len(host) > 253 || strings.ContainsFunc(host, func(c rune) bool {
		return !(c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z')
	}) {
		return "", 0, errors.New("its host is no name that a resolver is asked for")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "", 0, errors.New("its host is no name that a resolver is asked for")
		}
	}
	return host, uint16(n), nil
}
