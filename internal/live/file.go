package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"billctl/formats"
)

// inode tells one file from another while it is open.
type inode struct{ dev, ino uint64 }

func inodeOf(info fs.FileInfo) inode {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("BUG: file information without an inode")
	}
	return inode{uint64(st.Dev), uint64(st.Ino)}
}

// file is one inode that a Tail reads. It holds at most one partition.
type file struct {
	path  string // where it is now, or was when last seen
	name  string // the same as it was first seen, relative to the root
	h     *os.File
	id    inode
	info  fs.FileInfo // of the last look at the path
	paths []string    // that lead to it in this look

	size    int64
	peak    int64 // the size when it was last found intact
	mtime   time.Time
	seen    time.Time // when it was first seen
	changed time.Time // when it was last seen to change, or did if that is long ago

	away    bool  // no pattern matches it any more
	moved   bool  // it was renamed
	stuck   bool  // it could not be read; not tried before the next look
	tried   int64 // the size at which it was compared with the partitions we know, or -1
	settled int64 // the size at which it was found to be no partition we know, or -1

	prefix  []byte     // the content's first bytes, while part is nil
	part    *partition // nil until something was handed out
	scanned int64      // no line ends between the position and this offset
	skip    bool       // the position stands within a line that was handed out
	skipped int64

	packed bool      // it is compressed
	stream io.Reader // its content from the end of carry on
	carry  []byte    // content from the position on
	ended  error     // why the stream ended, io.EOF if well
	done   bool      // all of it was handed out
}

func (f *file) offset() int64 {
	if f.part == nil {
		return 0
	}
	return f.part.offset
}

// use opens the file unless it is open. It may have been closed because too many were.
func (f *file) use(open func(string) (*os.File, error)) error {
	if f.h != nil {
		return nil
	}
	h, err := open(f.path)
	if err != nil {
		return err
	}
	info, err := h.Stat()
	if err == nil && inodeOf(info) != f.id {
		err = fmt.Errorf("open %s: it was replaced by another file", f.path)
	}
	if err != nil {
		return errors.Join(err, h.Close())
	}
	f.h = h
	return nil
}

func (f *file) close() error {
	if f.h == nil {
		return nil
	}
	err := f.h.Close()
	f.h = nil
	return err
}

// drop forgets the state of decompression; the next read begins at the start.
func (f *file) drop() {
	f.stream, f.carry, f.ended, f.done = nil, nil, nil, false
}

// sight notes that a path leads to the file.
func (f *file) sight(e entry) {
	f.info = e.info
	f.paths = append(f.paths, e.path)
}

// settleName finds out from the paths whether the file was renamed or is gone.
func (f *file) settleName() {
	f.away = len(f.paths) == 0
	if !f.away && !slices.Contains(f.paths, f.path) {
		f.path, f.moved = f.paths[0], true
	}
	f.paths = f.paths[:0]
}

// stat asks for the size. It reports whether the content may have changed since it was asked last:
// times of modification are coarse, so a recent one proves nothing.
func (f *file) stat(now time.Time, open func(string) (*os.File, error)) (bool, error) {
	info := f.info
	if f.h != nil {
		var err error
		if info, err = f.h.Stat(); err != nil {
			return false, err
		}
	}
	if info.Size() == f.size && info.ModTime().Equal(f.mtime) {
		return f.h != nil && now.Sub(f.mtime) < 2*time.Second, nil
	}
	if f.size >= 0 {
		if err := f.use(open); err != nil {
			return false, err
		}
		f.changed = now
	}
	f.size, f.mtime = info.Size(), info.ModTime()
	if f.size <= f.scanned { // what was scanned was written over
		f.scanned = f.offset()
	}
	return true, nil
}

// intact reports whether the bytes before the position are still what was read.
func (f *file) intact() (bool, error) {
	if f.size < f.offset() {
		return false, nil
	}
	return f.holds(f.part.offset, len(f.part.tail), digestOf(f.part.tail))
}

