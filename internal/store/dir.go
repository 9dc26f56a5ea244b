package store

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"strings"

	"billctl/engine"
)

const (
	journalDir    = "journal"
	controlDir    = "control"
	tmpSuffix     = ".tmp"
	segmentSuffix = ".jnl"
	segmentDigits = 20
)

// stateDirs are the directories that every state directory has.
var stateDirs = []string{journalDir, "outbox", "checkpoint", "keys", "cursor", controlDir}

// Options of a Dir that writes. The zero value is good.
type Options struct {
	Holder  Holder // told to a second process that wants the lock
	Segment int64  // bytes after which a journal segment is rolled; 0: 64 MiB
	// Floor is the free space in bytes below which a Dir does not open and the journal does not
	// append, so that what must still be written at a stop has room. 0: 64 MiB; negative: none.
	Floor int64
}

func (o Options) withDefaults() Options {
	if o.Segment <= 0 {
		o.Segment = 64 << 20
	}
	if o.Floor == 0 {
		o.Floor = 64 << 20
	}
	return o
}

func (o Options) checkFree(fs FS, name string) error {
	if o.Floor < 0 {
		return nil
	}
	free, err := fs.Free(name)
	if err != nil {
		return fmt.Errorf("ask for free space: %w", err)
	}
	if free < uint64(o.Floor) {
		return &FullError{name, free, uint64(o.Floor)}
	}
	return nil
}

// Dir is an open state directory (docs/formats/state.md).
type Dir struct {
	fs      FS
	genesis *Genesis
	options Options
	lock    io.Closer
	journal *Journal
}

