// Package spool is the local log that recorders write while they record. It
// takes nothing but [scrub.Clean], which only package scrub can make: a byte
// that was not scrubbed can't be spooled, for the program would not compile.
//
// [Open] begins a log in a folder, [Spool.Append] adds a record, [Read] reads
// them back, after a crash as well.
//
// The log is a ring of segment files. When it would grow beyond its bound, the
// oldest segment goes; how many records went with it stays known, since
// records are numbered.
//
// A record is in the kernel's hands when Append returns: a process that is
// killed loses none. Disks are told to keep what was written every
// [Options.SyncBytes], at the end of each segment, and by [Spool.Sync] and
// [Spool.Close]; a machine that loses power loses at most what came since.
package spool
