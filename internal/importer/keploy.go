package importer

import (
	"errors"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// keployMock is one document of keploy's mocks.yaml, of those about HTTP.
type keployMock struct {
	Kind string `yaml:"kind"`
	Spec struct {
		Metadata map[string]string `yaml:"metadata"`
		Req      struct {
			Method string            `yaml:"method"`
			URL    string            `yaml:"url"`
			Header map[string]string `yaml:"header"`
			Body   string            `yaml:"body"`
			Ref    struct {
				Path string `yaml:"path"`
			} `yaml:"body_ref"`
			Binary string `yaml:"binary"`
			Form   []any  `yaml:"form"`
		} `yaml:"req"`
		Resp struct {
			Code    int               `yaml:"status_code"`
			Message string            `yaml:"status_message"`
			Header  map[string]string `yaml:"header"`
			Body    yaml.Node         `yaml:"body"`
			Skipped bool              `yaml:"body_skipped"`
			Binary  string            `yaml:"binary"`
		} `yaml:"resp"`
		Asked    string `yaml:"reqTimestampMock"`
		Answered string `yaml:"resTimestampMock"`
	} `yaml:"spec"`
	Connection string `yaml:"connectionId"`
}

// readKeploy reads mocks: what the program asked. A test set has tests too, which
// are what the program was asked.
func readKeploy(r *reader, s source) error {
	if slices.Contains(strings.Split(s.name, "/"), "tests") {
		r.skip(s.String(), "a test: the program was asked, and did not ask")
		return nil
	}
	return r.documents(s, func(n int, doc *yaml.Node) error {
		kind := child(doc, "kind")
		if version := scalar(child(doc, "version")); !strings.HasPrefix(version, "api.keploy") || kind == nil {
			if s.in != "" {
				return nil // settings and reports are beside the mocks
			}
			return &DamagedError{s.at("document %d", n), "a mock of keploy, with version and kind", "another document"}
		}
		r.tape.Tool = "keploy"
		where := s.at("document %d", n)
		if kind.Value != "Http" && kind.Value != "HTTP" {
			reason := "it is no mock of HTTP"
			switch kind.Value {
			case "Postgres", "PostgresV2", "PostgresV3", "Mongo", "Redis", "MySQL", "Generic", "gRPC", "DNS", "Kafka":
				reason = "it is a mock of " + kind.Value + ", and none of HTTP"
			}
			r.skip(where, reason)
			return nil
		}
		var m keployMock
		if err := decodeYAML(s, doc, &m); err != nil {
			return err
		}
		x, err := r.keploy(s, &m)
		if err != nil {
			r.skip(where, err.Error())
			return nil
		}
		x.Where = where
		return r.add(x)
	})
}

func (r *reader) keploy(s source, m *keployMock) (*Exchange, error) {
	q, a := &m.Spec.Req, &m.Spec.Resp
	x := &Exchange{Method: q.Method, Conn: m.Connection}
	if x.Conn == "" {
		x.Conn = m.Spec.Metadata["connID"]
	}
	x.Request = Message{Fields: single(q.Header), Body: []byte(q.Body)}
	// Its URLs are targets of requests, and tell no scheme.
	if err := r.place(x, q.URL, hostOf(x.Request.Fields)); err != nil {
		return nil, err
	}
	switch {
	case q.Ref.Path != "":
		b, err := r.beside(s, q.Ref.Path)
		if err != nil {
			return nil, err
		}
		x.Request.Body = b
	case q.Binary != "" || len(q.Form) > 0 && q.Body == "":
		return nil, errors.New("of its request's body the file has no bytes")
	case a.Skipped || a.Binary != "":
		return nil, errors.New("the answer's body is not in the file")
	}
	x.Began, x.Answered = parseTime(m.Spec.Asked), parseTime(m.Spec.Answered)
	x.Ended = x.Answered
	answer := &Message{Status: a.Code, Reason: a.Message, Fields: single(a.Header)}
	var err error
	if a.Body.Kind == yaml.SequenceNode {
		answer.Body, answer.Chunks, err = keployStream(&a.Body, answer.Fields, x.Began)
		r.note("streams of which the file has the events; their text was made anew")
	} else {
		answer.Body, err = bodyOf(&a.Body)
	}
	x.Response = answer
	return x, err
}

// single are fields of a map that has one value for each.
func single(m map[string]string) []Field {
	var all []Field
	for _, name := range names(m) {
		all = append(all, Field{name, m[name]})
	}
	return all
}

// keployStream puts a stream together again as keploy does: events of fields, or
// lines.
func keployStream(n *yaml.Node, fields []Field, began time.Time) (body []byte, chunks []Chunk, err error) {
	events := slices.ContainsFunc(fields, func(f Field) bool {
		return strings.EqualFold(f.Name, "content-type") && strings.Contains(strings.ToLower(f.Value), "text/event-stream")
	})
	for _, part := range n.Content {
		data := child(part, "data")
		if data == nil {
			return nil, nil, errors.New("its answer's stream has a part without data")
		}
		off := len(body)
		switch {
		case data.Kind == yaml.ScalarNode:
			body = append(body, data.Value+"\n"...)
		case data.Kind != yaml.MappingNode:
			return nil, nil, errors.New("its answer's stream has a part of a kind that is not known here")
		case !events:
			raw := child(data, "raw")
			if raw == nil {
				return nil, nil, errors.New("its answer's stream has a part of a kind that is not known here")
			}
			body = append(body, raw.Value+"\n"...)
		default:
			for i := 0; i+1 < len(data.Content); i += 2 {
				name := data.Content[i].Value
				if name == "comment" {
					name = ""
				}
				for line := range strings.SplitSeq(target(data.Content[i+1]).Value, "\n") {
					body = append(body, name+": "+line+"\n"...)
				}
			}
			body = append(body, '\n')
		}
		c := Chunk{Off: int64(off), Len: int64(len(body) - off)}
		if at := parseTime(scalar(child(part, "ts"))); !at.IsZero() && !began.IsZero() && at.After(began) {
			c.At = at.Sub(began)
		}
		chunks = append(chunks, c)
	}
	return body, chunks, nil
}
