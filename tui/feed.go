package tui

import (
	"context"
	"errors"
	"net/url"
)

// Feed answers questions about a state. Its methods may be called by many goroutines.
type Feed interface {
	// Ask returns the documented JSON answer to a path ("/v1/account") with parameters. The error is a
	// *Failure where the state says no, and wraps ErrGone where nobody answers now.
	Ask(ctx context.Context, path string, params url.Values) ([]byte, error)
	// Where says what is read: "process on DIR", "directory DIR", "archive FILE…". It may change when
	// a process starts on a directory.
	Where() string
}

// ErrGone says that nobody answers: the process has ended, or is about to. To ask again later may
// help.
var ErrGone = errors.New("nobody answers")

// Failure is an answer that says no.
type Failure struct {
	Code    string // as in docs/formats/api.md: not_found, bad_request, …
	Message string
	Hint    string // the way out; may be empty
}

func (f *Failure) Error() string { return f.Message }
