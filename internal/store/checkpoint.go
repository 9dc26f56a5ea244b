package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"billctl/engine"
)

// Limits of checkpoints.
const (
	keepCheckpoints = 3
	maxRuns         = 32      // of one checkpoint; then its keys are written anew as one run
	minDeadKeys     = 100_000 // below, forgotten keys in runs are not worth a rewrite
)

// Names in checkpoint/ that are no checkpoint begin so.
const (
	newPrefix     = "new-"     // being written
	oldPrefix     = "old-"     // about to be removed
	damagedPrefix = "damaged-" // moved away by SetAside, for people to look at
)

// CheckpointMeta says what a checkpoint is of.
type CheckpointMeta struct {
	Journal       [16]byte      // id of the journal
	Seq           engine.Seq    // of the Mark
	At            engine.Micros // of the Mark
	Billing       engine.Digest // the two digests of the state right after the Mark
	JournalDigest engine.Digest
	MinDay        engine.Day // keys of earlier days are forgotten
	Outbox        int64      // records in the outbox that are effects of entries up to Seq

	// Base is the Seq of the checkpoint whose keys newKeys carry on: the one that was restored
	// from, or the last one written since. 0: newKeys are all the keys there are.
	Base engine.Seq
}

// CheckpointInfo is one checkpoint as its manifest has it, or why its manifest can't be read.
type CheckpointInfo struct {
	Path  string // within the state directory
	Meta  CheckpointMeta
	State FileSum
	Runs  []RunInfo // in the order in which they were written
	Err   error     // a *CorruptError or *VersionError; then only Path and Meta.Seq are known
}

// Keys returns how many keys the checkpoint holds.
func (c *CheckpointInfo) Keys() uint64 {
	var n uint64
	for i := range c.Runs {
		n += c.Runs[i].Keys(c.Meta.MinDay)
	}
	return n
}

// WriteCheckpoint writes a checkpoint and removes those that need not be kept: the newest three
// are, and the newest one that shares no file with the newest, so that no one damaged file takes
// all. It runs beside the loop: state writes an immutable snapshot, newKeys never change
// (KeyIndex.Drain). When it fails nothing half-written counts, and older checkpoints are as they
// were; but the keys it was given are in no checkpoint then, so the caller stops and recovers.
//
// A sound checkpoint of the same Seq is returned as it is. It fails when Base is not there.
func (d *Dir) WriteCheckpoint(
	meta CheckpointMeta, state func(io.Writer) error, newKeys [][]engine.Key,
) (*CheckpointInfo, error) {
	if meta.Journal != d.genesis.Journal {
		return nil, fmt.Errorf("write checkpoint %d: it is of another journal", meta.Seq)
	}
	w := checkpointWriter{fs: d.fs, meta: meta}
	info, err := w.write(state, newKeys)
	if err != nil {
		return nil, fmt.Errorf("write checkpoint %d: %w", meta.Seq, err)
	}
	return info, nil
}

// Checkpoints lists the checkpoints, the newest first. One whose manifest is damaged is listed
// with the error, so that whoever falls back to an older one can say so.
func (d *Dir) Checkpoints() ([]CheckpointInfo, error) { return listCheckpoints(d.fs) }

// OpenCheckpoint opens a checkpoint for reading, by one of Checkpoints. It fails with a
// *CorruptError when the manifest or the length of a file is wrong. Beside a writer a checkpoint
// may be removed at any time: errors.Is(err, fs.ErrNotExist) then, and Checkpoints has a newer one.
func (d *Dir) OpenCheckpoint(info CheckpointInfo) (*CheckpointReader, error) {
	if info.Err == nil && info.Meta.Journal != d.genesis.Journal {
		return nil, &CorruptError{info.Path + "/manifest", 12, "it is of another journal"}
	}
	return openCheckpoint(d.fs, info)
}

// SetAside moves a damaged checkpoint out of the way: it is never opened, kept for the newest or
// removed again. Its directory stays for people to look at.
func (d *Dir) SetAside(info CheckpointInfo) error {
	name := strings.TrimPrefix(info.Path, "checkpoint/")
	to := "checkpoint/" + damagedPrefix + name
	if err := removeTree(d.fs, to); err != nil {
		return fmt.Errorf("set %s aside: %w", info.Path, err)
	}
	if err := d.fs.Rename(info.Path, to); err != nil {
		return fmt.Errorf("set %s aside: %w", info.Path, err)
	}
	return d.fs.SyncDir("checkpoint")
}

// CheckpointReader reads one checkpoint. Every block is checked before its bytes are handed out;
// but only when State has ended with io.EOF and Keys with nil is the checkpoint known to be whole.
type CheckpointReader struct {
	info  CheckpointInfo
	fs    FS
	state File
}

