package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"

	"billctl/formats"
)

// Status is what a source knows of itself when it returns from Next.
//
// A source is finished when EOF, caught up when CaughtUp, and lags otherwise. A followed source
// says so again after every look at its files, at least once a Poll, so At goes on rising while
// nothing is written.
type Status struct {
	// At is when the source last began to look at what there is.
	At time.Time
	// CaughtUp says that every whole line that was in a file at the instant At has been handed
	// out, the chunk that comes with this status included: event times are complete through
	// At - disorder. It is false while a file cannot be read.
	CaughtUp bool
	// EOF says that everything was read and that nothing will follow. It never comes with data
	// of its own, and Next may be called again to hear it again.
	EOF bool
	// Lag counts the bytes that are known and not handed out: unread ones, and last lines that
	// are still being written. For a compressed file it is its size until all of it was read.
	Lag int64
	// Notices are what people must hear, oldest first. Each is said once.
	Notices []Notice
}

// NoticeKind tells the kinds of Notice apart.
type NoticeKind uint8

// The kinds of notice. After each of them reading goes on.
const (
	Truncated  NoticeKind = iota + 1 // a file is shorter than, or other than, what was read of it
	Gap                              // bytes were skipped: an overlong line, or the rest of a cut one
	Lost                             // no file holds a partition that was read before
	Unreadable                       // a file or directory cannot be read now; it is tried again
	Refused                          // what a pattern names is no regular file
	Doubt                            // two files fit one partition: both are read from the start
	NoFile                           // a pattern matches nothing yet
)

var noticeKinds = [...]string{
	"", "truncated", "gap", "lost", "unreadable", "refused", "doubt", "no_file",
}

// String returns the name that logs and metrics use.
func (k NoticeKind) String() string { return noticeKinds[k] }

// Notice is something about a source that people must hear and that does not end it.
type Notice struct {
	Kind      NoticeKind
	Path      string // the file or the pattern
	Partition string // where one is concerned
	Offset    int64  // in the partition
	Text      string // the whole sentence, with the path
}

// TailOptions say what a Tail reads and how. Root and Globs are needed, the rest has defaults.
type TailOptions struct {
	// Root is the directory that Globs and the paths in partition names are relative to.
	Root string
	// Globs are patterns of filepath.Match.
	Globs []string
	// Positions are the partitions that the journal knows, with the offset where reading goes on.
	Positions map[string]int64
	// UntilEOF reads the files that are there once, in path order, then ends. Otherwise files are
	// followed as they grow, in turn.
	UntilEOF bool
	// Poll is the time between two looks at the files, 250 ms by default. Where the system tells
	// of changes, these only wake the Tail earlier.
	Poll time.Duration
	// Quiet is how long a rotated or compressed file must stand still before it counts as whole,
	// 30 s by default.
	Quiet time.Duration
	// ChunkSize is the size of a chunk in bytes, 256 KiB by default. A chunk grows for one line.
	ChunkSize int
	// Now is the clock, time.Now by default. It only measures quiet and fills Status.At.
	Now func() time.Time
}

// Limits of one line. See docs/formats/tail.md.
const (
	maxLine = 16 << 20            // a line up to this is handed out whole
	cutLine = formats.MaxLine + 1 // of a longer one this is handed out: no event has it
	maxOpen = 512                 // files kept open; of more, some that stand still are closed
)

// Tail hands out what files hold, as runs of whole lines: the files that its patterns match, each
// a partition, through rotation, truncation, deletion and restarts. It is used by one goroutine,
// except Recycle.
//
// The rules (docs/formats/tail.md): a byte is handed out once in a partition, in order; a position
// stands behind a line's end; nothing is skipped without a Notice; where two answers are possible
// a file is read again from its start, because ids find what was read twice and nothing finds
// what was never read.
type Tail struct {
	opts    TailOptions
	files   []*file           // what is open or known, by path
	loose   []*partition      // partitions that no file holds now
	names   map[string]bool   // of all partitions, also former ones
	said    map[string]string // by path, what was said of it last
	notices []Notice
	at      time.Time // of the last look; zero before the first
	look    bool      // look before the next read
	told    bool      // the last look was reported
	ready   bool      // the last status said that the source is caught up
	opened  int       // files that are open
	blind   bool      // something could not be read at the last look
	listed  bool      // partitions that are lost were listed
	turn    int       // index of the file whose turn it is
	err     error     // the error that ended the source

	free    chan []byte
	open    func(string) (*os.File, error)
	wait    func(context.Context, time.Duration) error
	watcher *fsnotify.Watcher
	deaf    bool // there is no watcher to be had: polling does
	wake    chan struct{}
	moved   atomic.Bool // a directory changed
}

