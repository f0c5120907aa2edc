// Package sweep looks for private data in bytes that are said to be free of
// it. It is the last gate, and independent on purpose: it shares no code with
// internal/scrub, has another engine (RE2) and other patterns, so that a
// mistake there is not repeated here. [Scanner.Scan] looks at the bytes as they
// are and as base64, percent-encoding, JSON escapes, gzip and UTF-16 hide them.
//
// It knows what has a form: names, addresses and other free words it does not.
package sweep
