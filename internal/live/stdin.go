package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"billctl/formats"
)

// Stdin hands out what a stream holds, as runs of whole lines of one partition, "stdin".
//
// A stream is finite and cannot be read again, so there is no position to go on from: every run
// begins at offset 0, and what a restart reads twice is found by its ids. For the same reason its
// chunks have no Ident: rows need ids of their own.
type Stdin struct {
	r     io.Reader
	now   func() time.Time
	begin sync.Once
	out   chan piece
	free  chan []byte
	ended *piece // the last piece, once it was received
}

// piece is a chunk on its way from the goroutine that reads.
type piece struct {
	chunk   formats.Chunk
	notices []Notice
	err     error // io.EOF after everything was read
}

const stdinChunk = 256 << 10

// NewStdin returns the source that reads r to its end. Reading begins with the first Next, in a
// goroutine of its own, since a read cannot be interrupted.
func NewStdin(r io.Reader) *Stdin {
	return &Stdin{
		r:    r,
		now:  time.Now,
		out:  make(chan piece),
		free: make(chan []byte, 4),
	}
}

// Next returns the next run of whole lines as soon as one line is there. The last one may lack its
// end; it comes with Last. After everything was read, Status says EOF, again and again. An error
// of the stream ends it and is returned again and again; ctx's error ends nothing.
func (s *Stdin) Next(ctx context.Context) (formats.Chunk, Status, error) {
	s.begin.Do(func() { go s.read() })
	if s.ended == nil {
		select {
		case <-ctx.Done():
			return formats.Chunk{}, Status{}, ctx.Err()
		case p := <-s.out:
			if p.err == nil {
				return p.chunk, Status{At: s.now(), Notices: p.notices}, nil
			}
			s.ended = &p
		}
	}
	if !errors.Is(s.ended.err, io.EOF) {
		return formats.Chunk{}, Status{}, s.ended.err
	}
	st := Status{At: s.now(), CaughtUp: true, EOF: true, Notices: s.ended.notices}
	s.ended.notices = nil
	return formats.Chunk{}, st, nil
}

// Recycle takes back the Data of a chunk, which the caller must not touch any more. It may be
// called from any goroutine.
func (s *Stdin) Recycle(c formats.Chunk) { recycle(s.free, c.Data, stdinChunk) }

// read cuts the stream into pieces until it ends.
func (s *Stdin) read() {
	var (
		offset  int64 // of buf in the stream
		head    []byte
		buf     = take(s.free, stdinChunk)
		n       int
		skipped int64 // bytes of the overlong line that is being skipped; 0 if none is
		notices []Notice
	)
	for {
		m, err := s.r.Read(buf[n:])
		from := n // no line ends before it
		n += m
		if skipped > 0 {
			end := bytes.IndexByte(buf[:n], '\n') + 1
			gone := end
			if end == 0 {
				gone = n
			}
			skipped += int64(gone)
			offset += int64(gone)
			n, from = copy(buf, buf[gone:n]), 0
			if end > 0 || err != nil {
				notices = append(notices, skippedRest(offset, skipped-1))
				skipped = 0
			}
		}
		cut := bytes.LastIndexByte(buf[from:n], '\n') + 1
		if cut > 0 {
			cut += from
		}
		last := errors.Is(err, io.EOF)
		if last {
			cut = n
		}
		if cut > 0 {
			if offset == 0 {
				head = firstLine(buf[:cut])
			}
			next := take(s.free, max(stdinChunk, 2*(n-cut)))
			rest := copy(next, buf[cut:n])
			s.out <- piece{chunk: formats.Chunk{
				Partition: "stdin", Head: head, Offset: offset, Data: buf[:cut], Last: last,
			}, notices: notices}
			offset, buf, n, notices = offset+int64(cut), next, rest, nil
		}
		if err != nil {
			if !last {
				err = fmt.Errorf("read stdin at byte %d: %w", offset+int64(n), err)
			}
			s.out <- piece{err: err, notices: notices}
			return
		}
		switch {
		case n < len(buf):
		case n < maxLine:
			buf = append(buf, make([]byte, min(len(buf), maxLine-n))...)
		default:
			line := take(s.free, cutLine+1)
			copy(line, buf[:cutLine])
			line[cutLine] = '\n'
			s.out <- piece{chunk: formats.Chunk{
				Partition: "stdin", Head: head, Offset: offset, Data: line,
			}, notices: notices}
			offset, n, notices = offset+int64(n), 0, nil
			skipped = 1 + int64(maxLine-cutLine)
		}
	}
}

func skippedRest(offset, n int64) Notice {
	return Notice{
		Kind: Gap, Partition: "stdin", Offset: offset,
		Text: fmt.Sprintf("stdin: skipped %d bytes before byte %d: the rest of a line longer "+
			"than %d bytes", n, offset, maxLine),
	}
}
