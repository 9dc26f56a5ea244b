package store

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"billctl/engine"
)

const (
	archiveDir    = "archive"
	archiveSuffix = ".parquet"
	openingPrefix = "opening-"
)

// ArchiveName returns the name of the archive file of the entries from first to last.
func ArchiveName(first, last engine.Seq) string {
	return fmt.Sprintf("%0*d-%0*d%s", segmentDigits, first, segmentDigits, last, archiveSuffix)
}

// OpeningName returns the name of the opening at a Mark.
func OpeningName(mark engine.Seq) string {
	return fmt.Sprintf("%s%0*d%s", openingPrefix, segmentDigits, mark, archiveSuffix)
}

// ParseArchiveName reads a name that ArchiveName made.
func ParseArchiveName(name string) (first, last engine.Seq, ok bool) {
	a, b, found := strings.Cut(strings.TrimSuffix(name, archiveSuffix), "-")
	if !found || !strings.HasSuffix(name, archiveSuffix) {
		return 0, 0, false
	}
	first, okFirst := parseSegment(a + segmentSuffix)
	last, okLast := parseSegment(b + segmentSuffix)
	return first, last, okFirst && okLast && first <= last
}

// ParseOpeningName reads a name that OpeningName made.
func ParseOpeningName(name string) (mark engine.Seq, ok bool) {
	digits, found := strings.CutPrefix(strings.TrimSuffix(name, archiveSuffix), openingPrefix)
	if !found || !strings.HasSuffix(name, archiveSuffix) {
		return 0, false
	}
	return parseSegment(digits + segmentSuffix)
}

// ArchiveNames returns the names of the finished archive files and openings of the state directory,
// sorted, as ArchiveName and OpeningName make them; none where nothing was archived yet.
func (d *Dir) ArchiveNames() ([]string, error) {
	names, err := d.fs.ReadDir(archiveDir)
	if isNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list archive: %w", err)
	}
	var out []string
	for _, name := range names {
		_, _, archive := ParseArchiveName(name)
		_, opening := ParseOpeningName(name)
		if archive || opening {
			out = append(out, name)
		}
	}
	return out, nil
}

// ArchivePath returns the path within the state directory of a name in the archive.
func ArchivePath(name string) string { return archiveDir + "/" + name }

// SyncArchive makes the names in the archive durable. Nothing else may go because a name is there:
// the process that gave it may have died before its sync.
func (d *Dir) SyncArchive() error {
	if _, err := d.fs.Stat(archiveDir); isNotExist(err) {
		return nil
	}
	if err := d.fs.SyncDir(archiveDir); err != nil {
		return &FailedError{"sync", archiveDir, err}
	}
	return nil
}

// Staged is a file of the archive that is whole and durable, under another name.
type Staged struct {
	fs       FS
	tmp, end string
}

// StageArchive writes a file of the archive durably under a name for files that are not finished,
// which the next Open for writing removes. Commit gives it its name. Files of the archive are
// written by one goroutine at a time for one name. *FullError: the volume has less free space than
// twice the floor, which is the journal's.
func (d *Dir) StageArchive(name string, write func(io.Writer) error) (*Staged, error) {
	if err := d.fs.Mkdir(archiveDir); err != nil {
		return nil, &FailedError{"make", archiveDir, err}
	}
	if err := d.fs.SyncDir("."); err != nil {
		return nil, &FailedError{"sync", ".", err}
	}
	room := Options{Floor: 2 * d.options.Floor}
	return stage(d.fs, ArchivePath(name), room, write)
}

// Stage is StageArchive for any directory, which must exist.
func Stage(fs FS, path string, write func(io.Writer) error) (*Staged, error) {
	return stage(fs, path, Options{Floor: -1}, write)
}

func stage(fs FS, path string, room Options, write func(io.Writer) error) (*Staged, error) {
	s := &Staged{fs: fs, tmp: path + tmpSuffix, end: path}
	if err := fs.Remove(s.tmp); err != nil && !isNotExist(err) {
		return nil, &FailedError{"remove", s.tmp, err}
	}
	f, err := fs.Create(s.tmp)
	if err != nil {
		return nil, &FailedError{"create", s.tmp, err}
	}
	w := &offsetWriter{fs: fs, f: f, path: s.tmp, room: room}
	if err := write(w); err != nil {
		return nil, errors.Join(err, f.Close(), s.Discard())
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(&FailedError{"sync", s.tmp, err}, f.Close(), s.Discard())
	}
	if err := f.Close(); err != nil {
		return nil, errors.Join(&FailedError{"close", s.tmp, err}, s.Discard())
	}
	return s, nil
}

// Open opens the staged file for reading.
func (s *Staged) Open() (File, error) { return s.fs.Open(s.tmp) }

// Commit gives the file its name, durably. A file that has the name already is replaced.
func (s *Staged) Commit() error {
	if err := s.fs.Rename(s.tmp, s.end); err != nil {
		return &FailedError{"rename", s.tmp, err}
	}
	dir := "."
	if i := strings.LastIndexByte(s.end, '/'); i >= 0 {
		dir = s.end[:i]
	}
	if err := s.fs.SyncDir(dir); err != nil {
		return &FailedError{"sync", dir, err}
	}
	return nil
}

// Discard removes the file.
func (s *Staged) Discard() error {
	if err := s.fs.Remove(s.tmp); err != nil && !isNotExist(err) {
		return &FailedError{"remove", s.tmp, err}
	}
	return nil
}

// offsetWriter writes a file from its start, as long as the volume has room.
type offsetWriter struct {
	fs      FS
	f       File
	path    string
	room    Options
	off     int64
	checked int64 // offset before which free space was looked at
}

// checkEvery is how many bytes are written before free space is looked at again.
const checkEvery = 1 << 20

func (w *offsetWriter) Write(b []byte) (int, error) {
	if w.off+int64(len(b)) > w.checked {
		if err := w.room.checkFree(w.fs, w.path); err != nil {
			return 0, err
		}
		w.checked = w.off + int64(len(b)) + checkEvery
	}
	n, err := w.f.WriteAt(b, w.off)
	w.off += int64(n)
	if err != nil {
		return n, &FailedError{"write", w.path, err}
	}
	return n, nil
}
