package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts are the signals that end what is being done.
func interrupts() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1)
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// secondInterrupt returns a context that outlives the end of first, which the
// first interrupt brings, and ends with the second one.
func secondInterrupt(first context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(first))
	c := make(chan os.Signal, 2)
	signal.Notify(c, interrupts()...)
	go func() {
		defer signal.Stop(c)
		for range 2 {
			select {
			case <-c:
			case <-ctx.Done():
				return
			}
		}
		cancel()
	}()
	return ctx, cancel
}
