package main

import (
	"context"
	"encoding/json"

	"github.com/spf13/cobra"

	"github.com/tapedeck-dev/tapedeck/internal/rewind"
	"github.com/tapedeck-dev/tapedeck/internal/ui"
)

type rewindOptions struct {
	keyFlags
	lastWrite string
	writes    string
	n         int
	stack     bool
	threads   bool
	print     []string
	at        string
	frame     int
	pid       int
	gdb       bool
	json      bool
	outputFlags
}

func newRewindCommand() *cobra.Command {
	var o rewindOptions
	c := &cobra.Command{
		Use:   "rewind [flags] BUNDLE",
		Short: "Step backwards from the failure to its cause",
		Long: `Rewind goes to the failure of a recording, and from there backwards: to the
store that gave a variable its value, to the ones before it, to any position.
Without a flag it prints how the program ended and the stack of the thread that
ended it. EXPR is an expression of the program's language, as gdb reads it; it
is looked up in the innermost frame that knows its names.`,
		Example: `  tapedeck rewind bug.tar.zst
  tapedeck rewind --last-write 'sessions[3].state' bug.tar.zst
  tapedeck rewind --writes counter -n 5 bug.tar.zst
  tapedeck rewind --at vm:icount=1309261828 --threads bug.tar.zst
  tapedeck rewind --gdb bug.tar.zst

Exit codes:
  0  ok   3  nothing wrote to EXPR   10  no such bundle   11  damaged
  13  encrypted, and no key   14  a tool is missing`,
		Args: oneBundle,
		RunE: func(c *cobra.Command, args []string) error {
			return runRewind(c.Context(), o, args[0], ui.New(c.OutOrStdout(), c.ErrOrStderr()))
		},
	}
	o.keyFlags.add(c)
	f := c.Flags()
	f.StringVar(&o.lastWrite, "last-write", "", "who last changed `EXPR`")
	f.StringVar(&o.writes, "writes", "", "the last stores that changed `EXPR`, newest first: see -n")
	f.IntVarP(&o.n, "count", "n", 5, "how many stores --writes looks for")
	f.BoolVar(&o.stack, "stack", false, "the stack of the thread that ended the program")
	f.BoolVar(&o.threads, "threads", false, "the stacks of all threads")
	f.StringArrayVar(&o.print, "print", nil, "value of `EXPR`; repeatable")
	f.StringVar(&o.at, "at", "", "go to this `POSITION` first, as other answers name it")
	f.IntVar(&o.frame, "frame", rewind.AnyFrame, "evaluate expressions in this frame of the stack")
	f.IntVar(&o.pid, "pid", 0, "look at this process of the recording instead of the program itself")
	f.BoolVar(&o.gdb, "gdb", false, "an interactive gdb, at the position and with symbols")
	f.BoolVar(&o.json, "json", false, "print the answers as JSON")
	o.outputFlags.add(f)
	return c
}

// answers is what rewind prints, in this order.
type answers struct {
	Failure  rewind.Failure  `json:"failure"`
	Position rewind.Position `json:"position"`
	Values   []rewind.Value  `json:"values,omitempty"`
	Stack    *rewind.Stack   `json:"stack,omitempty"`
	Threads  []rewind.Stack  `json:"threads,omitempty"`
	Writes   []rewind.Write  `json:"writes,omitempty"`
}

func runRewind(ctx context.Context, o rewindOptions, path string, term *ui.Term) error {
	if o.lastWrite != "" && o.writes != "" {
		return usageError("--last-write and --writes exclude each other")
	}
	r, err := openRewind(ctx, path, o.keyFlags, o.pid)
	if err != nil {
		return err
	}
	defer r.close()
	s := r.session
	if o.at != "" {
		if err := s.Goto(ctx, rewind.Position(o.at)); err != nil {
			return err
		}
	}
	if o.gdb {
		term.Say("gdb shows the recording as it is: nothing in it is scrubbed")
		return s.Interactive(ctx)
	}
	a, err := ask(ctx, s, o)
	if err != nil {
		return err
	}
	clean, err := o.scrubber(ctx, r.tape.Manifest, term)
	if err != nil {
		return err
	}
	a.scrub(clean)
	if o.json {
		enc := json.NewEncoder(term.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(a)
	}
	printAnswers(term.Out, a)
	sayScrubbed(clean, term)
	return nil
}

// ask collects what the flags ask for; searches come last, since they move.
func ask(ctx context.Context, s *rewind.Session, o rewindOptions) (*answers, error) {
	a := &answers{Failure: s.Failure()}
	var err error
	if a.Position, err = s.Position(ctx); err != nil {
		return nil, err
	}
	for _, e := range o.print {
		v, err := s.Print(ctx, e, o.frame)
		if err != nil {
			return nil, err
		}
		a.Values = append(a.Values, v)
	}
	search := o.lastWrite + o.writes
	if o.stack || search == "" && len(o.print) == 0 && !o.threads {
		st, err := s.Stack(ctx)
		if err != nil {
			return nil, err
		}
		a.Stack = &st
	}
	if o.threads {
		if a.Threads, err = s.Threads(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case o.lastWrite != "":
		w, err := s.LastWrite(ctx, o.lastWrite, o.frame)
		if err != nil {
			return nil, err
		}
		a.Writes = []rewind.Write{w}
	case o.writes != "":
		a.Writes, err = s.Writes(ctx, o.writes, o.frame, o.n)
	}
	return a, err
}
