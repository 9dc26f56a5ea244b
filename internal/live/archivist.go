package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// archivist turns finished journal segments into archive files, beside the loop. A segment may go
// when its file was read back and compared, and no checkpoint needs it any more.
type archivist struct {
	dir  *store.Dir
	keep bool // segments stay although the archive holds them
	wake chan struct{}
	say  func(string)
	note func(ArchiveStatus) // what status shows
}

// ArchiveStatus is how far the journal was archived.
type ArchiveStatus struct {
	Through engine.Seq // the last position that the archive holds; 0: nothing yet
	Files   int        // written by this process
	Opening engine.Seq // the mark of the newest opening; 0: none yet
	Failed  string     // why the last try failed; "" if it did not
}

// archiveRetry is how long the archivist waits after a failure: the journal still holds everything.
const archiveRetry = time.Minute

// run archives what is finished, now and whenever it is woken, until ctx ends.
func (a *archivist) run(ctx context.Context) {
	var status ArchiveStatus
	for {
		err := a.catchUp(ctx, &status)
		if ctx.Err() != nil {
			return
		}
		failed := ""
		if err != nil {
			failed = fault(err)
		}
		if failed != "" && failed != status.Failed {
			a.say("archive: " + failed + "; what is not in it stays in the journal, and the next try is " +
				"in " + archiveRetry.String())
		}
		status.Failed = failed
		a.note(status)
		var again <-chan time.Time
		if err != nil {
			again = time.After(archiveRetry)
		}
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-again:
		}
	}
}

// catchUp archives every finished segment that the archive does not hold, and lets go of those that
// nobody needs.
func (a *archivist) catchUp(ctx context.Context, status *ArchiveStatus) error {
	names, err := a.dir.ArchiveNames()
	if err != nil {
		return err
	}
	status.Through, status.Opening = 0, 0
	for _, name := range names {
		if mark, ok := store.ParseOpeningName(name); ok {
			status.Opening = max(status.Opening, mark)
		}
	}
	segments, err := a.dir.Segments()
	if err != nil {
		return err
	}
	if len(segments) > 0 {
		status.Through = segments[0].First - 1 // it went because the archive holds what is before it
	}
	for i := 0; i+1 < len(segments); i++ {
		first, last := segments[i].First, segments[i+1].First-1
		if !slices.Contains(names, store.ArchiveName(first, last)) {
			if err := apart(names, first, last); err != nil {
				return err
			}
			if err := a.segment(ctx, first, last); err != nil {
				return err
			}
			status.Files++
		}
		status.Through = last
		a.note(*status)
	}
	if err := a.trim(ctx, segments); err != nil {
		return err
	}
	return a.lost()
}

// lost says what the journal has let go and the archive does not hold any more.
func (a *archivist) lost() error {
	h, err := OpenHistory(a.dir)
	if err != nil {
		return err
	}
	if gaps := h.Gaps(); len(gaps) > 0 {
		return gaps[0]
	}
	return nil
}

// apart refuses to write an archive file over a part of what another one says that it holds.
func apart(names []string, first, last engine.Seq) error {
	for _, name := range names {
		from, to, ok := store.ParseArchiveName(name)
		if ok && from <= last && first <= to {
			return &ArchiveError{
				Name: store.ArchivePath(name),
				Reason: fmt.Sprintf("it is no file of this journal's segments: one has positions %d to %d",
					first, last),
				Hint: "move it out of the archive",
			}
		}
	}
	return nil
}

// segment writes one archive file, reads it back, and gives it its name.
func (a *archivist) segment(ctx context.Context, first, last engine.Seq) error {
	staged, err := a.dir.StageArchive(store.ArchiveName(first, last), func(w io.Writer) error {
		_, err := writePart(ctx, w, a.dir.Genesis().Genesis, journalOf(a.dir), first, last)
		return err
	})
	if err != nil {
		return fmt.Errorf("archive positions %d to %d: %w", first, last, err)
	}
	name := store.ArchiveName(first, last)
	open := func() (archiveFile, error) { return staged.Open() }
	if err := comparePart(ctx, name, open, journalOf(a.dir), first, last); err != nil {
		return errors.Join(fmt.Errorf("read archive file back: %w", err), staged.Discard())
	}
	return staged.Commit()
}

