package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/store"
)

// History is the entries of one journal, wherever they lie: in archive files, in the journal of a
// state directory, or in both. It reads only. A History is used by one goroutine; what it opens
// belongs to who asked for it.
type History struct {
	name     string     // for people: the directory or the first file
	dir      *store.Dir // nil: archive files alone
	journal  [16]byte
	parts    []Part    // by First
	openings []Opening // by Seq
	faults   []fileFault
}

// fileFault is a file that can't be read. It matters to those who need what its name promises.
type fileFault struct {
	base string
	err  error
}

// archiveName is what people call the archive of a state directory.
const archiveName = "archive"

// Part is one archive file.
type Part struct {
	formats.ArchiveInfo
	Name string
	open func() (archiveFile, error)
}

// Opening is one opening: the state at a month's first Mark.
type Opening struct {
	formats.OpeningInfo
	Name string
	open func() (archiveFile, error)
}

// archiveFile is an open file of an archive.
type archiveFile interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// ArchiveError says that archive files do not make a history: one is missing, of another journal,
// or holds what another holds.
type ArchiveError struct {
	Name   string // of the file, or of the directory
	Reason string
	Hint   string // the way out
}

func (e *ArchiveError) Error() string { return e.Name + ": " + e.Reason }

// OpenHistory returns the history of a state directory: its journal, and its archive for what the
// journal does not hold any more.
func OpenHistory(dir *store.Dir) (*History, error) {
	h := journalOf(dir)
	names, err := dir.ArchiveNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		open := func() (archiveFile, error) { return dir.FS().Open(store.ArchivePath(name)) }
		if err := h.take(store.ArchivePath(name), name, open); err != nil {
			return nil, err
		}
	}
	return h, h.order()
}

// journalOf is OpenHistory for those who want the newest entries: the archive is looked at only if
// the journal does not hold them any more.
func journalOf(dir *store.Dir) *History {
	return &History{name: archiveName, dir: dir, journal: dir.Genesis().Journal}
}

