package store

import (
	"fmt"
	"io"
	"path"
)

// logFile is a file of frames that one goroutine appends to. After a write or sync that failed it
// is failed for ever: every later call returns the same error and touches nothing.
type logFile struct {
	f        File
	path     string
	seed     uint32
	buf      []byte // frames that go to written
	written  int64  // bytes of the file
	entries  int64  // end of the last entries frame
	synced   int64  // everything before is durable
	promised int64  // greatest promise in the file
	err      error
}

// createLog makes a file of frames without frames. Its header is durable before the file has its
// name, so that a damaged header is never a creation that a crash cut short.
func createLog(fs FS, name string, h *logHeader) (*logFile, error) {
	if err := writeFile(fs, name, h.encode()); err != nil {
		return nil, err
	}
	f, err := fs.OpenFile(name)
	if err != nil {
		return nil, &FailedError{"open", name, err}
	}
	return &logFile{f: f, path: name, seed: h.seed(), written: logHeaderSize,
		entries: logHeaderSize, synced: logHeaderSize, promised: logHeaderSize}, nil
}

// frameVisit sees a frame of a log on opening; the payload is good until it returns.
type frameVisit func(at int64, h frameHeader, payload []byte) error

// openLog opens a file of frames for appending: it cuts a torn tail and makes the rest durable.
// high is a length known from elsewhere to be durable, or 0. visit sees every entries frame.
func openLog(fs FS, name string, h *logHeader, high int64, visit frameVisit) (*logFile, error) {
	f, err := fs.OpenFile(name)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l, err := recoverLog(f, name, h, high, visit)
	if err != nil {
		_ = f.Close() // nothing was promised through this handle
		return nil, err
	}
	return l, nil
}

