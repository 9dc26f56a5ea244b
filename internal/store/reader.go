package store

import (
	"errors"
	"fmt"
	"io"

	"billctl/engine"
)

// Frame is one frame of entries. Payload is good until the next call of Next.
type Frame struct {
	First, Count engine.Seq
	Payload      []byte
	Path         string // of the segment, in the state directory
	Offset       int64  // where the frame begins in it
}

// JournalReader reads the journal's frames in their order. It belongs to one goroutine. It never
// writes, and it may run beside a writer in this or another process: it returns what is known to
// be durable, so no answer made of it is taken back by a crash.
type JournalReader struct {
	d     *Dir
	from  engine.Seq // frames that end before it are skipped
	next  engine.Seq // First of the next frame in the segment
	path  string
	first engine.Seq // of the segment
	r     *frameReader
	limit int64 // what of the segment may be returned
	end   int64 // of the segment before, when it was left
	final bool  // the segment after it exists, so it will not grow
}

// Read returns a reader of the frames that hold from and all Seqs after it. A frame that begins
// before from and reaches it comes whole. from = 1 is the whole journal.
func (d *Dir) Read(from engine.Seq) *JournalReader { return &JournalReader{d: d, from: from} }

// Next returns the next frame. io.EOF says that nothing more is durable yet: Next may be called
// again later. ErrTrimmed: from lies before the first segment. ErrCorrupt: damage; nothing behind
// it is returned.
func (r *JournalReader) Next() (Frame, error) {
	for {
		if r.r == nil {
			if err := r.open(); err != nil {
				return Frame{}, err
			}
		}
		if r.r.off >= r.limit {
			if err := r.advance(); err != nil {
				return Frame{}, err
			}
			continue
		}
		at := r.r.off
		h, payload, err := r.read()
		if err != nil {
			return Frame{}, err
		}
		if err := h.follows(r.path, at, uint64(r.next)); err != nil {
			return Frame{}, err
		}
		r.next += engine.Seq(h.Count)
		if h.Kind != entriesFrame || r.next <= r.from {
			continue
		}
		f := Frame{engine.Seq(h.First), engine.Seq(h.Count), payload, r.path, at}
		return f, nil
	}
}

// Close closes the segment that is open.
func (r *JournalReader) Close() error {
	if r.r == nil {
		return nil
	}
	f := r.r.f
	r.r = nil
	return f.Close()
}

// read returns the frame at off, which is known to be durable: nothing was read ahead before that
// was known.
func (r *JournalReader) read() (frameHeader, []byte, error) {
	h, payload, err := r.r.next()
	switch err {
	case nil:
		return h, payload, nil
	case io.EOF, errBadFrame:
		return h, nil, r.r.damage(r.path, r.limit)
	}
	return h, nil, fmt.Errorf("read %s at byte %d: %w", r.path, r.r.off, err)
}

// advance is called at the limit: it goes to the next segment, or finds out that there is more in
// this one, or returns io.EOF.
func (r *JournalReader) advance() error {
	if r.final {
		r.end = r.r.off
		if err := r.Close(); err != nil {
			return fmt.Errorf("close %s: %w", r.path, err)
		}
		return nil
	}
	if j := r.d.journal; j != nil {
		return r.follow(*j.durable.Load())
	}
	// The order matters: what the mark says must be in the file that is looked at after it.
	high, err := readHigh(r.d.fs, r.d.genesis.Journal)
	if err != nil {
		return err
	}
	segments, err := listSegments(r.d.fs)
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		return &CorruptError{journalDir, 0, "holds no segment"}
	}
	last := segments[len(segments)-1].First
	if high.Segment > last {
		return missingSegment(high)
	}
	if r.first < last {
		return r.finish()
	}
	ahead := &frameReader{f: r.r.f, seed: r.r.seed, off: r.r.off}
	if err := ahead.reset(); err != nil {
		return fmt.Errorf("read %s: %w", r.path, err)
	}
	s, err := scanFrames(ahead, r.path, high.in(r.first),
		func(int64, frameHeader, []byte) error { return nil })
	if err != nil {
		return err
	}
	return r.grow(s.promised)
}

// follow takes the limit from the writer in this process.
func (r *JournalReader) follow(p position) error {
	if r.first < p.Segment {
		return r.finish()
	}
	return r.grow(p.Offset)
}

// finish makes the whole segment readable: the one after it exists.
func (r *JournalReader) finish() error {
	if err := r.r.reset(); err != nil {
		return fmt.Errorf("read %s: %w", r.path, err)
	}
	r.final, r.limit = true, r.r.size
	return nil
}

func (r *JournalReader) grow(limit int64) error {
	if limit <= r.limit {
		return io.EOF
	}
	r.limit = limit
	if err := r.r.reset(); err != nil {
		return fmt.Errorf("read %s: %w", r.path, err)
	}
	return nil
}

// open opens the segment that holds the first Seq wanted, or the one after the last. A segment that
// was trimmed after it was listed is looked for again, and then the list says that it is gone.
func (r *JournalReader) open() error {
	var s Segment
	var f File
	for tries := 1; f == nil; tries++ {
		segments, err := listSegments(r.d.fs)
		if err != nil {
			return err
		}
		if len(segments) == 0 {
			return &CorruptError{journalDir, 0, "holds no segment"}
		}
		if s, err = r.choose(segments); err != nil {
			return err
		}
		if f, err = r.d.fs.Open(s.Path); err != nil && (!isNotExist(err) || tries == maxListings) {
			return fmt.Errorf("open segment: %w", err)
		}
	}
	frames, err := openFrames(f, s.Path, segmentHeader(r.d.genesis, s.First))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r.r, r.path, r.first, r.next = frames, s.Path, s.First, s.First
	r.limit, r.final = logHeaderSize, false
	return nil
}

// maxListings is how often a segment that is gone is looked for again.
const maxListings = 10

func (r *JournalReader) choose(segments []Segment) (Segment, error) {
	if r.first != 0 { // the one before was read to its end
		for i, s := range segments {
			if s.First <= r.first {
				continue
			}
			if i == 0 && s.First > r.next {
				return s, r.trimmed(r.next, s)
			}
			return s, r.continues(s)
		}
		return Segment{}, &CorruptError{segmentPath(r.next), 0, "missing"}
	}
	if r.from < segments[0].First && segments[0].First > 1 {
		return Segment{}, r.trimmed(r.from, segments[0])
	}
	s := segments[0]
	for _, later := range segments[1:] {
		if later.First <= r.from {
			s = later
		}
	}
	return s, nil
}

// continues says whether a segment carries on where the one before it ends. If it does not, a
// segment between them is lost, or the one before was cut.
func (r *JournalReader) continues(s Segment) error {
	if s.First == r.next {
		return nil
	}
	return &CorruptError{r.path, r.end, fmt.Sprintf(
		"ends before seq %d, but the segment behind it, %s, begins at seq %d",
		r.next, s.Path, s.First)}
}

func (r *JournalReader) trimmed(from engine.Seq, first Segment) error {
	return fmt.Errorf("read journal from seq %d: it begins at seq %d: %w",
		from, first.First, ErrTrimmed)
}