// trim removes the segments that lie before every checkpoint, the oldest first, each after the
// archive file of just its positions was compared with it once more: time has passed since it was
// written. A file that has come to harm is written anew, and its segment stays for this time.
func (a *archivist) trim(ctx context.Context, segments []store.Segment) error {
	if a.keep {
		return nil
	}
	// The process before us may have died between a file's name and its durability.
	if err := a.dir.SyncArchive(); err != nil {
		return err
	}
	checkpoints, err := a.dir.Checkpoints()
	if err != nil {
		return err
	}
	before := engine.Seq(0)
	for i := range checkpoints {
		if c := &checkpoints[i]; before == 0 || c.Meta.Seq < before {
			before = c.Meta.Seq
		}
	}
	for i := 0; i+1 < len(segments); i++ {
		first, last := segments[i].First, segments[i+1].First-1
		if last > before {
			break
		}
		name := store.ArchivePath(store.ArchiveName(first, last))
		open := func() (archiveFile, error) { return a.dir.FS().Open(name) }
		err := comparePart(ctx, name, open, journalOf(a.dir), first, last)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			a.say("an archive file is written anew from the journal: " + fault(err))
			return a.segment(ctx, first, last)
		}
		if err := a.dir.Trim(last + 1); err != nil {
			return err
		}
	}
	return nil
}

// fault says what went wrong without the advice for those whose process it stops.
func fault(err error) string {
	var failed *store.FailedError
	if errors.As(err, &failed) {
		return fmt.Sprintf("%s %s: %v", failed.Op, failed.Path, failed.Err)
	}
	return err.Error()
}

// writePart writes the entries of a history from first to last as an archive file.
func writePart(
	ctx context.Context, w io.Writer, g engine.Genesis, h *History, first, last engine.Seq,
) (*formats.ArchiveInfo, error) {
	return formats.WriteArchive(w, g, func(yield func(*engine.Entry) error) error {
		return eachEntry(ctx, h, first, last, yield)
	})
}

// eachEntry calls f with the entries from first to last.
func eachEntry(
	ctx context.Context, h *History, first, last engine.Seq, f func(*engine.Entry) error,
) error {
	r := h.Read(first)
	defer r.Close() // read only
	for next := first; next <= last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("read entries: position %d is not there", next)
		}
		if err != nil {
			return err
		}
		next = e.Seq + e.Seqs()
		if next > last+1 {
			return fmt.Errorf("read entries: %d lies inside of the entry at %d", last, e.Seq)
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

// comparePart reads an archive file and compares it, entry by entry, with what it was made of.
func comparePart(
	ctx context.Context, name string, open func() (archiveFile, error), h *History,
	first, last engine.Seq,
) (err error) {
	p, err := openPart(name, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var was, is []byte
	err = eachEntry(ctx, h, first, last, func(e *engine.Entry) error {
		got, err := p.Next()
		if err != nil {
			return err
		}
		was = engine.AppendEntry(was[:0], normalized(e))
		is = engine.AppendEntry(is[:0], got)
		if !bytes.Equal(was, is) {
			return fmt.Errorf("entry %d came back as something else", e.Seq)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := p.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("no end behind entry %d (%v)", last, err)
	}
	return nil
}

// normalized returns the entry as an archive file gives it back.
func normalized(e *engine.Entry) *engine.Entry {
	b, ok := e.Body.(*engine.Batch)
	if !ok {
		return e
	}
	return &engine.Entry{Seq: e.Seq, At: e.At, Body: formats.Normalize(b)}
}
