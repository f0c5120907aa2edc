// Package jfr knows the file format of the JDK's Flight Recorder: chunks, the
// metadata that describes every type, constant pools, events. [Scrub] rewrites a
// recording with its strings replaced. A recording holds the environment, system
// properties and the command lines of other processes in clear.
//
// All of it goes by the metadata of the file, so that events which nobody knew
// of are read like those of the JDK. What the metadata doesn't explain is an
// error, never passed on.
package jfr
