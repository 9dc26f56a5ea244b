package live

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Place is where an entry was read.
type Place struct {
	Path   string
	Offset int64 // bytes, of a journal segment; -1 in an archive file
	Group  int   // row group, of an archive file
	Row    int64 // of the entry's first row, in the archive file
}

// String returns the place for people.
func (p Place) String() string {
	if p.Offset >= 0 {
		return fmt.Sprintf("%s at byte %d", p.Path, p.Offset)
	}
	return fmt.Sprintf("%s: row group %d: row %d", p.Path, p.Group, p.Row)
}

// Entries reads the entries of a history in order. It is used by one goroutine.
type Entries struct {
	h       *History
	from    engine.Seq
	next    engine.Seq // of the entry that comes next; 0: not known yet
	part    int        // index of the part that is open or comes next
	archive *partReader
	journal *store.JournalReader
	place   Place
	at      engine.Micros // of the last entry
	// content asks for the digest of what every file holds. A file whose entries are not those that
	// it was written with is noted in changed and read on.
	content bool
	changed []error
	wants   func(*store.Frame) bool // of the journal; the others are not decoded; nil: all
}

// Read returns the entries from the one that begins at a position on. The journal is read where it
// has them, the archive before that.
func (h *History) Read(from engine.Seq) *Entries { return &Entries{h: h, from: from} }

