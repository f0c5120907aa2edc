// Package scrubfile rewrites files of the formats that recorders leave, so that
// what is private in them is not there any more: JSON, lines, WARC, HAR, SQLite,
// Parquet, JFR and plain text. [FormOf] says which format a file has, [Rewrite]
// scrubs it into a new file, which is a valid file of the same format.
//
// The rules and the actions are internal/scrub's; this package knows where in
// a format the fields and their names are. What has no form here is opaque: it
// can't be scrubbed field by field, and the caller must treat it as restricted.
package scrubfile
