package jfr

import "fmt"

// Field says where a string stands.
type Field struct {
	Type string // of the event, or of the constant: jdk.ThreadStart, java.lang.String
	Path string // of the field in it: thread.name; "" for a string that is a constant itself
	Name string // what names the value: the key in events of keys and values, else the last part of Path
}

// found is one string of a record.
type found struct {
	Field
	text       string
	id         int64 // in the pool, if it is a reference
	ref        bool
	start, end int // where it is in the chunk
}

// walker reads the values of a record and hands over its strings.
type walker struct {
	c    *chunk
	pool map[int64]string // of java.lang.String; nil if it isn't known yet
	each func(found)
	typ  string // of the record
	key  string // of an event with a key and a value
	left int    // values that the record may still have
}

// start sets how many values a record may have. Types within types without
// fields could be read for ever, since they take no bytes.
func (w *walker) start(r *cursor) { w.left = (r.end-r.at+1)*(maxDepth+1) + 1<<12 }

// event reads the fields of an event.
func (w *walker) event(r *cursor, k *class) {
	w.start(r)
	w.typ, w.key = k.name, ""
	for i := range k.fields {
		w.field(r, &k.fields[i], "", 0)
	}
	if r.err == nil && r.at != r.end {
		r.fail("the end of the event "+k.name, fmt.Sprintf("%d more bytes", r.end-r.at))
	}
}

// constant reads one value of a pool.
func (w *walker) constant(r *cursor, k *class) {
	w.typ, w.key = k.name, ""
	w.value(r, k, "", "", 0)
}

func (w *walker) field(r *cursor, f *field, path string, depth int) {
	if w.left--; w.left < 0 {
		r.fail("a record with values", "one with types that are empty")
	}
	if r.err != nil {
		return
	}
	if path != "" {
		path += "."
	}
	path += f.name
	if !f.array {
		w.one(r, f, path, depth)
		return
	}
	for n := r.count(); n > 0 && r.err == nil; n-- {
		at := r.at
		w.one(r, f, path, depth)
		if r.at == at {
			return // elements without a byte, however many
		}
	}
}

func (w *walker) one(r *cursor, f *field, path string, depth int) {
	if f.pool {
		start, id := r.at, r.varint()
		if f.of.prim == stringType && r.err == nil {
			w.tell(found{Field: Field{w.typ, path, f.name}, text: w.pool[id], id: id, ref: true, start: start, end: r.at})
		}
		return
	}
	w.value(r, f.of, path, f.name, depth)
}

func (w *walker) value(r *cursor, k *class, path, name string, depth int) {
	switch k.prim {
	case oneByte:
		r.skip(1)
	case integer:
		r.varint()
	case fourBytes:
		r.skip(4)
	case eightBytes:
		r.skip(8)
	case stringType:
		w.text(r, path, name)
	default:
		if depth > maxDepth {
			r.fail(fmt.Sprintf("at most %d types within one another", maxDepth), "more")
			return
		}
		for i := range k.fields {
			w.field(r, &k.fields[i], path, depth+1)
		}
	}
}

func (w *walker) text(r *cursor, path, name string) {
	start := r.at
	s, id, enc := r.text()
	if r.err != nil || enc == encNull {
		return
	}
	if enc == encPool {
		s = w.pool[id]
	}
	w.tell(found{Field: Field{w.typ, path, name}, text: s, id: id, ref: enc == encPool, start: start, end: r.at})
}

// tell hands a string over. In an event of keys and values, the key names the value.
func (w *walker) tell(f found) {
	switch {
	case f.Path == "key":
		w.key = f.text
	case f.Path == "value" && w.key != "":
		f.Name = w.key
	}
	w.each(f)
}

// checkpoint reads the constants of a checkpoint, behind its head.
func (w *walker) checkpoint(r *cursor, each func(k *class, id int64)) {
	w.start(r)
	for pools := r.count(); pools > 0 && r.err == nil; pools-- {
		typ := r.varint()
		k := w.c.classes[typ]
		if k == nil {
			r.fail("a pool of a known type", fmt.Sprintf("one of type %d", typ))
			return
		}
		for n := r.count(); n > 0 && r.err == nil; n-- {
			each(k, r.varint())
			w.constant(r, k)
		}
	}
	if r.err == nil && r.at != r.end {
		r.fail("the end of the checkpoint", fmt.Sprintf("%d more bytes", r.end-r.at))
	}
}

// head is what a checkpoint begins with.
type head struct {
	start, duration, delta int64
	kind                   byte
}

func (r *cursor) head() head {
	return head{r.varint(), r.varint(), r.varint(), r.byte()}
}
