// Package tapedeck lets a Go program record its own inputs and be run on them
// again: a [Session] gives it a clock, randomness and, by package httptape, an
// HTTP transport. A program that can't be changed needs none of it: see the
// program, cmd/tapedeck. ARCHITECTURE.md tells where everything is.
package tapedeck
