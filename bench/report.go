package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// report gathers what was measured.
type report struct {
	quick    bool
	machine  machine
	bars     [][]string
	sections []string
	failed   []string
}

// bar notes a promise, what was measured, and whether it is kept.
func (r *report) bar(what, promise, found string, met bool) {
	verdict := "met"
	if !met {
		verdict = "**not met**"
	}
	r.bars = append(r.bars, []string{what, promise, found, verdict})
}

// section adds a heading, a table and remarks.
func (r *report) section(title string, head []string, rows [][]string, remarks ...string) {
	text := "## " + title + "\n\n" + table(head, rows)
	if len(remarks) > 0 {
		text += "\n" + strings.Join(remarks, "\n") + "\n"
	}
	r.sections = append(r.sections, text)
}

func (r *report) fail(figure string, err error) {
	r.failed = append(r.failed, figure)
	r.bars = append(r.bars, []string{figure, "", strings.ReplaceAll(err.Error(), "\n", " "), "**not measured**"})
}

func (r *report) begin(ctx context.Context, l *lab) { r.machine = look(ctx, l) }

func (r *report) markdown() string {
	var b strings.Builder
	b.WriteString("# Figures\n\nMade by `make bench`: every number below was measured in one run.\n\n")
	if r.quick {
		b.WriteString("This was a quick run with few repetitions: it shows that the measurement works, no more.\n\n")
	}
	b.WriteString(r.machine.describe())
	b.WriteString("\n" + table([]string{"figure", "bar", "measured", ""}, r.bars))
	for _, s := range r.sections {
		b.WriteString("\n" + s)
	}
	return b.String()
}

func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		b.WriteString("|")
		for _, c := range cells {
			b.WriteString(" " + strings.ReplaceAll(c, "|", "\\|") + " |")
		}
		b.WriteString("\n")
	}
	line(head)
	b.WriteString("|" + strings.Repeat("---|", len(head)) + "\n")
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// median of a list that is not empty.
func median[T time.Duration | int64 | float64](list []T) T {
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// of is the median of one number of each run.
func of[R any, T time.Duration | int64 | float64](runs []R, number func(R) T) T {
	list := make([]T, len(runs))
	for i, r := range runs {
		list[i] = number(r)
	}
	return median(list)
}

func seconds(d time.Duration) string {
	switch s := d.Seconds(); {
	case s < 0.01:
		return fmt.Sprintf("%.4f", s)
	case s < 0.1:
		return fmt.Sprintf("%.3f", s)
	default:
		return fmt.Sprintf("%.2f", s)
	}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.0f ms", d.Seconds()*1000) }

func ratio(a, b time.Duration) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func times(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f ×", x)
	}
	return fmt.Sprintf("%.2f ×", x)
}
