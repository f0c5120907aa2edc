package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
)

// Status is what [Reader.Verify] says about one file.
type Status string

const (
	// OK is a file that has the size and the digest that the manifest gives.
	OK Status = "ok"
	// Damaged is one that hasn't.
	Damaged Status = "damaged"
	// Missing is in the manifest and not in the tar.
	Missing Status = "missing"
	// Unlisted is in the tar and not in the manifest. It is never read.
	Unlisted Status = "unlisted"
	// Unverified is a file that was read without an error, but nobody said
	// what its digest has to be.
	Unverified Status = "unverified"
	// Detached is a signature of the manifest, which the manifest can't list.
	// It proves itself, or doesn't; that isn't looked at here.
	Detached Status = "detached"
)

// Report is the outcome of [Reader.Verify].
type Report struct {
	BundleID string         `json:"bundle_id,omitempty"`
	Format   Format         `json:"format"`
	Status   Status         `json:"status"` // of the whole: OK, Damaged or Unverified
	Totals   map[Status]int `json:"totals"`
	Bytes    int64          `json:"bytes"`    // of the files that were read
	Problems []string       `json:"problems"` // of the container, beside those of the files
	Files    []Result       `json:"files"`
}

// Result is what became of one file.
type Result struct {
	Path   string `json:"path"`
	Status Status `json:"status"`
	Size   int64  `json:"size"`
	Detail string `json:"detail,omitempty"` // need and found, if something is wrong
	Sealed Sealed `json:"sealed,omitempty"` // of an encrypted file
}

// Sealed is how far an encrypted file was looked into.
type Sealed string

const (
	// Locked is a file whose key isn't at hand: its stored bytes were compared.
	Locked Sealed = "locked"
	// Opened is one that was decrypted too, and is what was encrypted.
	Opened Sealed = "opened"
)

// Verify reads everything and compares it with the manifest. For that no key
// is needed; where there is one, encrypted files are decrypted too. Damage is
// in the report; the error is for what keeps it from reading on, such as the end of
// ctx.
func (r *Reader) Verify(ctx context.Context) (*Report, error) {
	rep := &Report{
		BundleID: r.manifest.BundleID, Format: r.form,
		Totals: map[Status]int{}, Problems: []string{}, Files: []Result{},
	}
	list, err := r.choose(nil)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]bool, len(r.files))
	for _, f := range r.files {
		listed[f.Path] = true
	}
	err = r.each(ctx, list, func(e *entry, src io.Reader, err error) error {
		res := Result{Path: e.Path, Size: e.Size}
		if err == nil {
			counted := &counter{r: src}
			res.Sealed, err = r.verifySealed(counted, e)
			if err == nil {
				_, err = io.Copy(io.Discard, counted)
			}
			rep.Bytes += counted.n
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case e.missing:
			res.Status = Missing
		case err != nil && !errors.Is(err, ErrDamaged):
			return err // the disk's fault, or the network's
		case err != nil:
			res.Status, res.Detail = Damaged, err.Error()
		case !listed[e.Path]:
			res.Status = Detached
		case e.SHA256 == "":
			res.Status = Unverified
		default:
			res.Status = OK
		}
		rep.Files = append(rep.Files, res)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range r.unlisted {
		rep.Files = append(rep.Files, Result{Path: name, Status: Unlisted})
	}
	if err := r.verifyEnd(); err != nil {
		if !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		rep.Problems = append(rep.Problems, err.Error())
	}
	rep.sum(r.files)
	return rep, nil
}

// verifySealed decrypts an encrypted file, if it can.
func (r *Reader) verifySealed(stored io.Reader, e *entry) (Sealed, error) {
	if e.Encryption == "" {
		return "", nil
	}
	plain, err := r.unseal(e, stored)
	var locked *LockedError
	if errors.As(err, &locked) {
		return Locked, nil
	}
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, plain)
	return Opened, err
}

// sum orders the results as the manifest does and draws the conclusion.
func (rep *Report) sum(order []File) {
	place := make(map[string]int, len(order))
	for i, f := range order {
		place[f.Path] = i - len(order) // what isn't listed has 0, and comes last
	}
	slices.SortStableFunc(rep.Files, func(a, b Result) int { return place[a.Path] - place[b.Path] })
	for _, f := range rep.Files {
		rep.Totals[f.Status]++
	}
	switch t := rep.Totals; {
	case t[Damaged]+t[Missing]+t[Unlisted]+len(rep.Problems) > 0:
		rep.Status = Damaged
	case t[Unverified] > 0 || t[OK] == 0:
		rep.Status = Unverified
	default:
		rep.Status = OK
	}
}

// verifyEnd looks for data behind the last file that the entry index passes
// over. Elsewhere there can be none: see openIndexed and [Reader.header].
func (r *Reader) verifyEnd() error {
	b, ok := r.body.(atBody)
	if !ok || !r.indexed {
		return nil
	}
	rest := io.NewSectionReader(b, r.end, math.MaxInt64-r.end)
	buf := make([]byte, 64<<10)
	for at := r.end; ; {
		n, err := rest.Read(buf)
		if i := bytes.IndexFunc(buf[:n], func(c rune) bool { return c != 0 }); i >= 0 {
			return &DamagedError{Offset: -1, Need: "nothing behind the files", Found: fmt.Sprintf("data at byte %d, unpacked", at+int64(i))}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF) && at-r.end < 2*block:
			return &DamagedError{Offset: -1, Need: "the end mark of the tar", Found: fmt.Sprintf("%d bytes of it", at-r.end)}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