// holds reports whether the n bytes before the offset have the digest.
func (f *file) holds(offset int64, n int, sum digest) (bool, error) {
	b := make([]byte, n)
	switch m, err := f.h.ReadAt(b, offset-int64(n)); {
	case m == n:
		return digestOf(b) == sum, nil
	case errors.Is(err, io.EOF):
		return false, nil
	default:
		return false, fmt.Errorf("read %s at byte %d: %w", f.path, offset-int64(n), err)
	}
}

// fill reads content from the position on into b. It returns how much there is and whether the
// content ends there.
func (f *file) fill(b []byte) (n int, eof bool, err error) {
	if f.packed {
		if f.stream == nil && f.ended == nil && f.offset() > 0 {
			panic("BUG: decompression begins behind the start")
		}
		f.carryOn(len(b) + 1)
		n = copy(b, f.carry)
		if n < len(b) && f.ended != nil && !errors.Is(f.ended, io.EOF) {
			return n, false, &packedError{f.ended}
		}
		return n, n == len(f.carry) && f.ended != nil, nil
	}
	n, err = f.h.ReadAt(b, f.offset())
	if err != nil && !errors.Is(err, io.EOF) {
		return n, false, fmt.Errorf("read %s at byte %d: %w", f.path, f.offset()+int64(n), err)
	}
	end := f.offset() + int64(n)
	if n < len(b) {
		f.size = end
	}
	return n, end >= f.size, nil
}

// carryOn reads the stream until carry holds n bytes or the stream ends.
func (f *file) carryOn(n int) {
	if f.stream == nil && f.ended == nil {
		f.stream, f.ended = formats.Decompress(f.path, io.NewSectionReader(f.h, 0, f.size))
	}
	f.carry = slices.Grow(f.carry, max(n-len(f.carry), 0))
	for len(f.carry) < n && f.ended == nil {
		m, err := f.stream.Read(f.carry[len(f.carry):n])
		f.carry = f.carry[:len(f.carry)+m]
		f.ended = err
	}
}

// take moves the position behind b, content that fill returned.
func (f *file) take(b []byte) {
	f.part.advance(b)
	f.scanned = f.part.offset
	if f.packed {
		f.carry = append(f.carry[:0], f.carry[len(b):]...)
		f.done = len(f.carry) == 0 && errors.Is(f.ended, io.EOF)
	}
}

// packedError says that a compressed file is damaged or cut. Reading it again will not help.
type packedError struct{ err error }

func (e *packedError) Error() string { return e.err.Error() }

func (e *packedError) Unwrap() error { return e.err }

// read hands out the next run of lines of f, if a whole one is there.
func (t *Tail) read(f *file, now time.Time) (formats.Chunk, bool, error) {
	for size := t.opts.ChunkSize; ; size *= 2 {
		if err := f.use(t.open); err != nil {
			return formats.Chunk{}, false, err
		}
		buf := take(t.free, min(size, maxLine))
		n, eof, fault := f.fill(buf)
		if f.part != nil && !f.packed && fault == nil {
			if same, err := f.intact(); err != nil || !same {
				if err == nil {
					t.restart(f)
				}
				return formats.Chunk{}, false, err
			}
		}
		if f.skip {
			recycle(t.free, buf, t.opts.ChunkSize)
			return formats.Chunk{}, false, t.skipLine(f, buf[:n], eof, fault)
		}
		final := eof && t.final(f, now)
		cut := bytes.LastIndexByte(buf[:n], '\n') + 1
		if f.part == nil && !final && bytes.IndexByte(buf[:n], '\n') == cut-1 && buf[0] != '{' {
			cut = 0 // a header alone
		}
		if final {
			cut = n
		}
		switch {
		case cut > 0:
			return t.emit(f, buf[:cut], final), true, nil
		case fault != nil:
			return formats.Chunk{}, false, fault
		case eof:
			f.scanned = f.offset() + int64(n)
			f.done = f.packed
			recycle(t.free, buf, t.opts.ChunkSize)
			return formats.Chunk{}, false, nil
		case n == maxLine:
			c := t.emit(f, buf[:cutLine+1], false)
			t.notices = append(t.notices, Notice{
				Kind: Gap, Path: f.path, Partition: c.Partition, Offset: c.Offset,
				Text: fmt.Sprintf("%s: the line at byte %d is longer than %d bytes and was cut",
					f.path, c.Offset, maxLine),
			})
			c.Data[cutLine] = '\n'
			f.skip = true
			return c, true, nil
		}
		recycle(t.free, buf, t.opts.ChunkSize)
	}
}

