package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// Copied is what CopyArchive did.
type Copied struct {
	Files    int // archive files in the copy
	Openings int
	Made     int        // of both, written by this call; the others were there
	Removed  int        // files that a longer one replaced
	Through  engine.Seq // the last position in the copy: that of a seal
	Bytes    int64      // of the files that were written
	Left     engine.Seq // positions behind the last seal, which the copy does not hold
	LeftOut  []error    // openings that the copy does without: a replay needs none of them
}

// copyLock is the file of a copy's directory that is locked while a call works there. It stays:
// removing it would let two calls hold two files of one name.
const copyLock = ".archive-write.lock"

// CopyArchive writes the history of a state directory into a directory: its archive files and
// openings, and archive files of what only its journal holds, up to the last seal. What an earlier
// call wrote is kept where it is still right, so the same directory can be named again. It works
// beside a running process. Every file is read back and compared before it gets its name. An
// archive file of the state that is damaged is written from the journal, or is an error where the
// journal has let go of its entries; a damaged opening is left out. An error with store.ErrLocked
// says that another call is at work in the directory.
func CopyArchive(
	ctx context.Context, dir *store.Dir, to store.FS, progress func(name string),
) (out *Copied, err error) {
	lock, err := to.Lock(copyLock)
	if err != nil {
		return nil, fmt.Errorf("lock archive directory: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	h, err := OpenHistory(dir)
	if err != nil {
		return nil, err
	}
	c := &copying{ctx: ctx, h: h, to: to, progress: progress, out: &Copied{}}
	c.wanted = map[string]bool{}
	pieces, err := c.plan()
	if err != nil {
		return nil, err
	}
	if err := c.look(); err != nil {
		return nil, err
	}
	for _, p := range pieces {
		if err := c.piece(p); err != nil {
			return nil, err
		}
		c.out.Files++
	}
	for i := range h.openings {
		if err := c.opening(&h.openings[i]); err != nil {
			return nil, err
		}
	}
	return c.out, c.tidy()
}

// copying is one call of CopyArchive.
type copying struct {
	ctx      context.Context
	h        *History
	to       store.FS
	progress func(string)
	out      *Copied
	segments []store.Segment
	there    []string        // names in the directory
	wanted   map[string]bool // names that the copy has, or may have
}

// portion is an archive file that the copy gets.
type portion struct {
	first, last engine.Seq
	part        *Part // of the state's archive; nil: only the journal has the entries
}

func (p *portion) name() string { return store.ArchiveName(p.first, p.last) }

// plan returns the archive files that the copy gets, and notes the names that it may have.
func (c *copying) plan() (pieces []portion, err error) {
	if c.segments, err = c.h.dir.Segments(); err != nil {
		return nil, err
	}
	next := engine.Seq(1)
	for i := range c.h.parts {
		p := &c.h.parts[i]
		between, err := c.between(next, p.First-1)
		if err != nil {
			return nil, err
		}
		pieces = append(append(pieces, between...), portion{p.First, p.Last, p})
		next = p.Last + 1
	}
	ends, sealed, last, err := c.ends(next)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		if end = min(end, sealed); end < next {
			break
		}
		pieces = append(pieces, portion{next, end, nil})
		next = end + 1
	}
	c.out.Through = next - 1
	c.out.Left = last - c.out.Through
	for i := range pieces {
		c.wanted[pieces[i].name()] = true
	}
	for i := range c.h.openings {
		c.wanted[store.OpeningName(c.h.openings[i].Seq)] = true
	}
	for _, f := range c.h.faults {
		if _, opening := store.ParseOpeningName(f.base); opening {
			c.wanted[f.base] = true // an earlier call may have copied what is damaged now
			c.out.LeftOut = append(c.out.LeftOut, f.err)
		}
	}
	return pieces, nil
}

// between returns pieces of what the journal has and no archive file before the last one does.
func (c *copying) between(first, last engine.Seq) (pieces []portion, err error) {
	if first > last {
		return nil, nil
	}
	if !c.journaled(first) {
		if err := c.h.faultAt(first); err != nil {
			return nil, err
		}
		return nil, &ArchiveError{
			Name: archiveName,
			Reason: fmt.Sprintf("positions %d to %d are neither in the journal nor in the archive",
				first, last),
			Hint: "bring back the archive files that hold them from a copy",
		}
	}
	for i := range c.segments {
		if s := &c.segments[i]; s.First > first && s.First <= last {
			pieces = append(pieces, portion{first, s.First - 1, nil})
			first = s.First
		}
	}
	return append(pieces, portion{first, last, nil}), nil
}

// journaled reports whether the journal holds what comes from a position on.
func (c *copying) journaled(first engine.Seq) bool {
	return len(c.segments) > 0 && c.segments[0].First <= first
}

// look refuses a directory that holds the archive of another journal, or files of our names that
// can't be read and that this copy does not replace.
func (c *copying) look() error {
	names, err := c.to.ReadDir(".")
	if err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	there := &History{name: ".", journal: c.h.journal}
	for _, name := range names {
		_, _, part := store.ParseArchiveName(name)
		if _, opening := store.ParseOpeningName(name); !part && !opening {
			continue
		}
		err := there.add(name, name, func() (archiveFile, error) { return c.to.Open(name) })
		var damaged *formats.FileError
		if errors.As(err, &damaged) {
			if !c.wanted[name] {
				return &ArchiveError{
					Name:   name,
					Reason: "it can't be read, and nothing of this copy has its name: " + damaged.Reason,
					Hint:   "move it out of the directory, and write again",
				}
			}
			err = nil
		}
		if err != nil {
			return err
		}
		c.there = append(c.there, name)
	}
	return nil
}

// piece copies an archive file, or writes it from the journal.
func (c *copying) piece(p portion) error {
	if p.part == nil {
		return c.part(p.name(), p.first, p.last)
	}
	_, err := new(Verified).part(c.ctx, p.part, false, engine.Digest{}, false)
	switch {
	case err == nil:
		return c.file(p.name(), p.part.open)
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case c.journaled(p.first):
		return c.part(p.name(), p.first, p.last)
	}
	return err
}

// opening copies an opening that can be read and that a seal of the copy confirms.
func (c *copying) opening(o *Opening) error {
	if o.Seq >= c.out.Through {
		c.out.LeftOut = append(c.out.LeftOut, &UnconfirmedError{o})
		return nil
	}
	err := readOpening(c.ctx, o)
	if c.ctx.Err() != nil {
		return c.ctx.Err()
	}
	if err != nil {
		c.out.LeftOut = append(c.out.LeftOut, err)
		return nil
	}
	c.out.Openings++
	return c.file(store.OpeningName(o.Seq), o.open)
}

// readOpening reads an opening to its end: its pages have checksums.
func readOpening(ctx context.Context, o *Opening) error {
	r, err := openOpening(o.Name, o.open)
	if err != nil {
		return err
	}
	defer r.Close() // read only
	err = r.Records(func([]byte) error { return ctx.Err() })
	if err == nil {
		err = r.Keys(func([]engine.Key) error { return ctx.Err() })
	}
	return err
}

// file copies a file of the state's archive, unless an equal one is there.
func (c *copying) file(name string, open func() (archiveFile, error)) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	f, size, err := openSized(name, open)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	if there, err := c.to.Stat(name); err == nil && there.Size == size {
		same, err := equalFiles(name, f, size, func() (archiveFile, error) { return c.to.Open(name) })
		if err == nil && same {
			return nil
		}
	}
	staged, err := store.Stage(c.to, name, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(f, 0, size))
		return err
	})
	if err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	open = func() (archiveFile, error) { return staged.Open() }
	if same, err := equalFiles(name, f, size, open); err != nil || !same {
		err = errors.Join(fmt.Errorf("copy %s: it came back as something else", name), err)
		return errors.Join(err, staged.Discard())
	}
	return c.commit(name, staged, size)
}

