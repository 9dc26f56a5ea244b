package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/internal/store"
)

// backScan reads entries from a position back, and stops as soon as it has found enough: in the
// journal frame by frame, in the archive file by file, each of which it reads forward.
type backScan struct {
	d        *Desk
	frames   *store.FrameFinder
	verdicts *verdicts

	low     engine.Seq    // nothing before it is of interest; at least 1
	floor   engine.Micros // nothing that was accepted before it is, with some to spare
	most    int           // rows that are wanted; 0: all
	singles bool          // frames of one position alone are of interest
	looks   func(payload []byte) bool
	// jump returns the last position up to another one that is of interest; false: none is. nil:
	// each is.
	jump func(to engine.Seq) (engine.Seq, bool, error)
	// pick returns the rows of an entry that are wanted, the last first, at most so many; 0: all.
	pick func(e *engine.Entry, most int) ([]foundRow, error)

	found []foundRow // the last first
}

// foundRow is a row that was found in an entry: of a batch, or a correction.
type foundRow struct {
	entry  *engine.Entry
	row    int
	reason engine.Reason
	value  string // with which it counts for a line
}

func (f *foundRow) seq() engine.Seq { return f.entry.Seq + engine.Seq(f.row) }

// show returns the row as a view has it.
func (f *foundRow) show(v *engine.View) Row {
	switch b := f.entry.Body.(type) {
	case *engine.Batch:
		return makeRow(v, f.entry, b, f.row, f.reason)
	case *engine.Void:
		return correctionRow(v, f.entry, b, f.reason)
	}
	panic("BUG: a row was found in an entry that has none")
}

func (d *Desk) newBackScan() *backScan {
	b := &backScan{
		d: d, frames: d.st.Dir.Frames(), verdicts: d.newVerdicts(), low: 1, floor: engine.Past,
		looks: func([]byte) bool { return true },
	}
	if d.past != nil {
		b.low = d.past.first
	}
	return b
}

// from leaves out what lies before a position.
func (b *backScan) from(low engine.Seq) { b.low = max(b.low, low) }

// run reads from a position back.
func (b *backScan) run(ctx context.Context, from engine.Seq) error {
	defer b.frames.Close() // read only
	segment := engine.Seq(0)
	for to := from; to >= b.low && ctx.Err() == nil && !b.full(); {
		if b.jump != nil {
			at, some, err := b.jump(to)
			if err != nil || !some || at < b.low {
				return err
			}
			to = at
		}
		if b.d.past != nil {
			var err error
			if to, err = b.part(ctx, to); err != nil {
				return err
			}
			continue
		}
		if b.singles {
			first, count, err := b.frames.Span(to)
			if err == nil && count != 1 {
				to = first - 1
				continue
			}
		}
		frame, err := b.frames.Find(to)
		if errors.Is(err, store.ErrTrimmed) {
			if to, err = b.part(ctx, to); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		// Entries of a segment lie close together: its last one says how old they are.
		another := b.frames.Segment() != segment && b.floor != engine.Past
		segment = b.frames.Segment()
		if another || b.looks(frame.Payload) {
			e, err := decodeFrame(&frame)
			if err != nil || e.At < b.floor {
				return err
			}
			if err := b.take(e); err != nil {
				return err
			}
		}
		to = frame.First - 1
	}
	return ctx.Err()
}

func (b *backScan) full() bool { return b.most > 0 && len(b.found) >= b.most }

// left returns how many rows are still wanted; 0: all.
func (b *backScan) left() int { return max(b.most-len(b.found), 0) }

func (b *backScan) take(e *engine.Entry) error {
	list, err := b.pick(e, b.left())
	b.found = append(b.found, list...)
	return err
}

// part reads the archive file that holds a position, up to it, and returns the position before the
// file; 0 where nothing before it is of interest.
func (b *backScan) part(ctx context.Context, to engine.Seq) (engine.Seq, error) {
	h, first, last, err := b.d.partWith(to)
	if err != nil {
		return 0, err
	}
	if p := &h.parts[0]; p.Version != 0 && p.LastAt < b.floor {
		return 0, nil
	}
	if p := b.d.past; p != nil {
		first = max(first, p.first) // of what is before it the outcome is not known
	}
	last = min(last, to)
	if err := b.verdicts.load(first, last); err != nil {
		return 0, err
	}
	r := h.Read(first)
	defer r.Close() // read only
	most := b.left()
	var rising []foundRow
	for next := first; next <= last; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("read entries: position %d is not there", next)
		}
		if err != nil {
			return 0, err
		}
		if e.Seq > last {
			break
		}
		next = e.Seq + e.Seqs()
		list, err := b.pick(e, most)
		if err != nil {
			return 0, err
		}
		slices.Reverse(list)
		rising = append(rising, list...)
		if most > 0 && len(rising) > 2*most { // the last ones are wanted
			rising = slices.Delete(rising, 0, len(rising)-most)
		}
	}
	b.verdicts.unload()
	slices.Reverse(rising)
	if most > 0 {
		rising = rising[:min(most, len(rising))]
	}
	b.found = append(b.found, rising...)
	return first - 1, nil
}

