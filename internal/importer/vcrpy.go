package importer

import (
	"encoding/base64"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readVCRpy reads a cassette of vcrpy: YAML, or JSON, which is YAML too. Bodies
// are texts, binary, or maps with one of them; of httpx there is another shape.
func readVCRpy(r *reader, s source) error {
	return r.documents(s, func(n int, doc *yaml.Node) error {
		list := child(doc, "interactions")
		if list == nil || list.Kind != yaml.SequenceNode {
			return &DamagedError{s.at("document %d", n), "a cassette of vcrpy, with a list of interactions", "another document"}
		}
		r.tape.Tool = "vcrpy"
		for i, in := range list.Content {
			in = target(in)
			where := s.at("interaction %d", i+1)
			x, err := r.vcrpy(child(in, "request"), child(in, "response"))
			if err != nil {
				r.skip(where, err.Error())
				continue
			}
			x.Where = where
			if err := r.add(x); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *reader) vcrpy(request, response *yaml.Node) (*Exchange, error) {
	if request == nil || response == nil {
		return nil, errors.New("it has no request or no response")
	}
	x := &Exchange{Method: scalar(child(request, "method"))}
	var err error
	if x.Request.Fields, err = fieldsOf(child(request, "headers")); err != nil {
		return nil, err
	}
	if x.Request.Body, err = bodyOf(child(request, "body")); err != nil {
		return nil, err
	}
	if err := r.place(x, scalar(child(request, "uri")), hostOf(x.Request.Fields)); err != nil {
		return nil, err
	}
	m := &Message{}
	if m.Fields, err = fieldsOf(child(response, "headers")); err != nil {
		return nil, err
	}
	status, code := child(response, "status"), child(response, "status_code")
	if status != nil {
		code, m.Reason = child(status, "code"), scalar(child(status, "message"))
	}
	if code == nil || code.Decode(&m.Status) != nil {
		return nil, errors.New("its answer has no status")
	}
	body := child(response, "body")
	if body == nil {
		body = child(response, "content") // of httpx
	}
	if m.Body, err = bodyOf(body); err != nil {
		return nil, err
	}
	x.Response = m
	return x, nil
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return ""
	}
	return n.Value
}

// bodyOf reads a body: null, a text, !!binary, or a map with one of them.
func bodyOf(n *yaml.Node) ([]byte, error) {
	if n != nil && n.Kind == yaml.MappingNode {
		if b := child(n, "base64_string"); b != nil {
			return decode64(b.Value)
		}
		if len(n.Content) > 0 && child(n, "string") == nil {
			return nil, errors.New("its body is of a kind that is not known here")
		}
		n = child(n, "string")
	}
	switch {
	case n == nil:
		return nil, nil
	case n.Kind != yaml.ScalarNode:
		return nil, errors.New("its body is of a kind that is not known here")
	case n.ShortTag() == "!!binary":
		return decode64(n.Value)
	case n.ShortTag() == "!!null":
		return nil, nil
	}
	return []byte(n.Value), nil
}

func decode64(text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("its body is no base64")
	}
	return b, nil
}

// fieldsOf reads a map of names to values or lists of them, in its order.
func fieldsOf(n *yaml.Node) ([]Field, error) {
	if n == nil || n.Kind == yaml.ScalarNode {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, errors.New("its header is of a kind that is not known here")
	}
	var all []Field
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, values := n.Content[i].Value, target(n.Content[i+1])
		switch values.Kind {
		case yaml.ScalarNode:
			all = append(all, Field{name, values.Value})
		case yaml.SequenceNode:
			for _, v := range values.Content {
				all = append(all, Field{name, target(v).Value})
			}
		}
	}
	return all, nil
}
