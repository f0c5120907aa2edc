// Command tapedeck records failing executions, replays them bit for bit, and
// steps backwards from the failure to its cause.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := newRootCommand()
	err := root.ExecuteContext(ctx)
	stop()
	os.Exit(report(ctx, os.Stderr, err))
}
