// Httpgo asks a server for what differs each time, and prints the answers, a
// UUID of its own and the time in whole hours:
//
//	httpgo URL [what…]
//
// what is one of now, echo, items, events, trailer, lines, reset, missing, big, ws, dnstcp, dnstls.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/net/websocket"
)

func main() {
	base := os.Args[1]
	what := os.Args[2:]
	if len(what) == 0 {
		what = []string{"now", "echo", "items"}
	}
	fmt.Println("hour", time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339), "uuid", uuid())
	for _, w := range what {
		switch w {
		case "now":
			get(base + "/now")
		case "echo":
			show(http.Post(base+"/echo", "application/json", strings.NewReader(`{"id":"`+uuid()+`","customer":"ada@example.com"}`)))
		case "items":
			for i := range 3 {
				get(fmt.Sprintf("%s/item/%d", base, i))
			}
		case "events", "trailer", "reset":
			get(base + "/" + w)
		case "missing":
			get(base + "/never-recorded?" + os.Getenv("MISSING"))
		case "big":
			get(base + "/big?n=3000000")
		case "ws":
			sockets(base)
		case "dnstcp":
			r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			}}
			fmt.Println(r.LookupHost(context.Background(), "only-tcp.example.test"))
		case "dnstls":
			r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return tls.Dial("tcp", "203.0.113.10:853", &tls.Config{ServerName: "dns.example.test"})
			}}
			fmt.Println(r.LookupHost(context.Background(), "only-tls.example.test"))
		case "lines":
			lines(base)
		default:
			fmt.Fprintln(os.Stderr, "httpgo: what is", w)
			os.Exit(4)
		}
	}
}

func get(url string) { show(http.Get(url)) }

func show(r *http.Response, err error) {
	if err != nil {
		fmt.Println("error", err)
		return
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	text := string(body)
	if len(body) > 1000 {
		text = fmt.Sprintf("%d bytes, %x", len(body), sha256.Sum256(body))
	}
	fmt.Println(r.Proto, r.Status, r.Header["Set-Cookie"], strings.TrimSpace(text), r.Trailer, err)
}

func sockets(base string) {
	c, err := websocket.Dial("ws"+strings.TrimPrefix(base, "http")+"/ws", "", base)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	defer c.Close()
	for _, text := range []string{"one", `{"mail":"ada@example.com"}`, strings.Repeat("long ", 20_000)} {
		var answer string
		err := errors.Join(websocket.Message.Send(c, text), websocket.Message.Receive(c, &answer))
		fmt.Println(len(text), answer[max(0, len(answer)-16):], err)
	}
}

func lines(base string) {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	c, err := net.Dial("tcp", u.Hostname()+":7000")
	if err != nil {
		fmt.Println("error", err)
		return
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for i := range 3 {
		line, err := r.ReadString('\n')
		fmt.Print(line)
		if err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Fprintf(c, "line %d\n", i)
	}
}

func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