// NewTail returns a Tail that has read nothing yet. It fails if a pattern is malformed, names
// something that is no regular file, or, with UntilEOF, if a pattern without wildcards names
// nothing.
func NewTail(opts TailOptions) (*Tail, error) {
	opts.Poll = cmp.Or(opts.Poll, 250*time.Millisecond)
	opts.Quiet = cmp.Or(opts.Quiet, 30*time.Second)
	opts.ChunkSize = cmp.Or(opts.ChunkSize, 256<<10)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	t := &Tail{
		opts:  opts,
		names: map[string]bool{},
		said:  map[string]string{},
		free:  make(chan []byte, 8),
		wake:  make(chan struct{}, 1),
		open:  openFile,
	}
	t.wait = t.sleep
	for _, g := range opts.Globs {
		if err := t.checkGlob(g); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(opts.Positions)) {
		p, ok := parsePartition(name)
		t.names[name] = true
		if ok {
			p.offset = opts.Positions[name]
			t.loose = append(t.loose, p)
		}
	}
	return t, nil
}

// Next returns the next run of whole lines of one file, or, with no data, what changed. It blocks
// until there is either, for at most a Poll. The chunk's Data belongs to the caller until it
// hands it back with Recycle, or for ever. Offset + len(Data) is where reading goes on.
//
// An error ends the source: every later call returns it too. It is ctx's if ctx is done, which
// ends nothing.
func (t *Tail) Next(ctx context.Context) (formats.Chunk, Status, error) {
	if t.err != nil {
		return formats.Chunk{}, Status{}, t.err
	}
	for {
		if err := ctx.Err(); err != nil {
			return formats.Chunk{}, Status{}, err
		}
		c, ok, err := t.step()
		if err != nil {
			t.err = err
			return formats.Chunk{}, Status{}, err
		}
		if ok || !t.told || len(t.notices) > 0 || t.opts.UntilEOF || t.current() && !t.ready {
			return c, t.status(ok), nil
		}
		rest := max(t.at.Add(t.opts.Poll).Sub(t.opts.Now()), 0)
		if err := t.wait(ctx, rest); err != nil {
			return formats.Chunk{}, Status{}, err
		}
	}
}

// Recycle takes back the Data of a chunk, which the caller must not touch any more. It may be
// called from any goroutine.
func (t *Tail) Recycle(c formats.Chunk) {
	recycle(t.free, c.Data, t.opts.ChunkSize)
}

// Close closes all files. The Tail is not used after it.
func (t *Tail) Close() error {
	var errs []error
	for _, f := range t.files {
		errs = append(errs, f.close())
	}
	if t.watcher != nil {
		errs = append(errs, t.watcher.Close())
	}
	t.err = os.ErrClosed
	return errors.Join(errs...)
}

// step looks at the files if it is time to, then reads the next chunk.
func (t *Tail) step() (c formats.Chunk, ok bool, err error) {
	now := t.opts.Now()
	t.look = t.look || t.moved.Swap(false)
	if t.at.IsZero() || t.look || !t.opts.UntilEOF && now.Sub(t.at) >= t.opts.Poll {
		if err := t.scan(now); err != nil {
			return formats.Chunk{}, false, err
		}
	}
	if c, ok, err = t.serve(now); ok || err != nil || t.opts.UntilEOF {
		return c, ok, err
	}
	if t.refresh(now); t.look {
		if err := t.scan(now); err != nil {
			return formats.Chunk{}, false, err
		}
	}
	return t.serve(now)
}

// serve reads from the next file that has something. In path order files are read one after the
// other; files that are followed take turns.
func (t *Tail) serve(now time.Time) (formats.Chunk, bool, error) {
	for i := range t.files {
		if !t.opts.UntilEOF {
			i = (t.turn + i) % len(t.files)
		}
		f := t.files[i]
		for t.due(f, now) {
			c, ok, err := t.read(f, now)
			if err != nil {
				if err = t.fail(f.path, err); err != nil {
					return formats.Chunk{}, false, err
				}
				f.stuck = true
			}
			if t.opts.UntilEOF && !t.due(f, now) {
				t.ignore(f.close())
				f.stream = nil
			}
			if ok {
				t.turn = i + 1
				return c, true, nil
			}
		}
	}
	return formats.Chunk{}, false, nil
}

