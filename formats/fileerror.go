package formats

import (
	"errors"
	"fmt"
	"strings"
)

// ErrContent is in a *FileError, for errors.Is, if an archive file can be read but its entries are
// not those that it was written with: their digest differs from the one in the metadata. So its
// rows were changed by a program that kept our metadata. All other faults are without it.
var ErrContent = errors.New("the entries are not those that the file was written with")

// FileError says what is wrong with a file of columns, where, and what helps. Such a file is
// refused from there on; nothing is guessed.
type FileError struct {
	Name   string
	Group  int    // row group, or record batch, from 0; -1: not in one
	Column string // "" where no one column is at fault
	Row    int64  // in the file, from 0; -1: not in one
	Reason string
	Hint   string // the way out, if there is one to name
	Err    error  // ErrContent, or nil: Reason says all
}

// Unwrap returns Err, for errors.Is.
func (e *FileError) Unwrap() error { return e.Err }

func (e *FileError) Error() string {
	parts := []string{e.Name}
	if e.Group >= 0 {
		parts = append(parts, fmt.Sprintf("row group %d", e.Group))
	}
	if e.Row >= 0 {
		parts = append(parts, fmt.Sprintf("row %d", e.Row))
	}
	if e.Column != "" {
		parts = append(parts, "column "+quoted(e.Column))
	}
	return strings.Join(parts, ": ") + ": " + e.Reason
}
