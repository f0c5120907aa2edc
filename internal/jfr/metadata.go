package jfr

import (
	"fmt"
	"strconv"
)

// class is a type as the metadata has it.
type class struct {
	id     int64
	name   string
	fields []field
	prim   primitive
	event  bool
}

// field is a member of a class.
type field struct {
	name  string
	typ   int64
	of    *class
	pool  bool // the value is an id in the type's pool
	array bool
}

// primitive is a type without fields.
type primitive uint8

const (
	notPrimitive primitive = iota
	oneByte
	integer
	fourBytes
	eightBytes
	stringType
)

func primitiveOf(name string) primitive {
	switch name {
	case "boolean", "byte":
		return oneByte
	case "short", "char", "int", "long":
		return integer
	case "float":
		return fourBytes
	case "double":
		return eightBytes
	case "java.lang.String":
		return stringType
	}
	return notPrimitive
}

const maxDepth = 32 // of elements in the metadata, and of types within types

// readMetadata reads the tree of elements that describes the types.
func (c *chunk) readMetadata() (err error) {
	c.classes, err = c.metadataAt(c.meta, nil)
	return err
}

// metadataAt reads the metadata at off, and hands over its strings.
func (c *chunk) metadataAt(off int, each func(string)) (map[int64]*class, error) {
	r, typ, err := c.record(off)
	if err != nil {
		return nil, err
	}
	if typ != typeMetadata {
		return nil, c.wrong(&FormatError{Offset: int64(off), Need: "the metadata", Found: fmt.Sprintf("a record of type %d", typ)})
	}
	for range 3 { // start, duration, id
		r.varint()
	}
	names := make([]string, r.count())
	for i := range names {
		var enc byte
		if names[i], _, enc = r.text(); enc == encPool {
			r.fail("a string", "a reference")
		}
		if r.err != nil {
			return nil, c.wrong(r.err)
		}
		if each != nil {
			each(names[i])
		}
	}
	classes := map[int64]*class{}
	m := metadata{r: &r, names: names, classes: classes}
	m.element(nil, 0)
	if r.err == nil && r.at != r.end {
		r.fail("the end of the metadata", fmt.Sprintf("%d more bytes", r.end-r.at))
	}
	if r.err != nil {
		return nil, c.wrong(r.err)
	}
	for _, k := range classes {
		for i := range k.fields {
			f := &k.fields[i]
			if f.of = classes[f.typ]; f.of == nil {
				return nil, c.wrong(&FormatError{Offset: int64(off), Need: "the type of " + k.name + "." + f.name, Found: "none of that number"})
			}
		}
	}
	return classes, nil
}

type metadata struct {
	r       *cursor
	names   []string
	classes map[int64]*class
}

func (m *metadata) name() string {
	i := m.r.varint()
	if i < 0 || i >= int64(len(m.names)) {
		m.r.fail(fmt.Sprintf("one of %d names", len(m.names)), fmt.Sprint(i))
		return ""
	}
	return m.names[i]
}

// element reads an element and those in it. in is the class that it is part of.
func (m *metadata) element(in *class, depth int) {
	if depth > maxDepth {
		m.r.fail(fmt.Sprintf("at most %d levels", maxDepth), "more")
		return
	}
	kind := m.name()
	attr := map[string]string{}
	for n := m.r.count(); n > 0 && m.r.err == nil; n-- {
		k := m.name()
		attr[k] = m.name()
	}
	switch kind {
	case "class":
		in = &class{id: m.number(attr["id"]), name: attr["name"], event: attr["superType"] == "jdk.jfr.Event", prim: primitiveOf(attr["name"])}
		if m.classes[in.id] != nil {
			m.r.fail("each type once", "one twice")
		}
		m.classes[in.id] = in
	case "field":
		if in == nil {
			m.r.fail("a field in a class", "one outside")
			return
		}
		in.fields = append(in.fields, field{name: attr["name"], typ: m.number(attr["class"]), pool: attr["constantPool"] == "true", array: attr["dimension"] == "1"})
	}
	for n := m.r.count(); n > 0 && m.r.err == nil; n-- {
		m.element(in, depth+1)
	}
}

func (m *metadata) number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil && m.r.err == nil {
		m.r.fail("the number of a type", "none")
	}
	return n
}