func recoverLog(f File, name string, h *logHeader, high int64, visit frameVisit) (*logFile, error) {
	r, err := openFrames(f, name, h)
	if err != nil {
		return nil, err
	}
	l := &logFile{f: f, path: name, seed: r.seed, entries: logHeaderSize}
	scan, err := scanFrames(r, name, high, func(at int64, h frameHeader, payload []byte) error {
		if h.Kind == entriesFrame {
			l.entries = at + h.size()
			return visit(at, h, payload)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if r.size > scan.end {
		if err := f.Truncate(scan.end); err != nil {
			return nil, &FailedError{"cut", name, err}
		}
	}
	if err := rewrite(f, scan.promised, scan.end); err != nil {
		return nil, &FailedError{"write", name, err}
	}
	if err := f.Sync(); err != nil {
		return nil, &FailedError{"sync", name, err}
	}
	l.written, l.synced, l.promised = scan.end, scan.end, scan.promised
	return l, nil
}

// rewrite writes the unpromised part of a file once more. If the process before us met a sync that
// failed, the kernel may hold these bytes as clean although the disk never took them: reading
// shows them, and a sync alone would not write them.
func rewrite(f File, from, to int64) error {
	buf := make([]byte, min(readPiece, max(0, to-from)))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// append adds an entries frame and returns the offset it will stand at. It is not durable yet.
func (l *logFile) append(first uint64, count uint32, payload []byte) (int64, error) {
	if l.err != nil {
		return 0, l.err
	}
	at := l.end()
	h := frameHeader{Kind: entriesFrame, Count: count, First: first, Promised: l.synced}
	l.buf = appendFrameHeader(l.buf, l.seed, at, h, payload)
	if len(l.buf)+len(payload) <= readPiece {
		l.buf = append(l.buf, payload...)
	} else if err := l.writeBoth(payload); err != nil {
		return 0, err
	}
	l.entries, l.promised = l.end(), l.synced
	return at, nil
}

func (l *logFile) end() int64 { return l.written + int64(len(l.buf)) }

// sync makes everything appended durable.
func (l *logFile) sync() error {
	if l.err != nil || l.entries <= l.synced {
		return l.err
	}
	return l.force()
}

// settle makes everything durable, promise frames too.
func (l *logFile) settle() error {
	if l.err != nil || l.end() <= l.synced {
		return l.err
	}
	return l.force()
}

func (l *logFile) force() error {
	if err := l.writeBoth(nil); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return l.fail("sync", err)
	}
	l.synced = l.written
	return nil
}

// promise appends a frame that promises what is durable, if no frame says so yet. next is the
// First of the next entries frame. The promise itself need not be durable.
func (l *logFile) promise(next uint64) error {
	if l.err != nil || l.promised >= l.entries || l.synced < l.entries {
		return l.err
	}
	h := frameHeader{Kind: promiseFrame, First: next, Promised: l.synced}
	l.buf = appendFrame(l.buf, l.seed, l.end(), h, nil)
	l.promised = l.synced
	return l.writeBoth(nil)
}

// close makes everything durable, promised and the promise durable too. A failed log is closed
// without that, and says once more what failed.
func (l *logFile) close(next uint64) error {
	err := l.sync()
	if err == nil {
		err = l.promise(next)
	}
	if err == nil {
		err = l.settle()
	}
	if cerr := l.f.Close(); err == nil && cerr != nil {
		err = l.fail("close", cerr)
	}
	return err
}

// writeBoth writes the buffer and then the payload to the file.
func (l *logFile) writeBoth(payload []byte) error {
	for _, b := range [][]byte{l.buf, payload} {
		if len(b) == 0 {
			continue
		}
		if _, err := l.f.WriteAt(b, l.written); err != nil {
			return l.fail("write", err)
		}
		l.written += int64(len(b))
	}
	l.buf = l.buf[:0]
	return nil
}

func (l *logFile) fail(op string, err error) error {
	l.err = &FailedError{op, l.path, err}
	return l.err
}

// openFrames checks the header of a file of frames and stands before its first frame.
func openFrames(f File, name string, h *logHeader) (*frameReader, error) {
	b := make([]byte, logHeaderSize)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if err := checkLogHeader(name, b[:n], h); err != nil {
		return nil, err
	}
	r := &frameReader{f: f, seed: h.seed(), off: logHeaderSize}
	if err := r.reset(); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return r, nil
}

// logScan is what a scan found.
type logScan struct {
	end      int64 // of the last whole frame before the end or the torn tail
	promised int64 // greatest promise
}

// scanFrames reads a file to its end or its torn tail. A bad frame, or the end, before a promise
// is corruption. A writer may be at work beside us and the bytes may have come only after we
// looked, so damage counts when it is still there after the promise was seen.
func scanFrames(r *frameReader, name string, high int64, visit frameVisit) (logScan, error) {
	s := logScan{promised: max(high, logHeaderSize)}
	doubted := int64(-1)
	for {
		s.end = r.off
		h, payload, err := r.next()
		if err == nil {
			s.promised = max(s.promised, h.Promised)
			if err := visit(s.end, h, payload); err != nil {
				return s, err
			}
			continue
		}
		if err == errBadFrame {
			var later int64
			later, err = r.promiseAfter(s.end)
			s.promised = max(s.promised, later)
		}
		if err != nil && err != io.EOF {
			return s, fmt.Errorf("read %s at byte %d: %w", name, s.end, err)
		}
		if s.promised <= s.end {
			return s, nil
		}
		if doubted == s.end {
			return s, r.damage(name, s.promised)
		}
		doubted = s.end
		if err := r.reset(); err != nil {
			return s, fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// damage says what is wrong at off, where a durable frame must stand.
func (r *frameReader) damage(name string, promised int64) error {
	reason := fmt.Sprintf("no valid frame, but %d bytes were durable", promised)
	if r.size <= r.off {
		reason = fmt.Sprintf("the file ends here, but %d bytes were durable", promised)
	}
	return &CorruptError{name, r.off, reason}
}

// writeFile makes a file whole or not at all, and durable under its name.
func writeFile(fs FS, name string, data []byte) error {
	tmp := name + tmpSuffix
	if err := fs.Remove(tmp); err != nil && !isNotExist(err) {
		return &FailedError{"remove", tmp, err}
	}
	if err := writeNew(fs, tmp, data); err != nil {
		return err
	}
	if err := fs.Rename(tmp, name); err != nil {
		return &FailedError{"rename", tmp, err}
	}
	if err := fs.SyncDir(path.Dir(name)); err != nil {
		return &FailedError{"sync", path.Dir(name), err}
	}
	return nil
}

// writeNew makes a file with durable content; its name is not durable yet.
func writeNew(fs FS, name string, data []byte) error {
	f, err := fs.Create(name)
	if err != nil {
		return &FailedError{"create", name, err}
	}
	if _, err = f.WriteAt(data, 0); err != nil {
		err = &FailedError{"write", name, err}
	} else if err = f.Sync(); err != nil {
		err = &FailedError{"sync", name, err}
	}
	if cerr := f.Close(); err == nil && cerr != nil {
		err = &FailedError{"close", name, cerr}
	}
	return err
}
