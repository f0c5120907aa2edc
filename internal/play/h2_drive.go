package play

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/match"
)

// drive2 asks the program over HTTP/2 what it was asked on one connection: each
// request when its turn comes, its body piece by piece.
func (p *Player) drive2(ctx context.Context, c net.Conn, list []*cassette.Exchange, lost func(string, int)) {
	t := &nethttp.Transport{DisableCompression: true, Protocols: new(nethttp.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
	t.Protocols.SetUnencryptedHTTP2(true)
	conn, err := t.NewClientConn(ctx, "http", list[0].Authority)
	if err != nil {
		lost(err.Error(), 0)
		return
	}
	defer conn.Close()
	var wg sync.WaitGroup
	for _, x := range list {
		wg.Go(func() {
			if err := p.ask2(ctx, conn, x); err != nil {
				q := p.of(match.ID(x))
				p.gate.Skip(q.request()...)
				p.skipAnswer(q)
				if x.Response != nil && x.End == "" {
					p.drifted(match.ID(x), match.Field{Name: "answer", Recorded: "one", Live: err.Error()})
				}
			}
		})
	}
	wg.Wait()
}

func (p *Player) ask2(ctx context.Context, conn *nethttp.ClientConn, x *cassette.Exchange) error {
	q := p.of(match.ID(x))
	if len(q.asked) > 0 {
		_ = p.gate.Wait(ctx, q.asked[0].Seq)
	}
	body, err := x.Request.Body.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	pr, pw := io.Pipe()
	defer pr.Close()
	r, err := nethttp.NewRequestWithContext(ctx, x.Request.Method(), "http://"+x.Authority+x.Request.Target(), pr)
	if err != nil {
		return err
	}
	for name, value := range x.Request.Fields() {
		if !strings.EqualFold(name, "host") {
			r.Header.Add(name, value)
		}
	}
	if x.Request.Body.Size() == 0 && len(x.Request.Trailer) == 0 {
		r.Body = nil
	} else if trailer := fields(x.Request.Trailer); len(trailer) > 0 {
		r.Trailer = trailer
	}
	if r.Body == nil {
		p.gate.Done(first(q))
		p.gate.Skip(q.request()...)
	} else {
		go func() {
			for _, e := range q.asked {
				_ = p.gate.Wait(ctx, e.Seq)
				if _, err := io.CopyN(pw, body, e.Len); err != nil {
					break
				}
				p.gate.Done(e.Seq)
			}
			_, err := io.Copy(pw, body)
			pw.CloseWithError(err)
		}()
	}
	answer, err := conn.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	p.gate.Happened(q.answer)
	cut := x.Response != nil && x.Response.Truncated != ""
	var live bytes.Buffer
	buf := make([]byte, 32<<10)
	for done := 0; ; {
		n, err := answer.Body.Read(buf)
		live.Write(buf[:n])
		for done < len(q.data) && q.data[done].Off+q.data[done].Len <= int64(live.Len()) {
			p.gate.Happened(q.data[done].Seq)
			done++
		}
		if err != nil || cut && int64(live.Len()) >= x.Response.Body.Size() {
			break // whoever asked had enough
		}
	}
	p.skipAnswer(q)
	if x.Response == nil || cut {
		return nil
	}
	m := &cassette.Message{Head: fmt.Appendf(nil, "HTTP/2 %d\r\n%s\r\n", answer.StatusCode, fieldLines(answer.Header)), Body: cassette.Bytes(live.Bytes())}
	diff := compare(x.Response, p.scrubbed(m))
	if want, got := fields(x.Response.Trailer).Get("Grpc-Status"), answer.Trailer.Get("Grpc-Status"); want != got {
		diff = append(diff, match.Field{Name: "grpc-status", Recorded: want, Live: got})
	}
	if len(diff) > 0 {
		p.drifted(match.ID(x), diff...)
	}
	return nil
}

func first(q *sequence) uint64 {
	if len(q.asked) == 0 {
		return 0
	}
	return q.asked[0].Seq
}

func fields(lines []byte) nethttp.Header {
	h := nethttp.Header{}
	for name, value := range cassette.Fields(append([]byte("\n"), lines...)) {
		h.Add(name, value)
	}
	return h
}

func fieldLines(h nethttp.Header) string {
	var b strings.Builder
	for name, values := range h {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", strings.ToLower(name), v)
		}
	}
	return b.String()
}
