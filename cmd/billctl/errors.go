package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/store"
)

// Exit codes (docs/cli.md, "Exit codes"). New ones may be added; an unknown one is a failure.
const (
	exitDone        = 0
	exitFailed      = 1  // input or environment
	exitUsage       = 2  // usage or configuration
	exitRejected    = 3  // done, but rows were rejected; with --strict only
	exitDiffers     = 4  // replay diverged, or a comparison differs
	exitNoState     = 10 // no state directory
	exitLocked      = 11 // another process has it
	exitCorrupt     = 12 // damaged, or of a newer version
	exitArchive     = 13 // an archive file is damaged, missing or of another journal
	exitUndelivered = 20 // documents are parked or wait for a sink
	exitInterrupted = 130
)

// exitError is an outcome with a code of its own.
type exitError struct {
	code int
	text string // "": nothing is printed
	hint string
	err  error // that it explains; may be nil
}

func (e *exitError) Error() string { return e.text }

func (e *exitError) Unwrap() error { return e.err }

func usageError(text string) error { return &exitError{code: exitUsage, text: text} }

// report prints an error with its way out and returns the exit code. It is the only place where an
// error becomes words for people.
func (s *session) report(err error) int {
	if err == nil {
		return exitDone
	}
	var faults formats.Faults
	if errors.As(err, &faults) {
		s.reportFaults(faults)
		return exitUsage
	}
	text, hint, code := explain(err)
	if text != "" {
		s.say("error: %s", text)
	}
	if hint != "" {
		s.say("hint: %s", hint)
	}
	return code
}

func (s *session) reportFaults(faults formats.Faults) {
	for _, f := range faults {
		s.say("error: %s", f.Error())
		fmt.Fprint(s.stderr, f.Excerpt())
		if f.Hint != "" {
			s.say("hint: %s", f.Hint)
		}
	}
}

// explain chooses words, way out and exit code of an error.
func explain(err error) (text, hint string, code int) {
	var (
		exit     *exitError
		locked   *store.LockedError
		version  *store.VersionError
		diverged *live.DivergedError
		mismatch *store.MismatchError
		full     *store.FullError
	)
	text = err.Error()
	damage, way := live.DamageOf(err)
	switch {
	case errors.As(err, &exit):
		return exit.text, exit.hint, exit.code
	case errors.Is(err, context.Canceled):
		return "interrupted", "", exitInterrupted
	case errors.As(err, &locked):
		return text, fmt.Sprintf("stop process %d first, or ask it: billctl query status",
			locked.PID), exitLocked
	case damage == live.ArchiveDamage:
		return text, way, exitArchive
	case errors.As(err, &version):
		return text, "use the newer billctl that wrote it", exitCorrupt
	case errors.As(err, &diverged), errors.As(err, &mismatch):
		return text, "nothing was delivered since; keep the directory as it is and compare it " +
			"with a copy: billctl replay DIR/journal", exitDiffers
	case damage == live.StateDamage:
		return text, way, exitCorrupt
	case errors.As(err, &full):
		text = strings.Replace(text, full.Error(), fmt.Sprintf("its volume has %d MiB free, of which "+
			"%d MiB are kept for a clean stop", full.Free>>20, full.Floor>>20), 1)
		fallthrough
	case store.DiskFull(err):
		return text, "free space on the volume and start again: everything that was read is kept, " +
			"nothing is half written", exitFailed
	case store.DiskFault(err):
		return text, "the disk failed; start again once it works: the next start recovers what " +
			"is durable", exitFailed
	case errors.Is(err, fs.ErrPermission):
		return text, "run as the owner of the directory", exitFailed
	case errors.Is(err, syscall.ENAMETOOLONG):
		return text, "use a shorter path", exitFailed
	}
	return text, "", exitFailed
}
