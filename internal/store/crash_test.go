package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// history is what a writer tried and what it was told.
type history struct {
	created  bool
	appended []store.Frame
	synced   int // the first so many of appended are durable
}

var small = store.Options{Segment: 1500, Floor: -1}

func testGenesis(id byte) store.Genesis {
	return store.Genesis{Genesis: engine.Genesis{Journal: [16]byte{id, 2}, Partition: 3,
		HashKey: [16]byte{4}, Format: 1}, CreatedBy: "billctl test"}
}

func (h *history) next() engine.Seq {
	if len(h.appended) == 0 {
		return 1
	}
	last := h.appended[len(h.appended)-1]
	return last.First + last.Count
}

// append adds n frames and syncs at times.
func (h *history) append(j *store.Journal, rng *rand.Rand, n int) error {
	for range n {
		f := store.Frame{First: h.next(), Count: engine.Seq(1 + rng.IntN(5)),
			Payload: make([]byte, rng.IntN(700))}
		for i := range f.Payload {
			f.Payload[i] = byte(rng.Uint32())
		}
		h.appended = append(h.appended, f)
		if err := j.Append(f.First, f.Count, f.Payload); err != nil {
			return err
		}
		if rng.IntN(3) == 0 {
			if err := h.sync(j); err != nil {
				return err
			}
			if rng.IntN(2) == 0 {
				if err := errors.Join(j.Promise(), j.Promise()); err != nil {
					return err
				}
			}
			if rng.IntN(3) == 0 {
				if err := j.HighWater(); err != nil {
					return err
				}
			}
			if rng.IntN(6) == 0 {
				if err := errors.Join(j.Roll(), j.Roll()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (h *history) sync(j *store.Journal) error {
	err := j.Sync()
	if err == nil {
		h.synced = len(h.appended)
		if j.Durable() != h.next() {
			return fmt.Errorf("durable %d after sync, want %d", j.Durable(), h.next())
		}
	}
	return err
}

// run creates a state directory, appends, closes, opens, appends, and ends without a close.
func (h *history) run(fs store.FS, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 77))
	d, err := store.Create(fs, testGenesis(1), small)
	if err != nil {
		return err
	}
	h.created = true
	if err := h.append(d.Journal(), rng, 9); err != nil {
		return errors.Join(err, d.Close())
	}
	if err := d.Close(); err != nil {
		return err
	}
	h.synced = len(h.appended)
	if d, err = store.Open(fs, small); err != nil {
		return err
	}
	return h.append(d.Journal(), rng, 9)
}

// readAll returns the frames from a Seq on.
func readAll(d *store.Dir, from engine.Seq) ([]store.Frame, error) {
	r := d.Read(from)
	var list []store.Frame
	for {
		f, err := r.Next()
		if err == io.EOF {
			return list, r.Close()
		}
		if err != nil {
			return list, errors.Join(err, r.Close())
		}
		f.Payload = bytes.Clone(f.Payload)
		list = append(list, f)
	}
}

// prefix says whether frames are the first of those appended, and at least so many.
func (h *history) prefix(frames []store.Frame, least int) error {
	if len(frames) < least || len(frames) > len(h.appended) {
		return fmt.Errorf("%d frames, want %d to %d", len(frames), least, len(h.appended))
	}
	for i, f := range frames {
		want := h.appended[i]
		if f.First != want.First || f.Count != want.Count || !bytes.Equal(f.Payload, want.Payload) {
			return fmt.Errorf("frame %d is not what was appended", i)
		}
	}
	return nil
}

// recover opens what a crash left and checks it; it returns the error of the file system, if that
// crashed or failed again, and the error of the check.
func (h *history) recover(fs *fixtures.SimFS) (d *store.Dir, failed, wrong error) {
	injected := func(err error) bool {
		return errors.Is(err, fixtures.ErrCrashed) || errors.Is(err, syscall.EIO)
	}
	d, err := store.Open(fs, small)
	if errors.Is(err, store.ErrNoState) {
		if h.created {
			return nil, nil, fmt.Errorf("created, but: %w", err)
		}
		d, err = store.Create(fs, testGenesis(2), small)
	}
	if injected(err) {
		return nil, err, nil
	}
	if err != nil {
		return nil, nil, err
	}
	frames, err := readAll(d, 1)
	if injected(err) {
		return nil, err, nil
	}
	if err == nil {
		err = h.prefix(frames, h.synced)
	}
	if err != nil {
		return nil, nil, err
	}
	h.created, h.appended, h.synced = true, h.appended[:len(frames)], len(frames)
	if d.Journal().Durable() != h.next() {
		err = fmt.Errorf("durable %d, want %d", d.Journal().Durable(), h.next())
	}
	return d, nil, err
}

// readOnly checks what a reader without the lock sees.
func (h *history) readOnly(fs store.FS) error {
	d, err := store.OpenReadOnly(fs)
	if errors.Is(err, store.ErrNoState) && !h.created {
		return nil
	}
	if err != nil {
		return err
	}
	frames, err := readAll(d, 1)
	if err != nil {
		return err
	}
	return h.prefix(frames, 0)
}

func (h history) clone() *history {
	h.appended = h.appended[:len(h.appended):len(h.appended)]
	return &h
}

// TestCrash cuts the power after every operation of a life of a journal, and after every operation
// of the recovery from it, in every way a disk may keep unsynced bytes and names.
func TestCrash(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			fs, h := fixtures.NewSimFS(), &history{}
			if err := h.run(fs, seed); err != nil {
				t.Fatal(err)
			}
			points := 0
			for op := 1; op <= fs.Ops(); op++ {
				for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
					points += crashAt(t, seed, op, tear)
				}
			}
			t.Logf("%d crash points", points)
		})
	}
}

