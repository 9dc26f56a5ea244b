package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"billctl/engine"
)

// The manifest (docs/formats/checkpoint.md, "Manifest") makes a directory a checkpoint.
const (
	manifestMagic   = "bctlMANI"
	manifestVersion = 1
	maxManifest     = 16 << 20
	manifestRunSize = 8 + 8 + 8 + 32 + 4 // without its days
	manifestDaySize = 4 + 8
)

// appendManifest adds the manifest's bytes.
func appendManifest(dst []byte, c *CheckpointInfo) []byte {
	from := len(dst)
	le := binary.LittleEndian
	dst = append(dst, manifestMagic...)
	dst = le.AppendUint32(dst, manifestVersion)
	dst = append(dst, c.Meta.Journal[:]...)
	dst = le.AppendUint64(dst, uint64(c.Meta.Seq))
	dst = le.AppendUint64(dst, uint64(c.Meta.At))
	dst = append(dst, c.Meta.Billing[:]...)
	dst = append(dst, c.Meta.JournalDigest[:]...)
	dst = le.AppendUint32(dst, uint32(c.Meta.MinDay))
	dst = le.AppendUint64(dst, uint64(c.Meta.Outbox))
	dst = le.AppendUint64(dst, uint64(c.Meta.Base))
	dst = appendFileSum(dst, c.State)
	dst = le.AppendUint32(dst, uint32(len(c.Runs)))
	for i := range c.Runs {
		r := &c.Runs[i]
		dst = le.AppendUint64(dst, r.Generation)
		dst = le.AppendUint64(dst, r.Number)
		dst = appendFileSum(dst, r.File)
		dst = le.AppendUint32(dst, uint32(len(r.Days)))
		for _, d := range r.Days {
			dst = le.AppendUint32(dst, uint32(d.Day))
			dst = le.AppendUint64(dst, d.Keys)
		}
	}
	return le.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func appendFileSum(dst []byte, s FileSum) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Size))
	return append(dst, s.Digest[:]...)
}

// decodeManifest reads a manifest into c; it fails on everything that appendManifest would not
// have written.
func decodeManifest(path string, b []byte, c *CheckpointInfo) error {
	corrupt := func(off int, what string) error {
		return &CorruptError{path, int64(off), what}
	}
	const least = 8 + 4 + 4
	if len(b) < least || string(b[:8]) != manifestMagic {
		return corrupt(0, "it is no manifest")
	}
	sum := len(b) - 4
	if crc32.Checksum(b[:sum], castagnoli) != binary.LittleEndian.Uint32(b[sum:]) {
		return corrupt(0, "its checksum is wrong")
	}
	switch v := binary.LittleEndian.Uint32(b[8:]); {
	case v > manifestVersion:
		return &VersionError{path, int(v), manifestVersion}
	case v == 0:
		return corrupt(8, "it has no version")
	}
	r := fieldReader{b: b[12:sum]}
	r.bytes(c.Meta.Journal[:])
	c.Meta.Seq = engine.Seq(r.uint64())
	c.Meta.At = engine.Micros(r.uint64())
	r.bytes(c.Meta.Billing[:])
	r.bytes(c.Meta.JournalDigest[:])
	c.Meta.MinDay = engine.Day(r.uint32())
	c.Meta.Outbox = int64(r.uint64())
	c.Meta.Base = engine.Seq(r.uint64())
	c.State = r.fileSum()
	for range r.count(manifestRunSize) {
		run := RunInfo{Generation: r.uint64(), Number: r.uint64(), File: r.fileSum()}
		for range r.count(manifestDaySize) {
			run.Days = append(run.Days, DayCount{engine.Day(r.uint32()), r.uint64()})
		}
		c.Runs = append(c.Runs, run)
	}
	if r.short || len(r.b) > 0 {
		return corrupt(sum-len(r.b), "its parts are not as long as it says")
	}
	return nil
}

// fieldReader takes fields off bytes. When they are too short it goes on with zeros and says so.
type fieldReader struct {
	b     []byte
	short bool
}

