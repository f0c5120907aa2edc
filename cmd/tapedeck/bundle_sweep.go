package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck-dev/tapedeck/bundle"
	"github.com/tapedeck-dev/tapedeck/internal/sweep"
	"github.com/tapedeck-dev/tapedeck/internal/vm"
)

// swept is what the second scanner says of a bundle.
type swept struct {
	Looked  int            `json:"files"`   // looked at
	Skipped []string       `json:"skipped"` // restricted files and the boot snapshot
	Leaks   []leak         `json:"leaks"`
	Totals  map[string]int `json:"totals"` // of the leaks, by class
}

type leak struct {
	Path string `json:"path"`
	sweep.Finding
}

const (
	maxLeaks = 1000 // that are listed; all are counted
	maxShown = 20   // of them for people
)

// sweepBundle looks for private data in everything that is not restricted: what
// is, can't be free of it. The boot snapshot was made before the program ran.
func sweepBundle(ctx context.Context, r *bundle.Reader) (*swept, error) {
	s, err := sweep.New()
	if err != nil {
		return nil, err
	}
	res := &swept{Skipped: []string{}, Leaks: []leak{}, Totals: map[string]int{}}
	look := func(name string, src io.Reader) error {
		res.Looked++
		return s.Scan(&untilDone{ctx, src}, func(f sweep.Finding) {
			res.Totals[f.Class]++
			if len(res.Leaks) < maxLeaks {
				res.Leaks = append(res.Leaks, leak{name, f})
			}
		})
	}
	for _, f := range append([]bundle.File{{Path: bundle.ManifestName}}, r.Files()...) {
		if f.Class == bundle.Restricted || f.Encryption != "" || f.Path == "traces/vm/"+vm.SnapshotFile {
			res.Skipped = append(res.Skipped, f.Path)
			continue
		}
		src, err := r.Open(f.Path)
		if err != nil {
			if errors.Is(err, bundle.ErrDamaged) {
				continue // which verify has said already
			}
			return nil, err
		}
		err = look(f.Path, src)
		_ = src.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		// A file that is cut or damaged inside was looked at as far as it goes.
		if err != nil && !errors.Is(err, bundle.ErrDamaged) {
			res.Skipped = append(res.Skipped, f.Path)
		}
	}
	return res, nil
}

// found tells whether there is private data where there should be none.
func (s *swept) found() bool { return s != nil && len(s.Leaks) > 0 }

func (s *swept) print(w io.Writer) error {
	if s == nil {
		return nil
	}
	n := 0
	for _, k := range s.Totals {
		n += k
	}
	for _, l := range s.Leaks[:min(len(s.Leaks), maxShown)] {
		fmt.Fprintf(w, "private: %s: %s\n", l.Path, l.Finding)
	}
	if n > maxShown {
		fmt.Fprintf(w, "private: and %d more (--json lists %d)\n", n-maxShown, len(s.Leaks))
	}
	_, err := fmt.Fprintf(w, "private data: %s searched, %d found; %s not searched: restricted, encrypted or the boot snapshot\n",
		count(s.Looked, "file"), n, count(len(s.Skipped), "file"))
	return err
}

// untilDone ends a long read with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}
