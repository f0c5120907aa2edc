package importer

import (
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// goVCR is a cassette of go-vcr: version 1 of its first releases, version 2 since
// v3. They differ in fields that are not needed here.
type goVCR struct {
	Version      int `yaml:"version"`
	Interactions []struct {
		Request struct {
			Host     string              `yaml:"host"`
			Body     string              `yaml:"body"`
			Headers  map[string][]string `yaml:"headers"`
			URL      string              `yaml:"url"`
			Method   string              `yaml:"method"`
			Transfer []string            `yaml:"transfer_encoding"`
			Trailer  map[string][]string `yaml:"trailer"`
		} `yaml:"request"`
		Response struct {
			Body     string              `yaml:"body"`
			Headers  map[string][]string `yaml:"headers"`
			Status   string              `yaml:"status"`
			Code     int                 `yaml:"code"`
			Major    int                 `yaml:"proto_major"`
			Transfer []string            `yaml:"transfer_encoding"`
			Trailer  map[string][]string `yaml:"trailer"`
			Unzipped bool                `yaml:"uncompressed"`
		} `yaml:"response"`
	} `yaml:"interactions"`
}

func readGoVCR(r *reader, s source) error {
	return r.documents(s, func(n int, doc *yaml.Node) error {
		var c goVCR
		if err := decodeYAML(s, doc, &c); err != nil {
			return err
		}
		if c.Version != 1 && c.Version != 2 || c.Interactions == nil && child(doc, "interactions") == nil {
			return &DamagedError{s.at("document %d", n), "a cassette of go-vcr, version 1 or 2, with interactions", "another document"}
		}
		r.tape.Tool = "go-vcr"
		for i, in := range c.Interactions {
			where := s.at("interaction %d", i)
			x := &Exchange{Where: where, Method: in.Request.Method}
			if x.Method == "" { // net/http's word for GET
				x.Method = "GET"
			}
			x.Request = Message{Fields: sorted(in.Request.Headers), Trailers: sorted(in.Request.Trailer), Body: []byte(in.Request.Body)}
			host := in.Request.Host
			if host != "" && hostOf(x.Request.Fields) == "" {
				x.Request.Fields = append([]Field{{"Host", host}}, x.Request.Fields...)
			}
			if err := r.place(x, in.Request.URL, host); err != nil {
				r.skip(where, err.Error())
				continue
			}
			m := &Message{Status: in.Response.Code, Fields: sorted(in.Response.Headers), Trailers: sorted(in.Response.Trailer), Body: []byte(in.Response.Body)}
			_, m.Reason, _ = strings.Cut(in.Response.Status, " ")
			if len(in.Response.Transfer) > 0 && in.Response.Transfer[0] == "chunked" {
				m.Fields = append(m.Fields, Field{"Transfer-Encoding", "chunked"})
			}
			if len(in.Request.Transfer) > 0 && in.Request.Transfer[0] == "chunked" {
				x.Request.Fields = append(x.Request.Fields, Field{"Transfer-Encoding", "chunked"})
			}
			if in.Response.Major > 1 {
				r.note(noteHTTP2)
			}
			if in.Response.Unzipped {
				r.note(noteDecoded)
			}
			x.Response = m
			if err := r.add(x); err != nil {
				return err
			}
		}
		return nil
	})
}

// sorted are fields of a map, in an order of their own.
func sorted(m map[string][]string) []Field {
	var all []Field
	for _, name := range names(m) {
		for _, v := range m[name] {
			all = append(all, Field{name, v})
		}
	}
	return all
}

// child is the value of a key of a YAML map.
func child(n *yaml.Node, key string) *yaml.Node {
	if n = target(n); n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return target(n.Content[i+1])
		}
	}
	return nil
}

// target is what an alias stands for. Writers make them of equal values.
func target(n *yaml.Node) *yaml.Node {
	for hops := 0; n != nil && n.Kind == yaml.AliasNode && hops < 10; hops++ {
		n = n.Alias
	}
	return n
}

func parseTime(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Year() < 1970 {
		return time.Time{}
	}
	return at
}
