package main

import (
	"bufio"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/websocket"
)

// serve starts all servers. What they answer differs from call to call, so that
// only a recording can repeat it.
func serve(cert tls.Certificate) error {
	for _, ip := range []string{serverIP, otherIP} {
		pc, err := net.ListenPacket("udp", ip+":53")
		if err != nil {
			return err
		}
		go dns(pc)
		l, err := net.Listen("tcp", ip+":53")
		if err != nil {
			return err
		}
		go dnsStream(l)
	}
	secureDNS, err := tls.Listen("tcp", serverIP+":853", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return err
	}
	go dnsStream(secureDNS)
	for _, addr := range []string{serverIP, "[2001:db8::10]"} {
		plain, err := net.Listen("tcp", addr+":80")
		if err != nil {
			return err
		}
		secure, err := net.Listen("tcp", addr+":443")
		if err != nil {
			return err
		}
		h := handler()
		go http.Serve(plain, h)
		s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
		go s.ServeTLS(secure, "", "")
	}
	l, err := net.Listen("tcp", serverIP+":7000")
	if err != nil {
		return err
	}
	go lines(l)
	return serveGRPC(cert)
}

func token() string {
	b := make([]byte, 8)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func handler() http.Handler {
	m := http.NewServeMux()
	reply := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	m.HandleFunc("/now", func(w http.ResponseWriter, r *http.Request) {
		reply(w, map[string]any{"now": time.Now().UnixNano(), "nonce": token(), "proto": r.Proto, "host": r.Host})
	})
	m.HandleFunc("/item/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a="+token())
		w.Header().Add("Set-Cookie", "b="+token())
		reply(w, map[string]any{"id": r.PathValue("id"), "price": mrand.IntN(1_000_000)})
	})
	m.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		reply(w, map[string]any{"got": string(body), "nonce": token()})
	})
	// In an order that nobody knows, and apart enough for it to be one.
	slots := mrand.Perm(128)
	var asked atomic.Int64
	begin := sync.OnceValue(time.Now)
	m.HandleFunc("/slow/{id}", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Until(begin().Add(time.Second + time.Duration(slots[asked.Add(1)%128])*10*time.Millisecond)))
		fmt.Fprintf(w, "%s\n", r.PathValue("id"))
	})
	m.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", i, token())
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	m.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.ParseInt(r.FormValue("n"), 10, 64)
		w.Header().Set("Content-Type", "application/octet-stream")
		io.CopyN(w, endless{}, n)
	})
	m.HandleFunc("/trailer", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body "+token()+"\n")
		w.Header().Set("X-Sum", token())
	})
	m.HandleFunc("/reset", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		io.WriteString(w, strings.Repeat("x", 5000))
		w.(http.Flusher).Flush()
		if h, ok := w.(http.Hijacker); ok {
			c, _, _ := h.Hijack()
			if t, ok := c.(*net.TCPConn); ok {
				time.Sleep(50 * time.Millisecond)
				t.SetLinger(0)
			}
			c.Close()
			return
		}
		panic(http.ErrAbortHandler)
	})
	m.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		http.Error(w, "status "+token(), code)
	})
	m.Handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) {
		var text string
		for websocket.Message.Receive(c, &text) == nil {
			websocket.Message.Send(c, text+" "+token())
		}
	}})
	return m
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i * 7)
	}
	return len(p), nil
}

// lines is a protocol of its own, in which the server speaks first.
func lines(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			fmt.Fprintf(c, "HELLO %s\n", token())
			for s := bufio.NewScanner(c); s.Scan(); {
				fmt.Fprintf(c, "%s %s\n", strings.ToUpper(s.Text()), token())
			}
		}()
	}
}

// dns knows every name below example.test but those that begin with "no".
func dns(pc net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := resolve(buf[:n]); out != nil {
			pc.WriteTo(out, from)
		}
	}
}

// dnsStream is the same over TCP.
func dnsStream(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for {
				var size uint16
				if binary.Read(c, binary.BigEndian, &size) != nil {
					return
				}
				q := make([]byte, size)
				if _, err := io.ReadFull(c, q); err != nil {
					return
				}
				out := resolve(q)
				c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...))
			}
		}()
	}
}

func resolve(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	name := strings.ToLower(q.Name.String())
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60, Type: q.Type}
	switch {
	case !strings.HasSuffix(name, ".example.test.") || strings.HasPrefix(name, "no"):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA && !strings.HasPrefix(name, "six"):
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: [4]byte{203, 0, 113, 10}}})
	case q.Type == dnsmessage.TypeAAAA && strings.HasPrefix(name, "six"):
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: [16]byte{0x20, 1, 0xd, 0xb8, 15: 0x10}}})
	}
	out, _ := m.Pack()
	return out
}
