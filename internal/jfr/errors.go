package jfr

import "fmt"

// FormatError is a file that isn't as the format has it.
type FormatError struct {
	Chunk  int   // from 0
	Offset int64 // in the file, of what is wrong
	Need   string
	Found  string
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("chunk %d, byte %d: need %s, found %s", e.Chunk, e.Offset, e.Need, e.Found)
}
