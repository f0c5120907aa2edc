// Command tapedeck records failing executions, replays them bit for bit, and
// steps backwards from the failure to its cause.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/tapedeck-dev/tapedeck/internal/sandbox"
	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

func main() {
	watch.Main()
	sandbox.Main()
	ctx, stop := signal.NotifyContext(context.Background(), interrupts()...)
	root := newRootCommand()
	err := root.ExecuteContext(ctx)
	stop()
	os.Exit(report(ctx, os.Stderr, err))
}