// equalFiles compares a file of a size with another one.
func equalFiles(
	name string, f io.ReaderAt, size int64, open func() (archiveFile, error),
) (bool, error) {
	there, err := open()
	if err != nil {
		return false, fmt.Errorf("copy %s: %w", name, err)
	}
	defer there.Close() // read only
	var a, b [64 << 10]byte
	for at := int64(0); at < size; at += int64(len(a)) {
		n := min(int64(len(a)), size-at)
		if _, err := f.ReadAt(a[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("copy %s: %w", name, err)
		}
		m, err := there.ReadAt(b[:n], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("copy %s: %w", name, err)
		}
		if string(a[:n]) != string(b[:m]) {
			return false, nil
		}
	}
	return true, nil
}

func (c *copying) commit(name string, staged *store.Staged, size int64) error {
	if err := staged.Commit(); err != nil {
		return err
	}
	c.out.Made++
	c.out.Bytes += size
	if c.progress != nil {
		c.progress(name)
	}
	return nil
}

// ends returns the last position of every segment from a position on, that of the last seal, and
// the last of all.
func (c *copying) ends(from engine.Seq) (ends []engine.Seq, sealed, last engine.Seq, err error) {
	r := journalOf(c.h.dir).Read(from)
	defer r.Close() // read only
	path := ""
	for c.ctx.Err() == nil {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			if last > 0 {
				ends = append(ends, last)
			}
			return ends, sealed, max(last, from-1), nil
		}
		if err != nil {
			return nil, 0, 0, err
		}
		if p := r.Place().Path; p != path {
			if path != "" {
				ends = append(ends, last)
			}
			path = p
		}
		last = e.Seq + e.Seqs() - 1
		if _, seal := e.Body.(*engine.Seal); seal {
			sealed = last
		}
	}
	return nil, 0, 0, c.ctx.Err()
}