func crashAt(t *testing.T, seed uint64, op int, tear fixtures.Tear) (points int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(op)<<8|uint64(tear)))
	fs, h := fixtures.NewSimFS(), &history{}
	fs.CrashAt(op)
	if err := h.run(fs, seed); err != nil && !errors.Is(err, fixtures.ErrCrashed) {
		t.Fatal(err)
	}
	left := fs.Crash(tear, rng)
	fatal := func(again int, err error) {
		t.Fatalf("seed %d, crash after op %d (%s), tear %v, crash %d in recovery: %v",
			seed, op, fs.Trace()[op-1], tear, again, err)
	}
	for again := 1; ; again++ {
		points++
		disk, h := left.Clone(), h.clone()
		if err := h.readOnly(disk); err != nil {
			fatal(0, fmt.Errorf("read-only: %w", err))
		}
		disk.CrashAt(again)
		d, failed, wrong := h.recover(disk)
		if wrong != nil {
			fatal(again, wrong)
		}
		if failed == nil { // recovery is over in fewer operations
			disk.CrashAt(0)
			if err := h.goOn(d, disk, rng); err != nil {
				fatal(again, err)
			}
			return points
		}
		disk = disk.Crash(tear, rng)
		if d, failed, wrong = h.recover(disk); failed != nil || wrong != nil {
			fatal(again, errors.Join(failed, wrong))
		}
		if err := h.goOn(d, disk, rng); err != nil {
			fatal(again, err)
		}
	}
}

// goOn shows that a recovered journal is a good one: what it takes now survives too.
func (h *history) goOn(d *store.Dir, fs *fixtures.SimFS, rng *rand.Rand) error {
	if err := h.append(d.Journal(), rng, 3); err != nil {
		return err
	}
	if err := h.sync(d.Journal()); err != nil {
		return err
	}
	_, failed, wrong := h.recover(fs.Crash(fixtures.TearAny, rng))
	return errors.Join(failed, wrong)
}

// TestFailure makes every operation fail once, as EIO, or all from one on, as ENOSPC. The journal
// is failed for ever; the next process, with and without the pages that the kernel dropped, finds
// everything that was synced, and what it syncs itself survives a power cut.
func TestFailure(t *testing.T) {
	points := 0
	for seed := range uint64(2) {
		fs := fixtures.NewSimFS()
		if err := new(history).run(fs, seed); err != nil {
			t.Fatal(err)
		}
		for op := 1; op <= fs.Ops(); op++ {
			for mode := range 4 {
				failAt(t, seed, op, mode)
				points++
			}
		}
	}
	t.Logf("%d failures", points)
}

func failAt(t *testing.T, seed uint64, op, mode int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, uint64(op)<<8|uint64(mode)))
	fs, h := fixtures.NewSimFS(), &history{}
	cause := error(syscall.EIO)
	if mode < 2 {
		fs.FailAt(op, cause)
	} else {
		cause = syscall.ENOSPC
		fs.FailFrom(op, cause)
	}
	err := h.run(fs, seed)
	at := fs.Trace()[op-1]
	fatal := func(err error) {
		t.Helper()
		t.Fatalf("seed %d, op %d (%s), mode %d: %v", seed, op, at, mode, err)
	}
	if !errors.Is(err, cause) || store.DiskFull(err) != (mode >= 2) {
		fatal(fmt.Errorf("got %w, want %w", err, cause))
	}
	fs.FailFrom(0, nil)
	if mode%2 == 1 {
		fs.Evict()
	}
	fs = fs.Restart()
	d, failed, wrong := h.recover(fs)
	if failed != nil || wrong != nil {
		fatal(errors.Join(failed, wrong))
	}
	if err := h.goOn(d, fs, rng); err != nil {
		fatal(err)
	}
}

// TestSticky shows that nothing is tried again after a failed sync.
func TestSticky(t *testing.T) {
	fs := fixtures.NewSimFS()
	d, err := store.Create(fs, testGenesis(1), small)
	if err != nil {
		t.Fatal(err)
	}
	j := d.Journal()
	if err := j.Append(1, 1, []byte("a")); err != nil {
		t.Fatal(err)
	}
	fs.FailAt(fs.Ops()+2, syscall.EIO) // the write, then the sync
	first := j.Sync()
	var failed *store.FailedError
	if !errors.As(first, &failed) || failed.Op != "sync" || !store.DiskFault(first) {
		t.Fatalf("sync: %v", first)
	}
	before := fs.Ops()
	for name, err := range map[string]error{"append": j.Append(2, 1, nil), "sync": j.Sync(),
		"promise": j.Promise(), "high water": j.HighWater(), "close": j.Close()} {
		if !errors.Is(err, first) {
			t.Errorf("%s after a failed sync: %v", name, err)
		}
	}
	if fs.Ops() != before {
		t.Errorf("%v after a failed sync", fs.Trace()[before:])
	}
	if j.Durable() != 1 {
		t.Errorf("durable %d, want 1", j.Durable())
	}
	if err := d.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