// partWith returns the archive file that holds a position, as a history of its own: of an archive
// of many files no other is opened.
func (d *Desk) partWith(seq engine.Seq) (h *History, first, last engine.Seq, err error) {
	if d.past != nil {
		h := d.past.history
		i := slices.IndexFunc(h.parts, func(p Part) bool { return p.First <= seq && seq <= p.Last })
		if i < 0 {
			panic("BUG: archive files that were replayed lack a position")
		}
		p := &h.parts[i]
		return &History{name: h.name, journal: h.journal, parts: []Part{*p}}, p.First, p.Last, nil
	}
	dir := d.st.Dir
	names, err := dir.ArchiveNames()
	if err != nil {
		return nil, 0, 0, err
	}
	for _, name := range names {
		first, last, ok := store.ParseArchiveName(name)
		if !ok || seq < first || last < seq {
			continue
		}
		h := journalOf(dir)
		path := store.ArchivePath(name)
		err := h.take(path, name, func() (archiveFile, error) { return dir.FS().Open(path) })
		if err == nil && len(h.faults) > 0 {
			err = h.faults[0].err
		}
		return h, first, last, err
	}
	return nil, 0, 0, &ArchiveError{
		Name:   archiveName,
		Reason: fmt.Sprintf("position %d is neither in the journal nor in the archive", seq),
		Hint:   "restore the archive file that holds it from a copy",
	}
}

// newestRows is Rows by falling Seq.
func (d *Desk) newestRows(
	ctx context.Context, v *engine.View, f *rowTest,
) (rows []Row, more bool, err error) {
	b := d.newBackScan()
	b.looks = f.looks
	b.pick = func(e *engine.Entry, most int) ([]foundRow, error) { return f.pick(b.verdicts, e, most) }
	if f.selects() {
		b.jump = func(to engine.Seq) (engine.Seq, bool, error) { return b.verdicts.last(to, f.has) }
	}
	if f.Limit > 0 {
		b.most = f.Limit + 1
	}
	to := v.Standing().Seq
	if f.Before != 0 {
		to = min(to, f.Before-1)
	}
	if f.Seq != 0 {
		if f.Seq > to {
			return nil, false, nil
		}
		b.from(f.Seq)
		to = f.Seq
		b.jump = nil
	}
	if err := b.run(ctx, to); err != nil {
		return nil, false, err
	}
	if more = f.Limit > 0 && len(b.found) > f.Limit; more {
		b.found = b.found[:f.Limit]
	}
	rows, err = d.showRows(ctx, v, b.found)
	return rows, more, err
}

// showRows returns found rows, the last first, with what corrected them.
func (d *Desk) showRows(
	ctx context.Context, v *engine.View, found []foundRow,
) ([]Row, error) {
	if len(found) == 0 {
		return nil, nil
	}
	rows := make([]Row, len(found))
	of, err := d.corrections(ctx, v, found[len(found)-1].seq())
	if err != nil {
		return nil, err
	}
	for i := range found {
		rows[i] = found[i].show(v)
		rows[i].CorrectedBy = of(&rows[i])
	}
	return rows, nil
}

// pick returns the rows of an entry that pass, the last first, at most so many; 0: all.
func (f *rowTest) pick(v *verdicts, e *engine.Entry, most int) (list []foundRow, err error) {
	var b *engine.Batch
	switch body := e.Body.(type) {
	case *engine.Batch:
		b = body
	case *engine.Void:
		b = shownBy(body)
	default:
		return nil, nil
	}
	var rejected []engine.Rejection
	asked := false
	for row := b.Len - 1; row >= 0 && (most == 0 || len(list) < most); row-- {
		seq := e.Seq + engine.Seq(row)
		if !f.wants(seq, b, row) {
			continue
		}
		if !asked {
			if rejected, err = v.of(e.Seq); err != nil {
				return nil, err
			}
			asked = true
		}
		if reason := reasonIn(rejected, seq); f.has(reason) {
			list = append(list, foundRow{entry: e, row: row, reason: reason})
		}
	}
	return list, nil
}
