// Package scrub takes what is private out of what tapedeck records, before a
// byte of it reaches a disk.
//
// [New] makes a [Scrubber] of [Rules] (a schema of names, and detectors for
// values that give themselves away) and a [Salt]. What it returns is [Clean]:
// bytes that only this package can make, and the only ones that package spool
// writes. Values become tokens: the same value gives the same token under one
// salt, so that records can still be joined, and a token stays as it is when
// it is scrubbed again.
package scrub