// due reports whether a read of f may hand something out.
func (t *Tail) due(f *file, now time.Time) bool {
	switch {
	case f.stuck, f.part == nil && f.settled != f.size:
		return false
	case f.packed:
		return !f.done
	}
	return f.size > f.scanned || f.size > f.offset() && t.final(f, now)
}

// final reports whether f's last line, though it has no end, will not grow any more.
func (t *Tail) final(f *file, now time.Time) bool {
	return t.opts.UntilEOF || f.packed ||
		(f.moved || f.away) && now.Sub(f.changed) >= t.opts.Quiet
}

// current reports whether all that was there at the last look was handed out.
func (t *Tail) current() bool {
	now := t.opts.Now()
	return !t.blind && !slices.ContainsFunc(t.files, func(f *file) bool {
		return t.due(f, now) || f.stuck || f.part == nil && f.size > 0 && f.settled != f.size
	})
}

func (t *Tail) status(data bool) Status {
	t.told, t.ready = true, t.current()
	s := Status{At: t.at, CaughtUp: t.ready, Notices: t.notices}
	for _, f := range t.files {
		if !f.done {
			s.Lag += max(f.size-f.offset(), 0)
		}
	}
	s.EOF = t.opts.UntilEOF && s.CaughtUp && !data
	t.notices = nil
	return s
}

// scan looks at the directories: which files there are, new, moved or gone.
func (t *Tail) scan(now time.Time) error {
	t.at, t.look, t.told, t.blind = now, false, false, false
	found, err := t.list()
	if err != nil {
		return err
	}
	known := make(map[inode]*file, len(t.files))
	for _, f := range t.files {
		f.stuck, f.away = false, true
		known[f.id] = f
	}
	for _, e := range found {
		f := known[e.id]
		if f == nil {
			f, err = t.add(e, now)
			if errors.Is(err, fs.ErrNotExist) && !t.opts.UntilEOF {
				continue
			}
			if err != nil {
				if err = t.fail(e.path, err); err != nil {
					return err
				}
				continue
			}
			known[f.id] = f
		}
		f.sight(e)
	}
	for _, f := range t.files {
		f.settleName()
	}
	t.refresh(now)
	t.look = false
	slices.SortStableFunc(t.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	t.forget(now)
	return t.adopt(now)
}

// entry is a path that a pattern matches.
type entry struct {
	path string
	id   inode
	info fs.FileInfo
}

// list returns the regular files that the patterns match, by path.
func (t *Tail) list() ([]entry, error) {
	var paths []string
	for _, g := range t.opts.Globs {
		m, err := filepath.Glob(t.abs(g))
		if err != nil {
			return nil, fmt.Errorf("match %s: %w", g, err)
		}
		if err := t.fail(g, readable(filepath.Dir(t.abs(g)), t.open)); err != nil {
			return nil, err
		}
		if len(m) == 0 {
			t.say(g, Notice{Kind: NoFile, Path: g, Text: g + " matches no file yet"})
		}
		paths = append(paths, m...)
	}
	slices.Sort(paths)
	var found []entry
	for _, path := range slices.Compact(paths) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			if err := t.fail(path, err); err != nil {
				return nil, err
			}
		case info.IsDir():
		case !info.Mode().IsRegular():
			t.say(path, Notice{Kind: Refused, Path: path, Text: refusal(path, info).Error()})
		default:
			found = append(found, entry{path, inodeOf(info), info})
		}
	}
	return found, nil
}

// add opens a file that was not known: once it is open, it may be renamed or deleted.
func (t *Tail) add(e entry, now time.Time) (*file, error) {
	f := &file{
		path: e.path, name: t.rel(e.path), id: e.id, info: e.info, seen: now,
		size: -1, tried: -1, settled: -1, changed: now,
	}
	if t.opened < maxOpen {
		if err := f.use(t.open); err != nil {
			return nil, err
		}
		t.opened++
	}
	if now.Sub(e.info.ModTime()) >= t.opts.Quiet {
		f.changed = e.info.ModTime()
	}
	delete(t.said, e.path)
	t.files = append(t.files, f)
	return f, nil
}

// refresh asks for the sizes of all files and finds those that were truncated.
func (t *Tail) refresh(now time.Time) {
	for _, f := range t.files {
		size := f.size
		changed, err := f.stat(now, t.open)
		switch {
		case err != nil || !changed:
		case f.packed && f.size != size: // it was replaced, or more was packed into it
			t.loosen(f)
			f.drop()
			f.packed, f.settled = false, -1
		case f.part != nil && !f.packed:
			var same bool
			if same, err = f.intact(); err == nil && !same {
				t.restart(f)
			}
			f.peak = f.size
		}
		if err != nil {
			f.stuck, t.blind = true, true
			t.say(f.path, Notice{Kind: Unreadable, Path: f.path, Text: err.Error()})
		}
		if f.part == nil && f.size > 0 && f.tried != f.size {
			t.look = true
		}
	}
}