func (r *fieldReader) take(n int) []byte {
	if n > len(r.b) {
		r.short, r.b = true, nil
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *fieldReader) bytes(dst []byte) { copy(dst, r.take(len(dst))) }

func (r *fieldReader) uint32() uint32 {
	var b [4]byte
	r.bytes(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (r *fieldReader) uint64() uint64 {
	var b [8]byte
	r.bytes(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (r *fieldReader) fileSum() (s FileSum) {
	s.Size = int64(r.uint64())
	r.bytes(s.Digest[:])
	if s.Size < 0 {
		r.short = true
	}
	return s
}

// count reads a number of things of at least size bytes each; more than can follow is too many.
func (r *fieldReader) count(size int) int {
	n := r.uint32()
	if uint64(n)*uint64(size) > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return 0
	}
	return int(n)
}

// readManifest returns what the manifest of a checkpoint says, or Err.
func readManifest(fsys FS, seq engine.Seq) CheckpointInfo {
	c := CheckpointInfo{Path: checkpointPath(seq)}
	if c.Err = readManifestFile(fsys, &c); c.Err == nil && c.Meta.Seq != seq {
		c.Err = &CorruptError{c.Path + "/manifest", 28,
			fmt.Sprintf("it is of checkpoint %d", c.Meta.Seq)}
	}
	if c.Err != nil {
		return CheckpointInfo{Path: c.Path, Meta: CheckpointMeta{Seq: seq}, Err: c.Err}
	}
	return c
}

func readManifestFile(fsys FS, c *CheckpointInfo) error {
	path := c.Path + "/manifest"
	f, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &missingError{CorruptError{path, 0, "it is missing"}}
	} else if err != nil {
		return err
	}
	b, err := readWhole(path, f, maxManifest)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return decodeManifest(path, b, c)
}

func readWhole(path string, f File, most int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, &CorruptError{path, most, "it is too long"}
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) && err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// listCheckpoints reads all manifests, the newest first.
func listCheckpoints(fsys FS) ([]CheckpointInfo, error) {
	names, err := fsys.ReadDir("checkpoint")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	var all []CheckpointInfo
	for _, name := range names {
		seq, err := strconv.ParseUint(name, 10, 64)
		if err != nil || len(name) != 20 {
			continue
		}
		info := readManifest(fsys, engine.Seq(seq))
		if info.Err != nil && !isDamage(info.Err) {
			return nil, info.Err
		}
		all = append(all, info)
	}
	slices.Reverse(all)
	return all, nil
}

func isDamage(err error) bool {
	var version *VersionError
	return errors.Is(err, ErrCorrupt) || errors.As(err, &version)
}

// nextRun returns a generation that no file in keys/ has, and the greatest number of any file.
func nextRun(fsys FS) (generation, number uint64, err error) {
	names, err := fsys.ReadDir("keys")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		if g, n, ok := parseRunName(name); ok {
			generation, number = max(generation, g), max(number, n)
		}
	}
	return generation + 1, number, nil
}

func parseRunName(name string) (generation, number uint64, ok bool) {
	g, n, ok := strings.Cut(strings.TrimSuffix(name, ".run"), "-")
	generation, err := strconv.ParseUint(g, 10, 64)
	number, err2 := strconv.ParseUint(n, 10, 64)
	return generation, number, ok && err == nil && err2 == nil
}

func checkpointPath(seq engine.Seq) string { return fmt.Sprintf("checkpoint/%020d", seq) }

func newPath(seq engine.Seq) string {
	return fmt.Sprintf("checkpoint/%s%020d", newPrefix, seq)
}

// disjoint tells whether two lists of runs have no file in common.
func disjoint(a, b []RunInfo) bool {
	for i := range a {
		for j := range b {
			if a[i].Generation == b[j].Generation && a[i].Number == b[j].Number {
				return false
			}
		}
	}
	return true
}

// prune removes the checkpoints that need not be kept, then the runs that no kept one names, and
// what attempts left behind that did not end. A crash at any point leaves every kept checkpoint
// whole: a run goes only when it is durable that no checkpoint names it.
func prune(fsys FS) error {
	all, err := listCheckpoints(fsys)
	if err != nil {
		return err
	}
	keep, drop, err := retain(all)
	if err != nil {
		return err
	}
	for _, c := range drop {
		if err := moveAway(fsys, c); err != nil {
			return err
		}
	}
	names, err := fsys.ReadDir("checkpoint")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, newPrefix) || strings.HasPrefix(name, oldPrefix) {
			if err := removeTree(fsys, "checkpoint/"+name); err != nil {
				return err
			}
		}
	}
	return pruneRuns(fsys, keep)
}

// retain parts the checkpoints, the newest first, into those to keep and those to remove.
func retain(all []CheckpointInfo) (keep, drop []CheckpointInfo, err error) {
	sound, apart := 0, false
	for _, c := range all {
		var version *VersionError
		switch {
		case errors.As(c.Err, &version):
			return nil, nil, c.Err
		case c.Err != nil && sound < keepCheckpoints:
			continue // neither: people may want to see it while it is new
		case c.Err != nil:
			drop = append(drop, c)
			continue
		}
		other := sound > 0 && disjoint(keep[0].Runs, c.Runs)
		if sound < keepCheckpoints || other && !apart {
			keep = append(keep, c)
			apart = apart || other
			sound++
		} else {
			drop = append(drop, c)
		}
	}
	return keep, drop, nil
}

func pruneRuns(fsys FS, keep []CheckpointInfo) error {
	named := map[string]bool{}
	for i := range keep {
		for j := range keep[i].Runs {
			named[keep[i].Runs[j].Name()] = true
		}
	}
	names, err := fsys.ReadDir("keys")
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, _, ok := parseRunName(name); ok && !named[name] {
			if err := fsys.Remove("keys/" + name); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveAway takes a checkpoint's name from it, durably, before any of its files goes: what has the
// name of a checkpoint is whole.
func moveAway(fsys FS, c CheckpointInfo) error {
	to := "checkpoint/" + oldPrefix + strings.TrimPrefix(c.Path, "checkpoint/")
	if err := removeTree(fsys, to); err != nil {
		return err
	}
	if err := fsys.Rename(c.Path, to); err != nil {
		return err
	}
	if err := fsys.SyncDir("checkpoint"); err != nil {
		return &FailedError{"sync", "checkpoint", err}
	}
	return nil
}

// removeTree removes a directory of files, if it is there.
func removeTree(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, name := range names {
		if err := fsys.Remove(dir + "/" + name); err != nil {
			return err
		}
	}
	return fsys.Remove(dir)
}
