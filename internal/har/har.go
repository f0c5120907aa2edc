// Package har is the HTTP archive, HAR 1.2: its types, and how it is read. What
// is not in the standard has a name that begins with _, as the standard wants it.
package har

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Archive is a whole file.
type Archive struct {
	Log Log `json:"log"`
}

// Log is what an archive holds.
type Log struct {
	Version string  `json:"version"`
	Creator Creator `json:"creator"`
	Entries []Entry `json:"entries"`
	Comment string  `json:"comment,omitempty"`
}

// Creator is the program that wrote the archive.
type Creator struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Entry is a request and its answer.
type Entry struct {
	Started    string    `json:"startedDateTime"`
	Time       float64   `json:"time"` // milliseconds, as all times
	Request    Request   `json:"request"`
	Response   Response  `json:"response"`
	Cache      struct{}  `json:"cache"`
	Timings    Timings   `json:"timings"`
	ServerIP   string    `json:"serverIPAddress,omitempty"`
	Connection string    `json:"connection,omitempty"`
	Direction  string    `json:"_direction,omitempty"` // "in" if the recorded program was asked
	Error      string    `json:"_error,omitempty"`     // how the connection ended too early: "reset", "closed" or "cut"; others' words
	FromCache  FromCache `json:"_fromCache,omitempty"` // of browsers
}

// FromCache tells that a browser asked nobody: it had the answer.
type FromCache string

// UnmarshalJSON takes the name of a cache, or whether there was one.
func (f *FromCache) UnmarshalJSON(b []byte) error {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*f = FromCache(v)
	case bool:
		if v {
			*f = "cache"
		}
	}
	return nil
}

// Pair is a name and a value.
type Pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Request is a request.
type Request struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	Version     string    `json:"httpVersion"`
	Cookies     []Pair    `json:"cookies"`
	Headers     []Pair    `json:"headers"`
	Query       []Pair    `json:"queryString"`
	PostData    *PostData `json:"postData,omitempty"`
	HeadersSize int64     `json:"headersSize"`
	BodySize    int64     `json:"bodySize"`
	Trailers    []Pair    `json:"_trailers,omitempty"`
}

// PostData is a request's body. The standard has no form for one that is no
// text: then it is base64, and Encoding says so.
type PostData struct {
	Mime     string  `json:"mimeType"`
	Text     string  `json:"text"`
	Params   []Param `json:"params,omitempty"`
	Encoding string  `json:"_encoding,omitempty"`
}

// Param is a field of a form.
type Param struct {
	Name     string `json:"name"`
	Value    string `json:"value,omitempty"`
	FileName string `json:"fileName,omitempty"`
}

// Response is an answer; its Status is 0 if none came.
type Response struct {
	Status      int     `json:"status"`
	StatusText  string  `json:"statusText"`
	Version     string  `json:"httpVersion"`
	Cookies     []Pair  `json:"cookies"`
	Headers     []Pair  `json:"headers"`
	Content     Content `json:"content"`
	RedirectURL string  `json:"redirectURL"`
	HeadersSize int64   `json:"headersSize"`
	BodySize    int64   `json:"bodySize"`
	Trailers    []Pair  `json:"_trailers,omitempty"`
	Chunks      []Chunk `json:"_chunks,omitempty"`
	Error       string  `json:"_error,omitempty"` // as Chromium writes it
}

// Content is an answer's body, without transfer and content codings.
type Content struct {
	Size        int64   `json:"size"`
	Compression *int64  `json:"compression,omitempty"`
	Mime        string  `json:"mimeType"`
	Text        *string `json:"text,omitempty"`
	Encoding    string  `json:"encoding,omitempty"`
	Comment     string  `json:"comment,omitempty"`
}

// Chunk is a part of a body that came at one time.
type Chunk struct {
	At  float64 `json:"t_ms"` // since the request began
	Off int64   `json:"off"`
	Len int64   `json:"len"`
}

// Timings are the parts of an entry's time; -1 is unknown, or does not apply.
type Timings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
	SSL     float64 `json:"ssl"`
}

// ErrTooLarge says that an archive is larger than what is read.
var ErrTooLarge = errors.New("the archive is larger than what is read")

// Read reads an archive of at most most bytes.
func Read(r io.Reader, most int64) (*Archive, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, ErrTooLarge
	}
	var a struct {
		Log *Log `json:"log"`
	}
	if len(b) >= 3 && string(b[:3]) == "\ufeff" { // some tools begin with a byte order mark
		b = b[3:]
	}
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("need an HTTP archive: %w", err)
	}
	if a.Log == nil || a.Log.Version == "" && a.Log.Entries == nil {
		return nil, errors.New(`need an HTTP archive, with "log" and "entries", found other JSON`)
	}
	return &Archive{*a.Log}, nil
}