// Create makes a state directory with an empty journal in an empty directory, and opens it for
// writing. A creation that a crash cut short is taken up again, with the new Genesis. A finished
// state directory is ErrExists; other files in the directory are an error that names one.
func Create(fs FS, g Genesis, o Options) (*Dir, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if err := checkEmpty(fs); err != nil {
		return nil, err
	}
	lock, err := takeLock(fs, o.Holder)
	if err != nil {
		return nil, err
	}
	d, err := create(fs, g, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.lock = lock
	return d, nil
}

func create(fs FS, g Genesis, o Options) (*Dir, error) {
	if err := checkEmpty(fs); err != nil { // again, as it is ours alone now
		return nil, err
	}
	if err := o.checkFree(fs, "."); err != nil {
		return nil, err
	}
	for _, name := range stateDirs {
		if err := fs.Mkdir(name); err != nil {
			return nil, &FailedError{"make", name, err}
		}
	}
	if err := fs.SyncDir("."); err != nil {
		return nil, &FailedError{"sync", ".", err}
	}
	if err := createHigh(fs, g.Journal, highMark{Segment: 1, Length: logHeaderSize}); err != nil {
		return nil, err
	}
	if err := writeFile(fs, segmentPath(1), segmentHeader(&g, 1).encode()); err != nil {
		return nil, err
	}
	// Last, since it is what makes a state directory of a directory.
	if err := writeFile(fs, genesisName, g.encode()); err != nil {
		return nil, err
	}
	j, err := openJournal(fs, &g, o)
	if err != nil {
		return nil, err
	}
	return &Dir{fs: fs, genesis: &g, options: o, journal: j}, nil
}

// checkEmpty lets a directory pass that is empty or the beginning of a state directory.
func checkEmpty(fs FS) error {
	if _, err := fs.Stat(genesisName); err == nil {
		return ErrExists
	} else if !isNotExist(err) {
		return fmt.Errorf("create state: %w", err)
	}
	if err := missingGenesis(fs); !errors.Is(err, ErrNoState) {
		return err
	}
	ours := map[string]bool{lockName: true, genesisName + tmpSuffix: true}
	for _, name := range stateDirs {
		ours[name] = true
	}
	names, err := fs.ReadDir(".")
	if err != nil {
		return fmt.Errorf("create state: %w", err)
	}
	for _, name := range names {
		if !ours[name] {
			return fmt.Errorf("create state: the directory is not empty: it holds %q", name)
		}
	}
	return nil
}

// Open opens a state directory for writing and takes its lock (*LockedError if another process has
// it). The journal's torn tail is cut and the rest is durable. ErrNoState: there is none.
// *FullError: the volume has less free space than the floor.
func Open(fs FS, o Options) (*Dir, error) {
	o = o.withDefaults()
	if _, err := readGenesis(fs); err != nil { // before a lock file appears in a foreign directory
		return nil, err
	}
	lock, err := takeLock(fs, o.Holder)
	if err != nil {
		return nil, err
	}
	d, err := open(fs, o)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.lock = lock
	return d, nil
}

func open(fs FS, o Options) (*Dir, error) {
	d, err := OpenReadOnly(fs)
	if err != nil {
		return nil, err
	}
	d.options = o
	if err := o.checkFree(fs, "."); err != nil {
		return nil, err
	}
	for _, name := range []string{journalDir, controlDir, archiveDir} {
		if err := removeTemps(fs, name); err != nil {
			return nil, err
		}
	}
	// The process before us may have died between a name and its durability.
	if err := fs.SyncDir("."); err != nil {
		return nil, &FailedError{"sync", ".", err}
	}
	if err := d.SyncArchive(); err != nil {
		return nil, err
	}
	d.journal, err = openJournal(fs, d.genesis, o)
	return d, err
}

// OpenReadOnly opens a state directory without its lock and writes nothing. It works beside a
// running writer. Control files may be put through it.
func OpenReadOnly(fs FS) (*Dir, error) {
	g, err := readGenesis(fs)
	if err != nil {
		return nil, err
	}
	for _, name := range stateDirs {
		if _, err := fs.Stat(name); isNotExist(err) {
			return nil, &CorruptError{name, 0, "the directory is missing"}
		} else if err != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
	}
	return &Dir{fs: fs, genesis: g}, nil
}

// FS returns the file system of the state directory, rooted in it.
func (d *Dir) FS() FS { return d.fs }

// Genesis returns what identifies the state directory.
func (d *Dir) Genesis() Genesis { return *d.genesis }

// Journal returns the journal for appending; nil for a Dir opened read-only.
func (d *Dir) Journal() *Journal { return d.journal }

// Close closes the journal, all of it durable, and lets go of the lock.
func (d *Dir) Close() error {
	var err error
	if d.journal != nil {
		err = d.journal.Close()
	}
	if d.lock != nil {
		if lerr := d.lock.Close(); lerr != nil {
			err = errors.Join(err, fmt.Errorf("unlock state directory: %w", lerr))
		}
		d.lock = nil
	}
	return err
}

// Segment is one file of the journal.
type Segment struct {
	First engine.Seq
	Path  string
	Size  int64 // bytes; the last segment's grows
}

// Segments returns the files of the journal by rising First.
func (d *Dir) Segments() ([]Segment, error) { return listSegments(d.fs) }

// Trim removes the segments all of whose Seqs are before a Seq, never the last. The caller has
// made sure that the archive holds them and that no checkpoint needs them.
func (d *Dir) Trim(before engine.Seq) error {
	segments, err := listSegments(d.fs)
	if err != nil {
		return err
	}
	for i := 0; i+1 < len(segments) && segments[i+1].First <= before; i++ {
		// One by one, the oldest first: a crash leaves no gap.
		if err := d.fs.Remove(segments[i].Path); err != nil {
			return &FailedError{"remove", segments[i].Path, err}
		}
		if err := d.fs.SyncDir(journalDir); err != nil {
			return &FailedError{"sync", journalDir, err}
		}
	}
	return nil
}

func listSegments(fs FS) ([]Segment, error) {
	names, err := fs.ReadDir(journalDir)
	if err != nil {
		return nil, fmt.Errorf("list journal: %w", err)
	}
	var list []Segment
	for _, name := range names {
		first, ok := parseSegment(name)
		if !ok {
			continue
		}
		path := segmentPath(first)
		info, err := fs.Stat(path)
		if isNotExist(err) {
			continue // trimmed while we looked
		}
		if err != nil {
			return nil, fmt.Errorf("list journal: %w", err)
		}
		list = append(list, Segment{first, path, info.Size})
	}
	return list, nil
}

func segmentPath(first engine.Seq) string {
	return fmt.Sprintf("%s/%0*d%s", journalDir, segmentDigits, first, segmentSuffix)
}

func parseSegment(name string) (engine.Seq, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != segmentDigits {
		return 0, false
	}
	var first uint64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' || first > (1<<64-1-uint64(c-'0'))/10 {
			return 0, false
		}
		first = first*10 + uint64(c-'0')
	}
	return engine.Seq(first), first > 0
}

func segmentHeader(g *Genesis, first engine.Seq) *logHeader {
	return &logHeader{[8]byte{'b', 'i', 'l', 'l', 'j', 'n', 'l', '\n'},
		g.Partition, g.Journal, uint64(first)}
}

// removeTemps clears what a crash left of files that were never finished.
func removeTemps(fs FS, dir string) error {
	names, err := fs.ReadDir(dir)
	if isNotExist(err) && dir == archiveDir {
		return nil // made with the first file
	}
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, tmpSuffix) {
			continue
		}
		if err := fs.Remove(dir + "/" + name); err != nil && !isNotExist(err) {
			return &FailedError{"remove", dir + "/" + name, err}
		}
	}
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, iofs.ErrNotExist) }
