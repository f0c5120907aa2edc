// Package tapedeck records failing executions and replays them bit for bit.
// The program is cmd/tapedeck; ARCHITECTURE.md tells where everything is.
package tapedeck
