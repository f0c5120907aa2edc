// Bench measures the figures that tapedeck promises, side by side in one run,
// and prints them as Markdown: first each bar and whether it is met, then what
// was measured. It drives the built program from outside, as its user does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	quick    bool
	only     string
	out      string
	tapedeck string
	root     string
}

func main() {
	if name := os.Getenv(role); name != "" {
		if err := playRole(name, os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.BoolVar(&o.quick, "quick", false, "few repetitions: shows that it works, not how fast it is")
	flag.StringVar(&o.only, "only", "", "`FIGURES` to measure, separated by commas: "+strings.Join(figureNames(), ", "))
	flag.StringVar(&o.out, "o", "", "`FILE` to write the result to as well")
	flag.StringVar(&o.root, "root", "..", "`DIR` with the repository")
	flag.StringVar(&o.tapedeck, "tapedeck", "", "`FILE` to measure (default bin/tapedeck in the repository)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figures are what is measured, in the order of the report.
var figures = []struct {
	name    string
	measure func(context.Context, *lab, *report) error
}{
	{"overhead", overhead},
	{"rate", rate},
	{"rewind", rewind},
	{"pack", pack},
	{"open", open},
	{"scrub", scrubbing},
	{"inputs", inputs},
	{"chaos", chaos},
	{"exact", exact},
}

func figureNames() []string {
	var names []string
	for _, f := range figures {
		names = append(names, f.name)
	}
	return names
}

func run(ctx context.Context, o options) error {
	wanted := figureNames()
	if o.only != "" {
		wanted = strings.Split(o.only, ",")
		for _, name := range wanted {
			if !slices.Contains(figureNames(), name) {
				return fmt.Errorf("-only: there is no figure %q, only %s", name, strings.Join(figureNames(), ", "))
			}
		}
	}
	l, err := openLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	r := &report{quick: o.quick}
	r.begin(ctx, l)
	for _, f := range figures {
		if !slices.Contains(wanted, f.name) {
			continue
		}
		l.say("measuring " + f.name)
		if err := f.measure(ctx, l, r); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			// The other figures are worth having all the same.
			r.fail(f.name, err)
		}
		// All of it takes long: what there is outlives an interruption.
		if o.out != "" {
			if err := os.WriteFile(o.out, []byte(r.markdown()), 0o644); err != nil {
				return err
			}
		}
	}
	fmt.Print(r.markdown())
	if len(r.failed) > 0 {
		return fmt.Errorf("could not measure %s", strings.Join(r.failed, ", "))
	}
	return nil
}

// absolute resolves a path before the commands run elsewhere.
func absolute(paths ...*string) error {
	for _, p := range paths {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}
