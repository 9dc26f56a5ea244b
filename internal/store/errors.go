package store

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"billctl/engine"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrCorrupt: bytes that were durable are missing or damaged. See CorruptError.
	ErrCorrupt = errors.New("corrupt")
	// ErrNoState: there is no state directory, or its creation never finished.
	ErrNoState = errors.New("no state directory")
	// ErrExists: Create found a finished state directory.
	ErrExists = errors.New("state directory exists")
	// ErrLocked: another process writes to the state directory. See LockedError.
	ErrLocked = errors.New("locked")
	// ErrTrimmed: the journal no longer holds the Seq asked for; the archive does.
	ErrTrimmed = errors.New("no longer in the journal")
	// ErrClosed: the journal was closed.
	ErrClosed = errors.New("closed")
)

// CorruptError says where bytes that were promised durable are missing or damaged. Nothing is
// repaired: the way out is a restore from the archive, or from a copy of the file.
type CorruptError struct {
	Path   string
	Offset int64 // where the damage was found, in bytes from the start of the file
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: corrupt at byte %d: %s", e.Path, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// LockedError names the process that holds the state directory. Fields are zero where the holder
// did not say.
type LockedError struct{ Holder }

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return "state directory is locked by another process"
	}
	since := time.UnixMicro(int64(e.Since)).UTC().Format(time.RFC3339)
	return fmt.Sprintf("state directory is locked by process %d on %s since %s",
		e.PID, e.Host, since)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// VersionError says that a file was written by a newer billctl.
type VersionError struct {
	Path  string
	Found int
	Known int // the newest version this binary reads
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("%s: version %d is newer than %d, the newest this billctl reads",
		e.Path, e.Found, e.Known)
}

// OldError says that a file of a checkpoint is of an older billctl. Nothing is lost: the journal
// has it all. For who only asks whether a checkpoint can be used it is an ErrCorrupt.
type OldError struct {
	Path  string
	Found int // version
	Known int // the only one that this binary reads
}

func (e *OldError) Error() string {
	return fmt.Sprintf("%s: version %d is of an older billctl; this one reads version %d",
		e.Path, e.Found, e.Known)
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *OldError) Is(target error) bool { return target == ErrCorrupt }

// FullError says that the volume has less free space than the floor. Nothing was written, and
// what was written before stays good.
type FullError struct {
	Path  string
	Free  uint64 // bytes
	Floor uint64 // bytes
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%s: %d bytes free on the volume, below the floor of %d: "+
		"free disk space and start again", e.Path, e.Free, e.Floor)
}

// FailedError is a write or sync that failed. After it a journal takes nothing any more, since
// nobody knows what the disk holds; the next start finds out.
type FailedError struct {
	Op   string // "write", "sync", ...
	Path string
	Err  error
}

func (e *FailedError) Error() string {
	way := "look after the disk"
	switch {
	case DiskFull(e.Err):
		way = "free disk space"
	case errors.Is(e.Err, syscall.EROFS):
		way = "make the file system writable"
	}
	return fmt.Sprintf("%s %s: %v: stopped, nothing half-written counts; %s and start again",
		e.Op, e.Path, e.Err, way)
}

func (e *FailedError) Unwrap() error { return e.Err }

// DiskFull tells whether an error says that there is no space left, or not enough.
func DiskFull(err error) bool {
	var full *FullError
	return errors.As(err, &full) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// DiskFault tells whether an error says that the volume failed or takes no writes.
func DiskFault(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EROFS)
}

// gapError is a frame or segment that does not follow the one before it.
func gapError(path string, at int64, found, want engine.Seq) error {
	return &CorruptError{path, at, fmt.Sprintf("begins at seq %d, want %d", found, want)}
}
