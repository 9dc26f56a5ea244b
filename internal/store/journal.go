package store

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"billctl/engine"
)

// Journal appends frames of entries to the journal's last segment. It belongs to one goroutine;
// Durable may be called from any.
//
// After a write or sync that failed the Journal takes nothing any more: every call returns the
// same *FailedError. A failed sync is never tried again, since the kernel may have dropped the
// bytes; the next start finds out what the disk holds.
type Journal struct {
	fs      FS
	genesis *Genesis
	options Options
	log     *logFile // the last segment
	first   engine.Seq
	next    engine.Seq // of the next frame
	high    *highFile
	bytes   int64
	durable atomic.Pointer[position]
	err     error
}

// position is how far the journal is durable: Offset bytes of a segment, and all before it.
type position struct {
	Segment engine.Seq
	Offset  int64
	Next    engine.Seq // after the last durable one
}

// openJournal makes the journal ready for appending: the torn tail is cut, the rest is durable.
func openJournal(fs FS, g *Genesis, o Options) (j *Journal, err error) {
	segments, err := listSegments(fs)
	if err != nil {
		return nil, err
	}
	if len(segments) == 0 {
		return nil, &CorruptError{journalDir, 0, "holds no segment"}
	}
	high, err := openHigh(fs, g.Journal)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = high.f.Close() // nothing was written to it
		}
	}()
	last := segments[len(segments)-1]
	if high.last.Segment > last.First {
		return nil, missingSegment(high.last)
	}
	j = &Journal{fs: fs, genesis: g, options: o, first: last.First, next: last.First, high: high}
	visit := func(at int64, h frameHeader, _ []byte) error {
		err := h.follows(last.Path, at, uint64(j.next))
		j.next += engine.Seq(h.Count)
		return err
	}
	j.log, err = openLog(fs, last.Path, segmentHeader(g, last.First), high.last.in(last.First), visit)
	if err != nil {
		return nil, err
	}
	// The process before us may have made the segment and died before its name was durable.
	if err := fs.SyncDir(journalDir); err != nil {
		_ = j.log.f.Close() // the error below is what counts
		return nil, &FailedError{"sync", journalDir, err}
	}
	j.publish()
	return j, j.Promise()
}

// in returns how much of a segment the mark says was durable; 0 if it speaks of another one.
func (m highMark) in(segment engine.Seq) int64 {
	if m.Segment == segment {
		return m.Length
	}
	return 0
}

func missingSegment(m highMark) error {
	return &CorruptError{segmentPath(m.Segment), 0,
		fmt.Sprintf("missing, but %d bytes were durable", m.Length)}
}

// Append puts a frame of count Seqs from first on behind the others, not durable yet. first must
// be the Seq after the last one appended. A payload beyond MaxFrame is refused and changes
// nothing, and so does *FullError: there is less space on the volume than the floor.
func (j *Journal) Append(first engine.Seq, count engine.Seq, payload []byte) error {
	if j.err != nil {
		return j.err
	}
	if first != j.next || count == 0 || count > math.MaxUint32 {
		panic(fmt.Sprintf("BUG: append seq %d count %d, the journal is at %d", first, count, j.next))
	}
	if len(payload) > MaxFrame {
		return fmt.Errorf("append seq %d: %d bytes in one frame, at most %d are allowed",
			first, len(payload), MaxFrame)
	}
	if err := j.options.checkFree(j.fs, j.log.path); err != nil {
		return err
	}
	size := frameHeaderSize + int64(len(payload))
	if j.log.entries > logHeaderSize && j.log.end()+size > j.options.Segment {
		if err := j.roll(); err != nil {
			return err
		}
	}
	if _, err := j.log.append(uint64(first), uint32(count), payload); err != nil {
		return j.fail(err)
	}
	j.next += count
	j.bytes += size
	return nil
}

// Roll ends the last segment, unless it holds nothing, so that the archive can take it. The next
// entry begins a new one.
func (j *Journal) Roll() error {
	if j.err != nil {
		return j.err
	}
	if j.log.entries <= logHeaderSize {
		return nil
	}
	return j.roll()
}

// Sync makes everything appended durable: the group commit.
func (j *Journal) Sync() error {
	if j.err != nil {
		return j.err
	}
	if err := j.log.sync(); err != nil {
		return j.fail(err)
	}
	j.publish()
	return nil
}

// Promise writes down, in a frame of its own, what the last Sync made durable, unless a frame says
// so already. Damage before a promise is told from a torn tail. It is to be called when nothing
// was appended for 50 ms after a Sync.
func (j *Journal) Promise() error {
	if j.err != nil {
		return j.err
	}
	if err := j.log.promise(uint64(j.next)); err != nil {
		return j.fail(err)
	}
	return nil
}

// HighWater records how much is durable in the high-water file, durably. It is to be called at
// most 1 s after a Sync; without anything new it does nothing.
func (j *Journal) HighWater() error {
	if j.err != nil {
		return j.err
	}
	if err := j.high.write(highMark{Segment: j.first, Length: j.log.synced}); err != nil {
		return j.fail(err)
	}
	return nil
}

// Durable returns the Seq after the last durable one.
func (j *Journal) Durable() engine.Seq { return j.durable.Load().Next }

// Bytes returns how many bytes of frames were appended since opening.
func (j *Journal) Bytes() int64 { return j.bytes }

// Close makes everything durable and promised, and closes the files. A Journal that failed says
// once more what failed.
func (j *Journal) Close() error {
	if errors.Is(j.err, ErrClosed) {
		return nil
	}
	failed := j.err
	j.err = fmt.Errorf("journal: %w", ErrClosed)
	if failed != nil {
		return errors.Join(failed, j.log.f.Close(), j.high.f.Close())
	}
	err := j.log.close(uint64(j.next))
	if err == nil {
		j.publish()
		err = j.high.write(highMark{Segment: j.first, Length: j.log.synced})
	}
	if cerr := j.high.f.Close(); err == nil && cerr != nil {
		err = &FailedError{"close", highName, cerr}
	}
	return err
}

// roll begins a segment. The one before is durable first, so once the new one has its name, a
// torn tail in the old one is damage.
func (j *Journal) roll() error {
	if err := j.log.settle(); err != nil {
		return j.fail(err)
	}
	log, err := createLog(j.fs, segmentPath(j.next), segmentHeader(j.genesis, j.next))
	if err != nil {
		return j.fail(err)
	}
	old := j.log
	j.log, j.first = log, j.next
	j.publish()
	if err := old.f.Close(); err != nil {
		return j.fail(&FailedError{"close", old.path, err})
	}
	return nil
}

func (j *Journal) publish() { j.durable.Store(&position{j.first, j.log.synced, j.next}) }

func (j *Journal) fail(err error) error {
	j.err = err
	return err
}