// Info returns the manifest's contents.
func (r *CheckpointReader) Info() CheckpointInfo { return r.info }

// State returns the bytes that were written as the state, from their start. Damage is a
// *CorruptError of Read.
func (r *CheckpointReader) State() io.Reader {
	return newBlockReader(r.info.Path+"/state", r.state, stateMagic, r.info.State)
}

// Keys hands out all keys that are not forgotten, some thousands at a time, in a slice that it
// uses again: good for KeyIndex.Load. Damage is a *CorruptError.
func (r *CheckpointReader) Keys(yield func([]engine.Key) error) error {
	for i := range r.info.Runs {
		if err := readRunFile(r.fs, &r.info.Runs[i], r.info.Meta.MinDay, yield); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads everything and returns the first damage.
func (r *CheckpointReader) Verify() error {
	if _, err := io.Copy(io.Discard, r.State()); err != nil {
		return err
	}
	return r.Keys(func([]engine.Key) error { return nil })
}

// Close closes the checkpoint's files.
func (r *CheckpointReader) Close() error { return r.state.Close() }

// checkpointWriter is one attempt to write a checkpoint.
type checkpointWriter struct {
	fs   FS
	meta CheckpointMeta
	kept []CheckpointInfo // sound manifests, newest first
	base *CheckpointInfo
	info CheckpointInfo
	run  *RunInfo // the one that was written, if any
}

func (w *checkpointWriter) write(
	state func(io.Writer) error, newKeys [][]engine.Key,
) (*CheckpointInfo, error) {
	for _, dir := range []string{"checkpoint", "keys"} {
		if err := w.fs.Mkdir(dir); err != nil {
			return nil, err
		}
	}
	if err := w.fs.SyncDir("."); err != nil {
		return nil, err
	}
	w.info = CheckpointInfo{Path: checkpointPath(w.meta.Seq), Meta: w.meta}
	if there, err := w.findKept(); there != nil || err != nil {
		return there, err
	}
	if err := prune(w.fs); err != nil {
		return nil, err
	}
	if err := w.writeKeys(newKeys); err != nil {
		return nil, err
	}
	if err := w.writeFiles(state); err != nil {
		return nil, err
	}
	if err := w.readBack(); err != nil {
		return nil, err
	}
	if err := prune(w.fs); err != nil {
		return nil, err
	}
	return &w.info, nil
}

// findKept lists the sound checkpoints. It returns the one of the same Seq if it is whole, and
// moves it away if not.
func (w *checkpointWriter) findKept() (*CheckpointInfo, error) {
	all, err := listCheckpoints(w.fs)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.Meta.Seq == w.meta.Seq {
			if err := verify(w.fs, c); err == nil {
				return &c, nil
			} else if !errors.Is(err, ErrCorrupt) {
				return nil, err
			}
			if err := moveAway(w.fs, c); err != nil {
				return nil, err
			}
			continue
		}
		if c.Err == nil {
			w.kept = append(w.kept, c)
		}
	}
	for i := range w.kept {
		if w.kept[i].Meta.Seq == w.meta.Base {
			w.base = &w.kept[i]
		}
	}
	if w.base == nil && w.meta.Base != 0 {
		return nil, fmt.Errorf("base checkpoint %d is not there", w.meta.Base)
	}
	return nil, nil
}

// writeKeys writes the run of new keys, or all keys anew as the first run of a generation. It
// reads the base's files for that, never the live index, so nothing waits for it.
func (w *checkpointWriter) writeKeys(newKeys [][]engine.Key) error {
	generation, number, err := nextRun(w.fs)
	if err != nil {
		return err
	}
	var old []RunInfo
	if w.base != nil {
		for _, r := range w.base.Runs {
			if r.Keys(w.meta.MinDay) > 0 {
				old = append(old, r)
			}
		}
	}
	anew := w.rewrite(old)
	if !anew && len(old) > 0 {
		w.info.Runs = old
		generation = old[len(old)-1].Generation
	}
	number++
	run, err := w.writeRun(generation, number, anew, old, newKeys)
	if err != nil {
		return err
	}
	if run != nil {
		w.run = run
		w.info.Runs = append(slices.Clone(w.info.Runs), *run)
	}
	return w.fs.SyncDir("keys")
}

// rewrite tells whether the keys must be written anew rather than shared with the base.
func (w *checkpointWriter) rewrite(old []RunInfo) bool {
	if len(old) == 0 {
		return false
	}
	var all, live uint64
	for i := range old {
		all += old[i].Keys(minDay)
		live += old[i].Keys(w.meta.MinDay)
	}
	if len(old) >= maxRuns || all-live > live && all-live >= minDeadKeys {
		return true
	}
	for i := range w.kept {
		if disjoint(old, w.kept[i].Runs) {
			return false
		}
	}
	return true
}

func (w *checkpointWriter) writeRun(
	generation, number uint64, anew bool, old []RunInfo, newKeys [][]engine.Key,
) (*RunInfo, error) {
	name := RunInfo{Generation: generation, Number: number}
	f, err := w.fs.Create("keys/" + name.Name())
	if err != nil {
		return nil, err
	}
	run := newRunWriter(f, generation, number)
	if err := fillRun(w.fs, run, w.meta.MinDay, anew, old, newKeys); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := run.finish()
	if err != nil {
		return nil, &FailedError{"write", "keys/" + name.Name(), err}
	}
	if len(info.Days) == 0 {
		return nil, w.fs.Remove("keys/" + name.Name())
	}
	return &info, nil
}

func fillRun(
	fs FS, run *runWriter, from engine.Day, anew bool, old []RunInfo, newKeys [][]engine.Key,
) error {
	for i := range old {
		if !anew {
			break
		}
		err := readRunFile(fs, &old[i], from, func(keys []engine.Key) error {
			return run.add(keys, from)
		})
		if err != nil {
			return err
		}
	}
	for _, keys := range newKeys {
		if err := run.add(keys, from); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes state and manifest under another name and gives them theirs at last.
func (w *checkpointWriter) writeFiles(state func(io.Writer) error) error {
	dir := newPath(w.meta.Seq)
	if err := w.fs.Mkdir(dir); err != nil {
		return err
	}
	f, err := w.fs.Create(dir + "/state")
	if err != nil {
		return err
	}
	blocks := newBlockWriter(f, stateMagic)
	if err := state(blocks); err != nil {
		return errors.Join(err, f.Close())
	}
	if w.info.State, err = blocks.finish(); err != nil {
		return &FailedError{"write", dir + "/state", err}
	}
	if f, err = w.fs.Create(dir + "/manifest"); err != nil {
		return err
	}
	_, err = f.WriteAt(appendManifest(nil, &w.info), 0)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return &FailedError{"write", dir + "/manifest", err}
	}
	if err := w.fs.SyncDir(dir); err != nil {
		return &FailedError{"sync", dir, err}
	}
	if err := w.fs.Rename(dir, w.info.Path); err != nil {
		return &FailedError{"rename", dir, err}
	}
	if err := w.fs.SyncDir("checkpoint"); err != nil {
		return &FailedError{"sync", "checkpoint", err}
	}
	return nil
}

// readBack reads what was written before anything older is removed for it.
func (w *checkpointWriter) readBack() error {
	got := readManifest(w.fs, w.meta.Seq)
	if got.Err != nil {
		return got.Err
	}
	if !reflect.DeepEqual(got, w.info) {
		return &CorruptError{w.info.Path + "/manifest", 0, "it is not what was written"}
	}
	got.Runs = nil // all but the new one were read back when they were new
	if w.run != nil {
		got.Runs = []RunInfo{*w.run}
	}
	return verify(w.fs, got)
}

func verify(fs FS, info CheckpointInfo) error {
	r, err := openCheckpoint(fs, info)
	if err != nil {
		return err
	}
	return errors.Join(r.Verify(), r.Close())
}

func openCheckpoint(fs FS, info CheckpointInfo) (*CheckpointReader, error) {
	if info.Err != nil {
		return nil, info.Err
	}
	for i := range info.Runs {
		if err := checkSize(fs, "keys/"+info.Runs[i].Name(), info.Runs[i].File.Size); err != nil {
			return nil, err
		}
	}
	if err := checkSize(fs, info.Path+"/state", info.State.Size); err != nil {
		return nil, err
	}
	f, err := fs.Open(info.Path + "/state")
	if err != nil {
		return nil, err
	}
	return &CheckpointReader{info: info, fs: fs, state: f}, nil
}

// checkSize fails when a file is not as long as the manifest says. One that is missing is damage
// where the checkpoint is still there, and else the work of a writer.
func checkSize(fsys FS, path string, want int64) error {
	st, err := fsys.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &missingError{CorruptError{path, 0, "it is missing"}}
	case err != nil:
		return err
	case st.Size != want:
		return &CorruptError{path, min(st.Size, want),
			fmt.Sprintf("it has %d bytes, not %d", st.Size, want)}
	}
	return nil
}

// missingError is a *CorruptError that is fs.ErrNotExist as well.
type missingError struct{ CorruptError }

func (e *missingError) Unwrap() []error { return []error{&e.CorruptError, fs.ErrNotExist} }

func readRunFile(
	fsys FS, run *RunInfo, from engine.Day, yield func([]engine.Key) error,
) error {
	path := "keys/" + run.Name()
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &missingError{CorruptError{path, 0, "it is missing"}}
	} else if err != nil {
		return err
	}
	return errors.Join(readRun(path, f, run, from, yield), f.Close())
}