// OpenArchive returns the history that archive files hold. A path is a file or a directory of
// files; a state directory is for OpenHistory. Files that can't be read are among its Faults.
func OpenArchive(paths []string) (*History, error) {
	h := &History{name: paths[0]}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("open archive: %w", err)
		}
		if !info.IsDir() {
			if err := h.addPath(path); err != nil {
				return nil, err
			}
			continue
		}
		list, err := os.ReadDir(path)
		if err != nil {
			return nil, fmt.Errorf("open archive: %w", err)
		}
		for _, e := range list {
			if filepath.Ext(e.Name()) != ".parquet" {
				continue
			}
			if err := h.addPath(filepath.Join(path, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	if len(h.parts)+len(h.faults) == 0 {
		return nil, &ArchiveError{
			Name: h.name, Reason: "no archive file (*.parquet) is there",
			Hint: "name the archive directory of a state, or make a copy: billctl archive write DIR",
		}
	}
	return h, h.order()
}

func (h *History) addPath(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // to open a pipe would wait for ever
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		h.faults = append(h.faults, fileFault{filepath.Base(path), &formats.FileError{
			Name: path, Group: -1, Row: -1, Reason: "it can't be opened: " + err.Error(),
			Hint: "leave it out, or put the file there",
		}})
		return nil
	}
	return h.take(path, filepath.Base(path), func() (archiveFile, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return osArchiveFile{f}, nil
	})
}

// osArchiveFile is a file outside of a state directory.
type osArchiveFile struct{ *os.File }

// Size returns the length in bytes.
func (f osArchiveFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	return info.Size(), nil
}

// take adds a file; one that can't be read is remembered.
func (h *History) take(name, base string, open func() (archiveFile, error)) error {
	err := h.add(name, base, open)
	var fault *formats.FileError
	if errors.As(err, &fault) {
		h.faults = append(h.faults, fileFault{base, err})
		return nil
	}
	return err
}

// Faults returns why files of the history can't be read.
func (h *History) Faults() []error {
	var out []error
	for i := range h.faults {
		out = append(out, h.faults[i].err)
	}
	return out
}

// faultAt returns why the file can't be read that promises a position by its name; nil if none
// does.
func (h *History) faultAt(seq engine.Seq) error {
	for i := range h.faults {
		first, last, ok := store.ParseArchiveName(h.faults[i].base)
		if ok && first <= seq && seq <= last {
			return h.faults[i].err
		}
	}
	return nil
}

// add reads what a file says of itself and takes it in.
func (h *History) add(name, base string, open func() (archiveFile, error)) error {
	if _, opening := store.ParseOpeningName(base); opening {
		r, err := openOpening(name, open)
		if err != nil {
			return err
		}
		o := Opening{r.Info(), name, open}
		h.openings = append(h.openings, o)
		return errors.Join(h.same(name, o.Journal), r.Close())
	}
	r, err := openPart(name, open)
	if err != nil {
		return err
	}
	p := Part{r.Info(), name, open}
	h.parts = append(h.parts, p)
	if p.Version == 0 { // written anew by another program: nobody knows of which journal
		return r.Close()
	}
	return errors.Join(h.same(name, p.Journal), r.Close())
}

// same refuses a file of another journal.
func (h *History) same(name string, journal [16]byte) error {
	if h.journal == [16]byte{} {
		h.journal = journal
	}
	if h.journal != journal {
		return &ArchiveError{
			Name:   name,
			Reason: fmt.Sprintf("it is of journal %x, the other files are of %x", journal, h.journal),
			Hint:   "name the files of one journal only",
		}
	}
	return nil
}

// order sorts what was added and refuses archive files that overlap.
func (h *History) order() error {
	slices.SortFunc(h.parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	slices.SortFunc(h.openings, func(a, b Opening) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := 1; i < len(h.parts); i++ {
		if a, b := &h.parts[i-1], &h.parts[i]; b.First <= a.Last {
			return &ArchiveError{
				Name: b.Name,
				Reason: fmt.Sprintf("it begins at position %d, but %s goes on to %d: both hold the same",
					b.First, a.Name, a.Last),
				Hint: "leave one of them out, or remove the shorter one",
			}
		}
	}
	return nil
}

// Name returns what people call the history: a directory or a file.
func (h *History) Name() string { return h.name }

// Journal returns the id of the journal; zero where no file tells.
func (h *History) Journal() [16]byte { return h.journal }

// Parts returns the archive files, by First.
func (h *History) Parts() []Part { return h.parts }

// Openings returns the openings, by Seq.
func (h *History) Openings() []Opening { return h.openings }

// Dir returns the state directory; nil where there are archive files alone.
func (h *History) Dir() *store.Dir { return h.dir }

// Gaps returns an error for every run of positions that lies between two archive files and in
// neither, and for what a state directory has in neither journal nor archive.
func (h *History) Gaps() []error {
	var out []error
	if err := h.lost(); err != nil {
		out = append(out, err)
	}
	for i := 1; i < len(h.parts); i++ {
		if h.parts[i].First != h.parts[i-1].Last+1 {
			out = append(out, h.gap(i))
		}
	}
	return out
}

// lost says what the journal of a state directory has let go and the archive does not hold, at its
// beginning or right before the journal.
func (h *History) lost() error {
	if h.dir == nil {
		return nil
	}
	segments, err := h.dir.Segments()
	if err != nil {
		return err
	}
	from, to := engine.Seq(1), engine.Seq(0)
	if len(segments) > 0 {
		to = segments[0].First - 1
	}
	if n := len(h.parts); n > 0 {
		if h.parts[0].First > 1 {
			to = min(to, h.parts[0].First-1)
		} else {
			from = h.parts[n-1].Last + 1
		}
	}
	if from > to {
		return nil
	}
	if err := h.faultAt(from); err != nil {
		return err
	}
	return &ArchiveError{
		Name:   archiveName,
		Reason: fmt.Sprintf("positions %d to %d are neither in the journal nor in the archive", from, to),
		Hint:   "bring back the archive files that hold them from a copy",
	}
}

// gap says what is missing before the part.
func (h *History) gap(i int) error {
	a, b := &h.parts[i-1], &h.parts[i]
	if err := h.faultAt(a.Last + 1); err != nil {
		return err
	}
	return &ArchiveError{
		Name: h.name,
		Reason: fmt.Sprintf("positions %d to %d are missing: no file between %s and %s holds them",
			a.Last+1, b.First-1, a.Name, b.Name),
		Hint: "find the file " + store.ArchiveName(a.Last+1, b.First-1) +
			" (or those that cover it)" + h.beginBehind(b.First),
	}
}

// beginBehind names the month from whose opening a replay does not need what lies before a
// position.
func (h *History) beginBehind(first engine.Seq) string {
	for i := range h.openings {
		if h.openings[i].Seq+1 >= first {
			return "; billctl replay can begin behind it: --period " + h.openings[i].Month
		}
	}
	return ""
}

func openPart(name string, open func() (archiveFile, error)) (*partReader, error) {
	f, size, err := openSized(name, open)
	if err != nil {
		return nil, err
	}
	r, err := formats.OpenArchive(name, f, size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &partReader{r, f}, nil
}

func openOpening(name string, open func() (archiveFile, error)) (*openingReader, error) {
	f, size, err := openSized(name, open)
	if err != nil {
		return nil, err
	}
	r, err := formats.OpenOpening(name, f, size)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &openingReader{r, f}, nil
}

func openSized(name string, open func() (archiveFile, error)) (archiveFile, int64, error) {
	f, err := open()
	if err != nil {
		return nil, 0, fmt.Errorf("open archive file %s: %w", name, err)
	}
	size, err := f.Size()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open archive file %s: %w", name, err), f.Close())
	}
	return f, size, nil
}

// partReader is an archive file that is open for reading.
type partReader struct {
	*formats.ArchiveReader
	f archiveFile
}

// Close closes the reader and its file.
func (r *partReader) Close() error { return errors.Join(r.ArchiveReader.Close(), r.f.Close()) }

// openingReader is an opening that is open for reading.
type openingReader struct {
	*formats.OpeningReader
	f archiveFile
}

// Close closes the reader and its file.
func (r *openingReader) Close() error { return errors.Join(r.OpeningReader.Close(), r.f.Close()) }