// Next returns the next entry, io.EOF behind the last. Damage is a *store.CorruptError or a
// *formats.FileError, a missing or doubled file an *ArchiveError.
func (r *Entries) Next() (*engine.Entry, error) {
	if r.next == 0 {
		r.next = r.from
		if err := r.start(); err != nil {
			return nil, err
		}
	}
	for {
		e, err := r.read()
		if errors.Is(err, store.ErrTrimmed) {
			// The process that writes the journal has archived what we were about to read.
			if err := r.reopen(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if e == nil {
			continue // at the end of a part
		}
		if e.Seq+e.Seqs() <= r.from {
			continue
		}
		if e.At < r.at {
			return nil, &formats.FileError{
				Name: r.place.Path, Group: r.place.Group, Row: r.place.Row, Column: "at",
				Reason: fmt.Sprintf("entry %d is of %s, before the entry before it", e.Seq, e.At),
				Hint:   "the file was changed: restore it from a copy",
			}
		}
		r.at = e.At
		if e.Seq != r.next {
			return nil, &ArchiveError{
				Name:   r.place.Path,
				Reason: fmt.Sprintf("it goes on at position %d, where %d is wanted", e.Seq, r.next),
				Hint:   "its name and its rows do not agree: restore it from a copy",
			}
		}
		r.next += e.Seqs()
		return e, nil
	}
}

// Place returns where the last entry was read.
func (r *Entries) Place() Place { return r.place }

// Archived reports whether the last entry came from an archive file.
func (r *Entries) Archived() bool { return r.place.Offset < 0 }

// Close closes what is open.
func (r *Entries) Close() error {
	var err error
	if r.archive != nil {
		err = r.archive.Close()
		r.archive = nil
	}
	if r.journal != nil {
		err = errors.Join(err, r.journal.Close())
		r.journal = nil
	}
	return err
}

// start chooses between journal and archive.
func (r *Entries) start() error {
	if r.h.dir != nil {
		segments, err := r.h.dir.Segments()
		if err != nil {
			return err
		}
		if len(segments) == 0 || segments[0].First <= r.next {
			r.journal = r.h.dir.Read(r.next)
			return nil
		}
	}
	i := slices.IndexFunc(r.h.parts, func(p Part) bool { return p.Last >= r.next })
	if i < 0 {
		if r.h.dir != nil {
			r.journal = r.h.dir.Read(r.next) // which says what is missing
		}
		r.part = len(r.h.parts)
		return nil
	}
	if p := &r.h.parts[i]; p.First > r.next {
		return r.missing(p)
	}
	r.part = i
	return nil
}

// missing says that a part begins too late.
func (r *Entries) missing(p *Part) error {
	if err := r.h.faultAt(r.next); err != nil {
		return err
	}
	if r.next == r.from && r.from == 1 {
		return &ArchiveError{
			Name: p.Name,
			Reason: fmt.Sprintf("it begins at position %d: positions 1 to %d are missing", p.First,
				p.First-1),
			Hint: "name the files before it as well" + r.h.beginBehind(p.First),
		}
	}
	return &ArchiveError{
		Name:   p.Name,
		Reason: fmt.Sprintf("positions %d to %d are missing before it", r.next, p.First-1),
		Hint:   "find the archive file that holds them, such as " + store.ArchiveName(r.next, p.First-1),
	}
}

// read returns an entry of what is open, nil at the end of a part.
func (r *Entries) read() (*engine.Entry, error) {
	if r.journal != nil {
		frame, err := r.journal.Next()
		if err != nil {
			return nil, err
		}
		r.place = Place{Path: frame.Path, Offset: frame.Offset}
		if r.wants != nil && r.next == frame.First && !r.wants(&frame) {
			r.next += frame.Count
			return nil, nil
		}
		return decodeFrame(&frame)
	}
	if r.archive == nil {
		return nil, r.open()
	}
	e, err := r.archive.Next()
	if errors.Is(err, formats.ErrContent) {
		r.changed = append(r.changed, err)
		err = io.EOF // it comes behind the last entry
	}
	if errors.Is(err, io.EOF) {
		err = r.archive.Close()
		r.archive = nil
		r.part++
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	r.place = Place{Path: r.h.parts[r.part].Name, Offset: -1}
	r.place.Group, r.place.Row = r.archive.Place()
	return e, known(e, r.place.Path)
}

// open opens the part that comes next, or the journal behind the last.
func (r *Entries) open() error {
	if r.h.dir != nil && r.part > 0 {
		segments, err := r.h.dir.Segments()
		if err != nil {
			return err
		}
		if len(segments) > 0 && segments[0].First <= r.next {
			r.journal = r.h.dir.Read(r.next)
			return nil
		}
	}
	if r.part >= len(r.h.parts) {
		if err := r.h.faultAt(r.next); err != nil {
			return err
		}
		if r.h.dir != nil {
			r.journal = r.h.dir.Read(r.next)
			return nil
		}
		return io.EOF
	}
	p := &r.h.parts[r.part]
	if p.First > r.next {
		if r.part == 0 {
			return r.missing(p)
		}
		return r.h.gap(r.part)
	}
	var err error
	if r.archive, err = openPart(p.Name, p.open); err == nil && r.content {
		r.archive.CheckContent()
	}
	return err
}

// reopen looks at the state directory anew.
func (r *Entries) reopen() error {
	if err := r.Close(); err != nil {
		return err
	}
	h, err := OpenHistory(r.h.dir)
	if err != nil {
		return err
	}
	r.h = h
	holds := func(p Part) bool { return p.First <= r.next && r.next <= p.Last }
	if !slices.ContainsFunc(h.parts, holds) {
		if err := h.faultAt(r.next); err != nil {
			return err
		}
		return &ArchiveError{
			Name:   archiveName,
			Reason: fmt.Sprintf("position %d is neither in the journal nor in the archive", r.next),
			Hint:   "restore the archive file that holds it from a copy",
		}
	}
	return r.start()
}

// known refuses rules that a newer binary wrote.
func known(e *engine.Entry, path string) error {
	if rules, ok := e.Body.(*engine.Rules); ok && rules.Ruleset > engine.Ruleset {
		return &store.VersionError{
			Path: path + ": billing rules", Found: int(rules.Ruleset), Known: engine.Ruleset,
		}
	}
	return nil
}

// alteredRows returns the rows of a batch whose digest does not fit what they say.
func alteredRows(b *engine.Batch, buf []uint64) (rows []int, used []uint64) {
	used = formats.RowDigests(b, buf)
	for row, d := range used {
		if d != b.Digest[row] {
			rows = append(rows, row)
		}
	}
	return rows, used
}
