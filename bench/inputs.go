package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/martian/v3"
	martianlog "github.com/google/martian/v3/log"

	"github.com/tapedeck-dev/tapedeck/internal/cassette"
	"github.com/tapedeck-dev/tapedeck/internal/scrub"
	"github.com/tapedeck-dev/tapedeck/internal/spool"
	"github.com/tapedeck-dev/tapedeck/internal/tap"
	"github.com/tapedeck-dev/tapedeck/internal/trust"
	"github.com/tapedeck-dev/tapedeck/internal/wire"
	wirehttp "github.com/tapedeck-dev/tapedeck/internal/wire/http"
)

// role says that this process is one of the peers that inputs measures.
const role = "TAPEDECK_BENCH_ROLE"

// inputs compares what recording an HTTP exchange costs with what a martian
// forward proxy takes, which records nothing: each in a process of its own, whose
// CPU time is counted.
func inputs(ctx context.Context, l *lab, r *report) error {
	origin, err := startPeer(ctx, "origin", "")
	if err != nil {
		return err
	}
	defer origin.stop()
	arms := map[string][]float64{}
	names := []string{"martian", "copy", "record"}
	rates := map[string][]float64{}
	for range l.times(5, 2) {
		for _, name := range names {
			p, err := startPeer(ctx, name, origin.addr)
			if err != nil {
				return err
			}
			cpu, rate, err := drive(ctx, p, origin.addr, name == "martian", time.Duration(l.times(2000, 500))*time.Millisecond)
			p.stop()
			if err != nil {
				return err
			}
			arms[name] = append(arms[name], cpu)
			rates[name] = append(rates[name], rate)
		}
	}
	m, c, rec := median(arms["martian"]), median(arms["copy"]), median(arms["record"])
	r.bar("recording HTTP, own CPU for each request", "≤ 1.2 × martian", fmt.Sprintf("%.2f × (%.0f µs, martian %.0f µs)", rec/m, rec, m), rec <= 1.2*m)
	r.section("Recording HTTP: 1 KB of JSON, 16 connections that stay", []string{"process", "own CPU for each request", "requests a second"}, [][]string{
		{"martian forward proxy", fmt.Sprintf("%.1f µs", m), fmt.Sprintf("%.0f", median(rates["martian"]))},
		{"the tap, which copies", fmt.Sprintf("%.1f µs", c), fmt.Sprintf("%.0f", median(rates["copy"]))},
		{"the tap, decoding, scrubbing and spooling", fmt.Sprintf("%.1f µs", rec), fmt.Sprintf("%.0f", median(rates["record"]))}})
	return nil
}

type peer struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startPeer(ctx context.Context, name, origin string) (*peer, error) {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", origin)
	cmd.Env = append(os.Environ(), role+"="+name)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	return &peer{cmd, in, strings.TrimSpace(addr)}, err
}

func (p *peer) stop() {
	p.in.Close()
	_ = p.cmd.Wait() // its end is of no interest
}

// cpu is the CPU time that the process has taken, in seconds.
func (p *peer) cpu() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100, errors.Join(err1, err2)
}

// drive asks for a while and returns the peer's microseconds for each request,
// and the requests a second.
func drive(ctx context.Context, p *peer, origin string, proxy bool, d time.Duration) (micros, rate float64, err error) {
	t := &http.Transport{MaxIdleConnsPerHost: 16}
	target := "http://" + p.addr + "/item"
	if proxy {
		t.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr})
		target = "http://" + origin + "/item"
	}
	c := &http.Client{Transport: t}
	before, err := p.cpu()
	if err != nil {
		return 0, 0, err
	}
	var n atomic.Int64
	var failed atomic.Value
	var wg sync.WaitGroup
	begin := time.Now()
	for range 16 {
		wg.Go(func() {
			for time.Since(begin) < d && ctx.Err() == nil {
				resp, err := c.Get(target)
				if err != nil {
					failed.Store(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				n.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	t.CloseIdleConnections()
	if err, ok := failed.Load().(error); ok {
		return 0, 0, err
	}
	time.Sleep(200 * time.Millisecond) // for what is decoded behind the copying
	after, err := p.cpu()
	return (after - before) * 1e6 / float64(n.Load()), float64(n.Load()) / took.Seconds(), err
}

// playRole is the other processes' main function.
func playRole(name, origin string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	switch name {
	case "origin":
		body := `{"items":[` + strings.Repeat(`{"id":12,"name":"thing","price":9.5},`, 26) + `{"id":1}]}`
		go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		}))
	case "martian":
		martianlog.SetLevel(martianlog.Silent)
		p := martian.NewProxy()
		p.SetRoundTripper(&http.Transport{MaxIdleConnsPerHost: 16}) // its own keeps too few for 16 connections
		go p.Serve(l)
	default:
		if err := serveTap(l, origin, name == "record"); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, os.Stdin) // until the parent lets go
	return err
}

func serveTap(l net.Listener, origin string, decode bool) error {
	ca, err := trust.New()
	if err != nil {
		return err
	}
	dst, err := netip.ParseAddrPort(origin)
	if err != nil {
		return err
	}
	o := tap.Options{Sink: nowhere{}, CA: ca, Now: func() cassette.Time { return cassette.Time{Wall: time.Now().UnixNano()} }}
	if decode {
		rules, err := scrub.Builtin("secrets", "pci", "gdpr_default")
		if err != nil {
			return err
		}
		salt, err := scrub.NewSalt("bench", []byte("a salt for figures, not for use"))
		if err != nil {
			return err
		}
		s, err := scrub.New(rules, salt)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "tapedeck-bench-")
		if err != nil {
			return err
		}
		sp, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{MaxBytes: 1 << 50, SegmentBytes: 256 << 20})
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.RemoveAll(dir); os.Exit(0) }()
		o.Sink = tap.NewQueue(wirehttp.NewRecorder(sp, s), 8<<20)
	}
	t := tap.New(o)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go t.Outgoing(c, dst)
		}
	}()
	return nil
}

// nowhere is a sink that keeps nothing.
type nowhere struct{}

func (nowhere) Put(wire.Chunk) {}
