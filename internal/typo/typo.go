// Package typo finds the word that a misspelt one is most likely meant to be.
package typo

import "strings"

// Nearest returns the known word that a misspelt one is most likely meant to be,
// or "" if none is near enough. Case does not count; of two words that are as near, it
// is the first.
func Nearest(word string, known []string) string {
	if len(word) > 40 {
		return "" // no slip of the hand
	}
	best, least := "", 2+len(word)/3
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < least {
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
