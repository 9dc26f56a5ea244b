package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"billctl/engine"
)

// FrameFinder finds single frames of the journal, in any order. It opens only the segments that
// hold what it is asked for, and of the frames before that in them it reads the headers alone: so
// the newest entries cost no more in a long journal than in a short one. It belongs to one
// goroutine and may be used beside a writer in this or another process.
//
// It is asked for what is known to be durable: for positions up to that of a picture of the state.
type FrameFinder struct {
	d      *Dir
	f      File // the open segment; nil: none
	path   string
	first  engine.Seq // of the segment
	seed   uint32
	next   engine.Seq // of the first frame that is not in places
	off    int64      // of that frame
	places []framePlace
	window []byte // of the file, from at on
	at     int64
}

// framePlace is where a frame begins.
type framePlace struct {
	first engine.Seq
	off   int64
}

// finderWindow is how much is read for the headers that stand in it.
const finderWindow = 16 << 10

// Frames returns a finder of the journal's frames.
func (d *Dir) Frames() *FrameFinder { return &FrameFinder{d: d} }

// Find returns the frame that holds a position; its payload belongs to the caller. ErrTrimmed: the
// journal has let the position go. ErrCorrupt: damage in the frame or in a header before it.
func (r *FrameFinder) Find(seq engine.Seq) (Frame, error) {
	i, err := r.place(seq)
	if err != nil {
		return Frame{}, err
	}
	off := r.places[i].off
	h, err := r.header(off)
	if err != nil {
		return Frame{}, err
	}
	payload := make([]byte, h.Length)
	n, err := r.f.ReadAt(payload, off+frameHeaderSize)
	switch {
	case err != nil && err != io.EOF:
		return Frame{}, fmt.Errorf("read %s at byte %d: %w", r.path, off, err)
	case n < len(payload) || crc32.Checksum(payload, castagnoli) != h.Sum:
		return Frame{}, r.damage(off)
	}
	f := Frame{engine.Seq(h.First), engine.Seq(h.Count), payload, r.path, off}
	return f, nil
}

// Span returns the first position of the frame that holds a position, and how many positions it
// has. Its payload is not read. It fails as Find does.
func (r *FrameFinder) Span(seq engine.Seq) (first, count engine.Seq, err error) {
	i, err := r.place(seq)
	if err != nil {
		return 0, 0, err
	}
	if i+1 < len(r.places) {
		return r.places[i].first, r.places[i+1].first - r.places[i].first, nil
	}
	return r.places[i].first, r.next - r.places[i].first, nil
}

// Segment returns the first position of the segment in which a frame was found last.
func (r *FrameFinder) Segment() engine.Seq { return r.first }

// Close closes the segment that is open.
func (r *FrameFinder) Close() error {
	if r.f == nil {
		return nil
	}
	f := r.f
	r.f = nil
	return f.Close()
}

// place returns the index in places of the frame that holds a position.
func (r *FrameFinder) place(seq engine.Seq) (int, error) {
	// What was found may go on in the next segment, so a later position is looked for anew.
	if r.f == nil || seq < r.first || seq >= r.next {
		if err := r.open(seq); err != nil {
			return 0, err
		}
	}
	for r.next <= seq {
		if err := r.step(); err != nil {
			return 0, err
		}
	}
	i, found := slices.BinarySearchFunc(r.places, seq, func(p framePlace, seq engine.Seq) int {
		switch {
		case p.first < seq:
			return -1
		case p.first > seq:
			return 1
		}
		return 0
	})
	if !found {
		i--
	}
	return i, nil
}

// step takes in the header that comes next.
func (r *FrameFinder) step() error {
	h, err := r.header(r.off)
	if err != nil {
		return err
	}
	if err := h.follows(r.path, r.off, uint64(r.next)); err != nil {
		return err
	}
	if h.Kind == entriesFrame && h.Count > 0 {
		r.places = append(r.places, framePlace{engine.Seq(h.First), r.off})
	}
	r.next += engine.Seq(h.Count)
	r.off += h.size()
	return nil
}

// header reads the header that stands at an offset.
func (r *FrameFinder) header(off int64) (frameHeader, error) {
	if off < r.at || off+frameHeaderSize > r.at+int64(len(r.window)) {
		n, err := r.f.ReadAt(r.window[:finderWindow], off)
		if err != nil && err != io.EOF {
			r.window = r.window[:0]
			return frameHeader{}, fmt.Errorf("read %s at byte %d: %w", r.path, off, err)
		}
		r.window, r.at = r.window[:n], off
		if n < frameHeaderSize {
			return frameHeader{}, r.damage(off)
		}
	}
	h, ok := parseFrameHeader(r.window[off-r.at:], r.seed, off)
	if !ok {
		return h, r.damage(off)
	}
	return h, nil
}

func (r *FrameFinder) damage(off int64) error {
	return &CorruptError{r.path, off, "no valid frame, but it was durable"}
}

// open opens the segment that holds a position, or goes on in it. A segment that was trimmed after
// it was listed is looked for again, and then the list says that it is gone.
func (r *FrameFinder) open(seq engine.Seq) error {
	for tries := 1; ; tries++ {
		segments, err := listSegments(r.d.fs)
		if err != nil {
			return err
		}
		i := len(segments) - 1
		for i >= 0 && segments[i].First > seq {
			i--
		}
		switch {
		case len(segments) == 0:
			return &CorruptError{journalDir, 0, "holds no segment"}
		case i < 0:
			return fmt.Errorf("read journal at seq %d: it begins at seq %d: %w", seq, segments[0].First,
				ErrTrimmed)
		case r.f != nil && segments[i].First == r.first:
			r.window = r.window[:0] // it may have grown since it was read
			return nil
		}
		err = r.enter(&segments[i])
		if !isNotExist(err) || tries == maxListings {
			return err
		}
	}
}

// enter opens a segment.
func (r *FrameFinder) enter(s *Segment) error {
	if err := r.Close(); err != nil {
		return fmt.Errorf("close %s: %w", r.path, err)
	}
	f, err := r.d.fs.Open(s.Path)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	header := segmentHeader(r.d.genesis, s.First)
	if _, err := openFrames(f, s.Path, header); err != nil {
		return errors.Join(err, f.Close())
	}
	if r.window == nil {
		r.window = make([]byte, 0, finderWindow)
	}
	r.f, r.path, r.first, r.seed = f, s.Path, s.First, header.seed()
	r.next, r.off, r.places, r.window = s.First, logHeaderSize, r.places[:0], r.window[:0]
	return nil
}
