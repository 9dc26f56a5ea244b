package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// ledger is a little engine: what a checkpoint must give back.
type ledger struct {
	index *store.KeyIndex
	keys  map[engine.Key]bool
	base  engine.Seq
	floor engine.Day
	rng   *rand.Rand
}

func newLedger(seed uint64) *ledger {
	return &ledger{index: store.NewKeyIndex(), keys: map[engine.Key]bool{},
		rng: rand.New(rand.NewPCG(seed, 0))}
}

// step admits some keys and forgets some days.
func (l *ledger) step(day engine.Day, n int) {
	keys := make([]engine.Key, n)
	for i := range keys {
		keys[i] = engine.Key{Hi: l.rng.Uint64(), Lo: l.rng.Uint64(), Digest: l.rng.Uint64(),
			Day: day - engine.Day(l.rng.IntN(3)), Bucket: uint16(l.rng.Uint32())}
		l.keys[keys[i]] = true
	}
	l.index.Admit(keys, make([]engine.Verdict, n))
	l.floor = day - 5
	l.index.Forget(l.floor)
	for k := range l.keys {
		if k.Day < l.floor {
			delete(l.keys, k)
		}
	}
}

func stateOf(seq engine.Seq) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("state %d;", seq)), int(seq%7))
}

func (l *ledger) checkpoint(d *store.Dir, seq engine.Seq) error {
	meta := store.CheckpointMeta{Journal: d.Genesis().Journal, Seq: seq, At: 5,
		Billing: engine.Digest{1}, JournalDigest: engine.Digest{2}, MinDay: l.floor,
		Outbox: int64(seq) * 2, Base: l.base}
	_, err := d.WriteCheckpoint(meta, func(w io.Writer) error {
		_, err := w.Write(stateOf(seq))
		return err
	}, l.index.Drain())
	l.base = seq
	return err
}

func ledgerGenesis() store.Genesis {
	return store.Genesis{Genesis: engine.Genesis{Journal: [16]byte{7}, Format: 1},
		CreatedBy: "test"}
}

var anyDisk = store.Options{Floor: -1}

// readCheckpoint returns the keys of a checkpoint whose every byte was right.
func readCheckpoint(d *store.Dir, c store.CheckpointInfo) (map[engine.Key]bool, error) {
	r, err := d.OpenCheckpoint(c)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	state, err := io.ReadAll(r.State())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(state, stateOf(c.Meta.Seq)) {
		return nil, fmt.Errorf("checkpoint %d has another state", c.Meta.Seq)
	}
	keys := map[engine.Key]bool{}
	err = r.Keys(func(list []engine.Key) error {
		for _, k := range list {
			keys[k] = true
		}
		return nil
	})
	if uint64(len(keys)) != c.Keys() && err == nil {
		err = fmt.Errorf("checkpoint %d has %d keys, says %d", c.Meta.Seq, len(keys), c.Keys())
	}
	return keys, err
}

func equalKeys(a, b map[engine.Key]bool) bool {
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return len(a) == len(b)
}

// Kept checkpoints give back what was written; there are few, two of them share no file, and
// nothing else lies about.
func TestCheckpointsAreKeptAndPruned(t *testing.T) {
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(1)
	history := map[engine.Seq]map[engine.Key]bool{}
	generations, most := map[uint64]bool{}, 0
	for seq := engine.Seq(1); seq <= 150; seq++ {
		n := l.rng.IntN(200)
		if seq%10 == 0 {
			n = 0
		}
		l.step(engine.Day(100+seq/9), n)
		if err := l.checkpoint(d, seq); err != nil {
			t.Fatal(err)
		}
		history[seq] = map[engine.Key]bool{}
		for k := range l.keys {
			history[seq][k] = true
		}
		list, err := d.Checkpoints()
		if err != nil {
			t.Fatal(err)
		}
		named, apart := map[string]bool{}, false
		for i, c := range list {
			keys, err := readCheckpoint(d, c)
			if err != nil || !equalKeys(keys, history[c.Meta.Seq]) {
				t.Fatalf("after %d: checkpoint %d: %v", seq, c.Meta.Seq, err)
			}
			if i < 3 && c.Meta.Seq != seq-engine.Seq(i) {
				t.Fatalf("after %d: checkpoint %d is number %d", seq, c.Meta.Seq, i)
			}
			shares := false
			for _, r := range c.Runs {
				shares = shares || i > 0 && named[r.Name()]
				generations[r.Generation] = true
			}
			apart = apart || i > 0 && !shares
			for _, r := range c.Runs {
				named[r.Name()] = true
			}
			most = max(most, len(c.Runs))
		}
		if len(list) > 4 || seq > 1 && !apart {
			t.Fatalf("after %d: %d checkpoints, two that share nothing: %v", seq, len(list), apart)
		}
		if names, _ := fsys.ReadDir("keys"); len(names) != len(named) {
			t.Fatalf("after %d: %d runs, %d are named", seq, len(names), len(named))
		}
	}
	if names, _ := fsys.ReadDir("checkpoint"); len(names) > 4 {
		t.Fatalf("leftovers: %v", names)
	}
	t.Logf("150 checkpoints, %d generations, at most %d runs", len(generations), most)
}

