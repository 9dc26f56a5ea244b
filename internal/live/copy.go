package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"billctl/engine"
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
}

// CopyArchive writes the history of a state directory into a directory: its archive files and
// openings, and archive files of what only its journal holds, up to the last seal. What an earlier
// call wrote is kept where it is still right, so the same directory can be named again. It works
// beside a running process. Every file is read back and compared before it gets its name.
func CopyArchive(
	ctx context.Context, dir *store.Dir, to store.FS, progress func(name string),
) (*Copied, error) {
	h, err := OpenHistory(dir)
	if err != nil {
		return nil, err
	}
	c := &copying{ctx: ctx, h: h, to: to, progress: progress, out: &Copied{}}
	c.wanted = map[string]bool{}
	if err := c.look(); err != nil {
		return nil, err
	}
	for i := range h.parts {
		p := &h.parts[i]
		if err := c.file(store.ArchiveName(p.First, p.Last), p.open); err != nil {
			return nil, err
		}
		c.out.Through = p.Last
		c.out.Files++
	}
	for i := range h.openings {
		o := &h.openings[i]
		if err := c.file(store.OpeningName(o.Seq), o.open); err != nil {
			return nil, err
		}
		c.out.Openings++
	}
	if err := c.tail(); err != nil {
		return nil, err
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
	there    []string        // names in the directory
	wanted   map[string]bool // names that the copy has
}

// look refuses a directory that holds the archive of another journal.
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
		if err != nil {
			return err
		}
		c.there = append(c.there, name)
	}
	return nil
}

// file copies a file of the state's archive, unless an equal one is there.
func (c *copying) file(name string, open func() (archiveFile, error)) error {
	c.wanted[name] = true
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
		if err != nil || same {
			return err
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
		if _, err := there.ReadAt(b[:n], at); err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("copy %s: %w", name, err)
		}
		if string(a[:n]) != string(b[:n]) {
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

// tail writes what only the journal holds, up to the last seal: a file for each segment.
func (c *copying) tail() error {
	from := c.out.Through + 1
	ends, sealed, last, err := c.ends(from)
	if err != nil {
		return err
	}
	c.out.Left = last - max(sealed, c.out.Through)
	for _, end := range ends {
		end = min(end, sealed)
		if end < from {
			break
		}
		name := store.ArchiveName(from, end)
		c.wanted[name] = true
		c.out.Files++
		c.out.Through = end
		if err := c.part(name, from, end); err != nil {
			return err
		}
		from = end + 1
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

// part writes one archive file, unless one of its name is there.
func (c *copying) part(name string, first, last engine.Seq) error {
	for _, there := range c.there {
		if there == name {
			return nil
		}
	}
	h := journalOf(c.h.dir)
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
