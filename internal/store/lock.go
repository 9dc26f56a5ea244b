package store

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"billctl/engine"
)

const lockName = "LOCK"

// Holder is who holds a state directory, for the message that a second process prints.
type Holder struct {
	PID   int
	Host  string
	Since engine.Micros
}

// takeLock takes the state directory for writing, and writes into the lock file who has it. The
// file stays for ever: removing it would let two processes hold two files of one name.
func takeLock(fs FS, h Holder) (io.Closer, error) {
	l, err := fs.Lock(lockName)
	if errors.Is(err, ErrLocked) {
		return nil, &LockedError{readHolder(fs)}
	}
	if err != nil {
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
	if err := writeHolder(fs, h); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// writeHolder need not be durable: a lock does not outlive its process.
func writeHolder(fs FS, h Holder) error {
	f, err := fs.OpenFile(lockName)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	text := fmt.Appendf(nil, "pid %d\nhost %s\nsince %d\n", h.PID, h.Host, h.Since)
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(text, 0)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return &FailedError{"write", lockName, err}
	}
	return nil
}

// readHolder returns what it can: the holder may be writing it right now.
func readHolder(fs FS) (h Holder) {
	f, err := fs.Open(lockName)
	if err != nil {
		return h
	}
	defer f.Close() // read only
	b := make([]byte, 1024)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return h
	}
	for line := range strings.Lines(string(b[:n])) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "pid":
			h.PID, _ = strconv.Atoi(value) // 0: unknown
		case "host":
			h.Host = value
		case "since":
			since, _ := strconv.ParseInt(value, 10, 64) // 0: unknown
			h.Since = engine.Micros(since)
		}
	}
	return h
}