// Whatever operation is the last one before a power cut: the newest checkpoint that was finished
// is there, or a newer one; every one that has the name of a checkpoint is whole.
func TestCheckpointCrashes(t *testing.T) {
	const checkpoints = 5
	work := func(fsys *fixtures.SimFS) (finished engine.Seq, created bool, err error) {
		d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
		if err != nil {
			return 0, false, err
		}
		l := newLedger(2)
		for seq := engine.Seq(1); seq <= checkpoints; seq++ {
			l.step(engine.Day(100+seq), 20)
			if err := l.checkpoint(d, seq); err != nil {
				return finished, true, err
			}
			finished = seq
		}
		return finished, true, nil
	}
	history := map[engine.Seq]map[engine.Key]bool{0: {}}
	for l, seq := newLedger(2), engine.Seq(1); seq <= checkpoints; seq++ {
		l.step(engine.Day(100+seq), 20)
		history[seq] = map[engine.Key]bool{}
		for k := range l.keys {
			history[seq][k] = true
		}
	}
	whole := fixtures.NewSimFS()
	if _, _, err := work(whole); err != nil {
		t.Fatal(err)
	}
	points, newer := 0, 0
	for op := 1; op <= whole.Ops(); op++ {
		for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
			fsys := fixtures.NewSimFS()
			fsys.CrashAt(op)
			finished, created, _ := work(fsys)
			if !created {
				continue
			}
			points++
			place := fmt.Sprintf("crash after operation %d (%s), tear %s", op,
				whole.Trace()[op-1], tear)
			fsys = fsys.Crash(tear, rand.New(rand.NewPCG(uint64(op), uint64(tear))))
			if n := checkAfterCrash(t, place, fsys, finished, history); n > finished {
				newer++
			}
		}
	}
	t.Logf("%d crash points, %d operations; in %d the checkpoint under way was whole",
		points, whole.Ops(), newer)
}

func checkAfterCrash(
	t *testing.T, place string, fsys *fixtures.SimFS, finished engine.Seq,
	history map[engine.Seq]map[engine.Key]bool,
) engine.Seq {
	t.Helper()
	d, err := store.Open(fsys, anyDisk)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	list, err := d.Checkpoints()
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	newest := engine.Seq(0)
	l := newLedger(3)
	for i, c := range list {
		keys, err := readCheckpoint(d, c)
		if err != nil || !equalKeys(keys, history[c.Meta.Seq]) {
			t.Fatalf("%s: checkpoint %d: %v", place, c.Meta.Seq, err)
		}
		if i == 0 {
			newest, l.base, l.floor, l.keys = c.Meta.Seq, c.Meta.Seq, c.Meta.MinDay, keys
		}
	}
	if newest < finished {
		t.Fatalf("%s: newest checkpoint %d, but %d was finished", place, newest, finished)
	}
	// It goes on from there, and clears up.
	for k := range l.keys {
		if err := l.index.Load([]engine.Key{k}); err != nil {
			t.Fatal(err)
		}
	}
	l.step(110, 10)
	if err := l.checkpoint(d, 50); err != nil {
		t.Fatalf("%s: then: %v", place, err)
	}
	list, err = d.Checkpoints()
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: then: %v", place, err)
	}
	if keys, err := readCheckpoint(d, list[0]); err != nil || !equalKeys(keys, l.keys) {
		t.Fatalf("%s: then: %v", place, err)
	}
	names, err := fsys.ReadDir("checkpoint")
	if err != nil || len(names) != len(list) {
		t.Fatalf("%s: then: %d checkpoints in %v", place, len(list), names)
	}
	return newest
}