// emit hands out data, the next bytes of f.
func (t *Tail) emit(f *file, data []byte, last bool) formats.Chunk {
	if f.part == nil {
		prefix := data
		if t.opts.UntilEOF || f.packed {
			prefix = f.prefix
		}
		f.part = t.named(f, prefix)
	}
	c := formats.Chunk{Partition: f.part.name, Offset: f.part.offset, Data: data, Last: last}
	if t.opts.UntilEOF {
		c.Ident = f.part.ident()
	}
	f.take(data)
	c.Head = f.part.head
	f.skip = last && data[len(data)-1] != '\n'
	return c
}

// skipLine drops b, content from the position on, up to the end of the line that it is in.
func (t *Tail) skipLine(f *file, b []byte, eof bool, fault error) error {
	end := bytes.IndexByte(b, '\n')
	if end < 0 && len(b) == 0 && fault != nil {
		return fault
	}
	if end < 0 {
		f.skipped += int64(len(b))
		f.take(b)
		f.done = f.done || f.packed && eof
	} else {
		f.skipped += int64(end)
		f.take(b[:end+1])
		f.skip = false
	}
	if f.skipped > 0 && (end >= 0 || f.done) {
		t.notices = append(t.notices, Notice{
			Kind: Gap, Path: f.path, Partition: f.part.name, Offset: f.part.offset,
			Text: fmt.Sprintf("%s: skipped %d bytes before byte %d: the rest of a line that was "+
				"handed on without its end", f.path, f.skipped, f.part.offset),
		})
		f.skipped = 0
	}
	return nil
}

// forward drops skip bytes of the stream and reads the next ones into tail. It fails with io.EOF
// if there are fewer.
func (f *file) forward(skip int64, tail []byte) error {
	f.drop()
	for at := int64(0); at < skip+int64(len(tail)); {
		f.carryOn(32 << 10)
		if len(f.carry) == 0 {
			if errors.Is(f.ended, io.EOF) {
				return io.EOF
			}
			return &packedError{f.ended}
		}
		n := min(int64(len(f.carry)), max(skip-at, 0))
		if n == 0 {
			n = int64(copy(tail[at-skip:], f.carry))
		}
		f.carry = append(f.carry[:0], f.carry[n:]...)
		at += n
	}
	f.carryOn(1)
	return nil
}

// firstLine reads the file's first line, for Chunk.Head.
func (f *file) firstLine() ([]byte, error) {
	b := make([]byte, headSize)
	n, err := f.h.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return firstLine(b[:n]), nil
}

// firstLine returns a copy of the first line of b without its end, or nil if it is too long.
func firstLine(b []byte) []byte {
	end := bytes.IndexByte(b[:min(len(b), headSize)], '\n')
	if end < 0 {
		return nil
	}
	return append([]byte{}, b[:end]...)
}

func isPacked(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || bytes.HasPrefix(b, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

// take returns a buffer of the size, a recycled one if there is one.
func take(free chan []byte, size int) []byte {
	select {
	case b := <-free:
		if cap(b) >= size {
			return b[:size]
		}
	default:
	}
	return make([]byte, size)
}

// recycle keeps a buffer for take unless it is of an odd size.
func recycle(free chan []byte, b []byte, size int) {
	if cap(b) < size || cap(b) > 4*size {
		return
	}
	select {
	case free <- b:
	default:
	}
}

// openFile opens without waiting, should the path have become a FIFO since it was looked at.
func openFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

// readable tells a directory that cannot be read from one that holds nothing: Glob does not.
func readable(dir string, open func(string) (*os.File, error)) error {
	h, err := open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = h.ReadDir(1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, h.Close())
}

func refusal(path string, info fs.FileInfo) error {
	return fmt.Errorf("tail %s: it is a %s, not a regular file", path, kindOf(info.Mode()))
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe (pipe it to standard input instead)"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "device"
}
