package scrub

// Clean is scrubbed bytes. Only this package makes one that isn't empty, so
// that whoever takes a Clean can't be handed anything else.
type Clean struct{ b []byte }

// Bytes are the scrubbed bytes. Don't change them.
func (c Clean) Bytes() []byte { return c.b }

func (c Clean) String() string { return string(c.b) }