// part writes one archive file, unless one is there that holds the same.
func (c *copying) part(name string, first, last engine.Seq) error {
	h := journalOf(c.h.dir)
	if slices.Contains(c.there, name) {
		same := c.same(name, first, last)
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if same {
			return nil
		}
	}
	var size int64
	staged, err := store.Stage(c.to, name, func(w io.Writer) error {
		info, err := writePart(c.ctx, w, c.h.dir.Genesis().Genesis, h, first, last)
		if err == nil {
			size = info.Bytes
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("archive positions %d to %d: %w", first, last, err)
	}
	open := func() (archiveFile, error) { return staged.Open() }
	if err := comparePart(c.ctx, name, open, h, first, last); err != nil {
		return errors.Join(fmt.Errorf("read archive file back: %w", err), staged.Discard())
	}
	return c.commit(name, staged, size)
}

// same reports whether the file of a name is one of ours that holds the entries from first to last.
// Where the journal can't be read it is false, and writing the file will say so.
func (c *copying) same(name string, first, last engine.Seq) bool {
	open := func() (archiveFile, error) { return c.to.Open(name) }
	r, err := openPart(name, open)
	if err != nil {
		return false
	}
	ours := r.Info().Version > 0 && r.Info().First == first && r.Info().Last == last
	if err := r.Close(); err != nil || !ours {
		return false
	}
	return comparePart(c.ctx, name, open, journalOf(c.h.dir), first, last) == nil
}

// tidy removes archive files of an earlier call whose rows other files hold now.
func (c *copying) tidy() error {
	for _, name := range c.there {
		_, last, part := store.ParseArchiveName(name)
		if !part || c.wanted[name] || last > c.out.Through {
			continue
		}
		if err := c.to.Remove(name); err != nil {
			return fmt.Errorf("remove %s: %w", path.Base(name), err)
		}
		c.out.Removed++
	}
	if c.out.Removed == 0 {
		return nil
	}
	if err := c.to.SyncDir("."); err != nil {
		return fmt.Errorf("sync archive directory: %w", err)
	}
	return nil
}