// forget lets go of files that are gone and were read, and closes some of those that stand still
// where too many are open.
func (t *Tail) forget(now time.Time) {
	for i := len(t.files) - 1; i >= 0; i-- {
		f := t.files[i]
		quiet := f.away && now.Sub(f.changed) >= t.opts.Quiet
		unread := !f.done && f.size > f.offset()
		if !quiet || unread && f.h != nil {
			continue
		}
		if unread {
			t.notices = append(t.notices, Notice{
				Kind: Lost, Path: f.path, Offset: f.offset(),
				Text: fmt.Sprintf("%s is gone; its last %d bytes were not read", f.path,
					f.size-f.offset()),
			})
		}
		t.loosen(f)
		t.ignore(f.close())
		t.files = slices.Delete(t.files, i, i+1)
	}
	t.opened = 0
	for _, f := range t.files {
		if f.h != nil {
			t.opened++
		}
	}
	for _, f := range t.files {
		if t.opened > maxOpen && f.h != nil && !f.away && f.stream == nil && !t.due(f, now) &&
			now.Sub(f.changed) >= t.opts.Quiet {
			t.ignore(f.close())
			t.opened--
		}
	}
}

// ignore drops the error of closing a file that was only read: there is nothing it could lose.
func (t *Tail) ignore(error) {}

// fail turns an error of one file into a notice where it may pass, and returns it where not.
func (t *Tail) fail(path string, err error) error {
	if err == nil {
		return nil
	}
	if bad := (*packedError)(nil); t.opts.UntilEOF || errors.As(err, &bad) {
		return err
	}
	t.blind = true
	t.say(path, Notice{Kind: Unreadable, Path: path, Text: err.Error()})
	return nil
}

// say adds a notice unless it was the last one about its path.
func (t *Tail) say(path string, n Notice) {
	if t.said[path] != n.Text {
		t.said[path] = n.Text
		t.notices = append(t.notices, n)
	}
}

func (t *Tail) checkGlob(glob string) error {
	if _, err := filepath.Match(glob, ""); err != nil {
		return fmt.Errorf("match %q: %w", glob, err)
	}
	literal := !strings.ContainsAny(glob, `*?[\`)
	paths, err := filepath.Glob(t.abs(glob))
	if err != nil {
		return fmt.Errorf("match %q: %w", glob, err)
	}
	if literal && t.opts.UntilEOF && len(paths) == 0 {
		return fmt.Errorf("open %s: %w", glob, fs.ErrNotExist)
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err == nil && !info.Mode().IsRegular() && (literal || !info.IsDir()) {
			return refusal(path, info)
		}
	}
	return nil
}

func (t *Tail) abs(glob string) string {
	if filepath.IsAbs(glob) {
		return glob
	}
	return filepath.Join(t.opts.Root, glob)
}

// rel is the path as partition names have it.
func (t *Tail) rel(path string) string {
	if r, err := filepath.Rel(t.opts.Root, path); err == nil {
		path = r
	}
	return filepath.ToSlash(path)
}

// sleep waits for d or for word that something changed.
func (t *Tail) sleep(ctx context.Context, d time.Duration) error {
	t.watch()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	case <-t.wake:
	}
	return nil
}

// watch asks the system to tell of changes in the directories. What it cannot tell, polling finds
// out: so no error here is one.
func (t *Tail) watch() {
	if t.watcher == nil && !t.deaf {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			t.deaf = true
			return
		}
		t.watcher = w
		go t.listen(w)
	}
	if t.deaf {
		return
	}
	dirs := map[string]bool{}
	for _, g := range t.opts.Globs {
		dirs[filepath.Dir(t.abs(g))] = true
	}
	for _, f := range t.files {
		dirs[filepath.Dir(f.path)] = true
	}
	for dir := range dirs {
		t.ignore(t.watcher.Add(dir))
	}
}

func (t *Tail) listen(w *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if e.Op&(fsnotify.Create|fsnotify.Remove|fsnotify.Rename) != 0 {
				t.moved.Store(true)
			}
		case _, ok := <-w.Errors:
			if !ok {
				return
			}
		}
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}
