// Command tapedeck records failing executions, replays them bit for bit, and
// steps backwards from the failure to its cause.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tapedeck-dev/tapedeck/internal/watch"
)

func main() {
	watch.Main()
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1)
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	root := newRootCommand()
	err := root.ExecuteContext(ctx)
	stop()
	os.Exit(report(ctx, os.Stderr, err))
}