// One flipped bit anywhere in a checkpoint is refused with the file's path, and another
// checkpoint is still whole.
func TestCheckpointBitFlips(t *testing.T) {
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(4)
	for seq := engine.Seq(1); seq <= 4; seq++ {
		l.step(engine.Day(100+seq), 6)
		if err := l.checkpoint(d, seq); err != nil {
			t.Fatal(err)
		}
	}
	flips := 0
	for _, name := range fsys.Files() {
		if !strings.HasPrefix(name, "checkpoint/") && !strings.HasPrefix(name, "keys/") {
			continue
		}
		good := fsys.Bytes(name)
		for at := range good {
			for bit := range 8 {
				bad := bytes.Clone(good)
				bad[at] ^= 1 << bit
				fsys.SetBytes(name, bad)
				damaged(t, d, name, fmt.Sprintf("bit %d of byte %d of %s", bit, at, name))
				flips++
			}
		}
		for size := range good {
			fsys.SetBytes(name, good[:size])
			damaged(t, d, name, fmt.Sprintf("%s cut to %d bytes", name, size))
			flips++
		}
		fsys.SetBytes(name, append(bytes.Clone(good), 0))
		damaged(t, d, name, name+" with a byte more")
		fsys.SetBytes(name, good)
	}
	t.Logf("%d flips and cuts refused", flips)
}

func damaged(t *testing.T, d *store.Dir, name, what string) {
	t.Helper()
	list, err := d.Checkpoints()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	refused, sound := false, false
	for _, c := range list {
		_, err := readCheckpoint(d, c)
		var corrupt *store.CorruptError
		switch {
		case err == nil:
			sound = true
		case errors.As(err, &corrupt) && corrupt.Path == name:
			refused = true
		default:
			t.Fatalf("%s: %v", what, err)
		}
	}
	if !refused || !sound {
		t.Fatalf("%s: refused %v, another one is sound %v", what, refused, sound)
	}
}

// After a fall back to an older checkpoint the damaged one is set aside or written anew.
func TestCheckpointFallBack(t *testing.T) {
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(5)
	for seq := engine.Seq(1); seq <= 4; seq++ {
		l.step(engine.Day(100+seq), 6)
		if err := l.checkpoint(d, seq); err != nil {
			t.Fatal(err)
		}
	}
	list, err := d.Checkpoints()
	if err != nil {
		t.Fatal(err)
	}
	fsys.SetBytes(list[0].Path+"/state", []byte("no"))
	l.base = 3
	if err := l.checkpoint(d, 4); err != nil { // the same Seq again
		t.Fatal(err)
	}
	list, err = d.Checkpoints()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readCheckpoint(d, list[0]); err != nil || list[0].Meta.Seq != 4 {
		t.Fatalf("checkpoint %d: %v", list[0].Meta.Seq, err)
	}
	if err := d.SetAside(list[0]); err != nil {
		t.Fatal(err)
	}
	if list, err = d.Checkpoints(); err != nil || list[0].Meta.Seq != 3 {
		t.Fatalf("set aside: %v, %v", list, err)
	}
	l.base = 99
	if err := l.checkpoint(d, 5); err == nil {
		t.Fatal("a base that is not there is taken")
	}
}

// A failed write or sync is an error, and what was finished before is still whole.
func TestCheckpointDiskFaults(t *testing.T) {
	build := func(fsys *fixtures.SimFS) (*store.Dir, *ledger) {
		d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger(6)
		for seq := engine.Seq(1); seq <= 2; seq++ {
			l.step(engine.Day(100+seq), 6)
			if err := l.checkpoint(d, seq); err != nil {
				t.Fatal(err)
			}
		}
		l.step(103, 6)
		return d, l
	}
	fsys := fixtures.NewSimFS()
	d, l := build(fsys)
	first := fsys.Ops() + 1
	if err := l.checkpoint(d, 3); err != nil {
		t.Fatal(err)
	}
	last := fsys.Ops()
	fault := errors.New("input/output error")
	for op := first; op <= last; op++ {
		fsys := fixtures.NewSimFS()
		d, l := build(fsys)
		fsys.FailAt(op, fault)
		if err := l.checkpoint(d, 3); !errors.Is(err, fault) {
			t.Fatalf("operation %d failed, the checkpoint says %v", op, err)
		}
		list, err := d.Checkpoints()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if _, err := readCheckpoint(d, c); err != nil && c.Meta.Seq < 3 {
				t.Fatalf("operation %d failed: checkpoint %d: %v", op, c.Meta.Seq, err)
			}
		}
	}
	t.Logf("%d operations failed", last-first+1)
}
