package importer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/tapedeck-dev/tapedeck/internal/har"
)

func readHAR(r *reader, s source) error {
	f, err := s.root.Open(s.name)
	if err != nil {
		return err
	}
	defer f.Close()
	a, err := har.Read(f, maxFile)
	if err != nil {
		return &DamagedError{s.String(), "an HTTP archive", jsonProblem(err)}
	}
	if fi, err := f.Stat(); err == nil {
		if r.bytes += fi.Size(); r.bytes > maxTotal {
			return &DamagedError{s.String(), fmt.Sprintf("%d MiB in all", maxTotal>>20), "more"}
		}
	}
	r.tape.Tool = strings.TrimSpace(a.Log.Creator.Name + " " + a.Log.Creator.Version)
	for i := range a.Log.Entries {
		where := s.at("entry %d", i+1)
		x, err := r.harEntry(&a.Log.Entries[i])
		if err != nil {
			r.skip(where, err.Error())
			continue
		}
		x.Where = where
		if x.Conn != "" {
			x.Conn = s.String() + " " + x.Conn // their names are the file's own
		}
		if err := r.add(x); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) harEntry(e *har.Entry) (*Exchange, error) {
	switch {
	case e.Direction == "in":
		return nil, errors.New("the program was asked, and did not ask")
	case e.FromCache != "":
		return nil, errors.New("a browser's cache answered")
	}
	x := &Exchange{Method: e.Request.Method, Conn: e.Connection}
	x.Request.Fields = harFields(e.Request.Headers)
	x.Request.Trailers = harFields(e.Request.Trailers)
	if err := r.place(x, e.Request.URL, hostOf(x.Request.Fields)); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddr(strings.Trim(e.ServerIP, "[]")); err == nil {
		x.Peer = netip.AddrPortFrom(a, 0)
	}
	var err error
	if x.Request.Body, err = r.harRequestBody(&e.Request); err != nil {
		return nil, err
	}
	if strings.HasPrefix(e.Request.Version, "HTTP/2") || strings.HasPrefix(e.Request.Version, "h") || strings.HasPrefix(e.Request.Version, "HTTP/3") {
		r.note(noteHTTP2)
	}
	times(x, e)
	if e.Response.Status == 0 {
		if x.End, err = noAnswer(e); err != nil {
			return nil, err
		}
		return x, nil
	}
	m := &Message{Status: e.Response.Status, Reason: e.Response.StatusText, Fields: harFields(e.Response.Headers), Trailers: harFields(e.Response.Trailers)}
	if err := r.harContent(e, m); err != nil {
		return nil, err
	}
	for _, c := range e.Response.Chunks {
		m.Chunks = append(m.Chunks, Chunk{c.Off, c.Len, milliseconds(c.At)})
	}
	switch e.Error { // of archives that tapedeck wrote
	case "reset", "closed", "cut":
		x.End = e.Error
		if e.Error != "" && lengthOf(m.Fields) != int64(len(m.Body)) {
			m.Cut = "disconnect"
		}
	}
	x.Response = m
	return x, nil
}

func noAnswer(e *har.Entry) (string, error) {
	why := e.Error
	if why == "" {
		why = e.Response.Error
	}
	switch why {
	case "reset", "closed", "cut":
		return why, nil
	case "":
		return "", errors.New("no answer came, and the file does not tell why")
	}
	return "", errors.New("no answer came, in words of another tool")
}

func harFields(pairs []har.Pair) []Field {
	var all []Field
	for _, p := range pairs {
		for value := range strings.SplitSeq(p.Value, "\n") { // Chromium joins repeated fields so
			all = append(all, Field{p.Name, strings.TrimSuffix(value, "\r")})
		}
	}
	return all
}

func (r *reader) harRequestBody(q *har.Request) ([]byte, error) {
	p := q.PostData
	switch {
	case p == nil || p.Text == "" && len(p.Params) == 0:
		if q.BodySize > 0 {
			return nil, errors.New("the request's body is not in the file")
		}
		return nil, nil
	case p.Encoding == "base64":
		b, err := base64.StdEncoding.DecodeString(p.Text)
		if err != nil {
			return nil, errors.New("the request's body is no base64")
		}
		return b, nil
	case p.Text != "":
		// Some tools write bytes that are no text as if they were one.
		if q.BodySize > 0 && q.BodySize != int64(len(p.Text)) {
			return nil, errors.New("the request's body is not in the file as it was: its size is another one")
		}
		return []byte(p.Text), nil
	}
	if media, _, _ := mime.ParseMediaType(p.Mime); media != "application/x-www-form-urlencoded" {
		return nil, errors.New("of the request's body the file has the fields alone")
	}
	var pairs []string
	for _, f := range p.Params {
		pairs = append(pairs, url.QueryEscape(f.Name)+"="+url.QueryEscape(f.Value))
	}
	r.note("forms of which the file has the fields alone; they were encoded anew")
	return []byte(strings.Join(pairs, "&")), nil
}

func (r *reader) harContent(e *har.Entry, m *Message) error {
	c := e.Response.Content
	switch {
	case c.Text == nil || *c.Text == "":
		if c.Size != 0 && m.Status != 204 && e.Request.Method != "HEAD" && m.Status != 304 {
			return errors.New("the answer's body is not in the file")
		}
		return nil
	case c.Encoding == "base64":
		b, err := base64.StdEncoding.DecodeString(*c.Text)
		if err != nil {
			return errors.New("the answer's body is no base64")
		}
		m.Body = b
	case c.Encoding != "":
		return errors.New("the answer's body is in an encoding that is not known here")
	default:
		m.Body = []byte(*c.Text)
		r.utf8(m)
	}
	return nil
}

// utf8 says of a text that it is in UTF-8 now: an archive does not keep the
// bytes of other character sets.
func (r *reader) utf8(m *Message) {
	for i, f := range m.Fields {
		if !strings.EqualFold(f.Name, "content-type") {
			continue
		}
		media, params, err := mime.ParseMediaType(f.Value)
		set := strings.ToLower(params["charset"])
		if err != nil || set == "" || set == "utf-8" || set == "utf8" || set == "us-ascii" || ascii(m.Body) {
			return
		}
		params["charset"] = "utf-8"
		m.Fields[i].Value = mime.FormatMediaType(media, params)
		r.note("texts in another character set, which are in UTF-8 now; their Content-Type says so")
		return
	}
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

func milliseconds(ms float64) time.Duration {
	if !(ms > 0) || ms > 1e12 {
		return 0
	}
	return time.Duration(math.Round(ms*1000)) * time.Microsecond
}

func times(x *Exchange, e *har.Entry) {
	at, err := time.Parse(time.RFC3339Nano, e.Started)
	if err != nil {
		return
	}
	x.Began = at
	wait := milliseconds(e.Timings.Send) + milliseconds(e.Timings.Wait)
	for _, before := range []float64{e.Timings.Blocked, e.Timings.DNS, e.Timings.Connect} {
		wait += milliseconds(before)
	}
	x.Answered = at.Add(wait)
	x.Ended = x.Answered.Add(milliseconds(e.Timings.Receive))
}
