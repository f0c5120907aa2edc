package attest

import (
	"maps"
	"slices"
)

func sorted(known fields) []string { return slices.Sorted(maps.Keys(known)) }

func example(known fields) string { return sorted(known)[0] }

// nearest is the known field that a word is most likely meant to be, or "".
func nearest(word string, known fields) string {
	if len(word) > 40 {
		return ""
	}
	best, least := "", len(word)/2+1
	for _, k := range sorted(known) {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to put in, take out or change.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
