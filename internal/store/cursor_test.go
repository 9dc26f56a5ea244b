package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

const cursorDocs = 40

func docKey(pos int64) string { return fmt.Sprintf("doc/%d", pos) }

// deliver drives a cursor by a seed until the file system fails or the steps are done. It returns
// what was told to be durable, and what was told at all.
func deliver(fsys store.FS, seed uint64) (durable, told map[int64]store.Delivery, err error) {
	durable, told = map[int64]store.Delivery{}, map[int64]store.Delivery{}
	d, err := store.OpenReadOnly(fsys)
	if err != nil {
		return durable, told, err
	}
	c, err := d.OpenCursor("invoices")
	if err != nil {
		return durable, told, err
	}
	c.SetSmall(700)
	rng := rand.New(rand.NewPCG(seed, 0))
	next := c.Done()
	for step := range 100 {
		for ; next < cursorDocs && len(c.Open()) < 3; next++ {
			if next%4 == 3 {
				continue // no document
			}
			if _, err := c.Offer(next, docKey(next)); err != nil {
				return durable, told, err
			}
		}
		open := c.Open()
		if len(open) == 0 {
			break
		}
		pos := open[rng.IntN(len(open))].Position
		at := engine.Micros(step)
		synced := true
		switch rng.IntN(5) {
		case 0, 1:
			err = c.Attempt(at, pos)
		case 2:
			err, synced = c.Ack(pos), false
		case 3:
			err = c.Park(pos, "no answer")
		case 4:
			err = c.Resolve(pos, "seen there")
		}
		if err != nil {
			told[pos] = store.Delivery{Position: -1} // one or the other
			return durable, told, err
		}
		told[pos] = c.State(pos)
		if synced {
			for p, s := range told {
				durable[p] = s
			}
		}
	}
	return durable, told, c.Close()
}

// Whatever operation is the last before a power cut, what was told to be durable is known after
// it, and no document is known to be further than it was told.
func TestCursorCrashes(t *testing.T) {
	points, compacted := 0, 0
	for seed := uint64(1); seed <= 4; seed++ {
		base := fixtures.NewSimFS()
		d, err := store.Create(base, ledgerGenesis(), anyDisk)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		whole := base.Clone()
		before := whole.Ops()
		if _, _, err := deliver(whole, seed); err != nil {
			t.Fatal(err)
		}
		for _, op := range whole.Trace() {
			if strings.HasPrefix(op, "rename") {
				compacted++
			}
		}
		for op := before + 1; op <= whole.Ops(); op++ {
			for tear := fixtures.Tear(0); tear < fixtures.NumTears; tear++ {
				fsys := base.Clone()
				fsys.CrashAt(op)
				durable, told, _ := deliver(fsys, seed)
				points++
				place := fmt.Sprintf("seed %d, crash after operation %d (%s), tear %s", seed, op,
					whole.Trace()[op-1], tear)
				fsys = fsys.Crash(tear, rand.New(rand.NewPCG(uint64(op), uint64(tear))))
				checkCursor(t, place, fsys, durable, told)
			}
		}
	}
	t.Logf("%d crash points, %d logs created or compacted", points, compacted)
}

func checkCursor(
	t *testing.T, place string, fsys store.FS, durable, told map[int64]store.Delivery,
) {
	t.Helper()
	d, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	c, err := d.OpenCursor("invoices")
	if err != nil {
		t.Fatalf("%s: %v", place, err)
	}
	for pos := int64(0); pos < cursorDocs; pos++ {
		got, last := c.State(pos), told[pos]
		least, known := durable[pos]
		switch {
		case pos%4 == 3 || last.Position < 0:
		case !known && len(told) == 0 && got.State != store.Waiting:
			t.Fatalf("%s: document %d is %+v, and was never told of", place, pos, got)
		case known && got.State == store.Waiting,
			least.State == store.Done && got.State != store.Done,
			got.State == store.Done && last.State != store.Done,
			got.Key != "" && got.State != store.Done && got.Attempts < least.Attempts:
			t.Fatalf("%s: document %d is %+v, durable %+v, told %+v", place, pos, got, least, last)
		}
	}
}

// Done moves over what is acked or resolved and over what is no document, and survives a close.
func TestCursorDone(t *testing.T) {
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.OpenCursor("hook")
	if err != nil {
		t.Fatal(err)
	}
	for _, pos := range []int64{1, 2, 5, 6} {
		if s, err := c.Offer(pos, docKey(pos)); err != nil || s.State != store.Waiting {
			t.Fatalf("offer %d: %+v, %v", pos, s, err)
		}
	}
	if err := c.Attempt(10, 1, 2, 5); err != nil {
		t.Fatal(err)
	}
	wantDone := func(want int64) {
		t.Helper()
		if got := c.Done(); got != want {
			t.Fatalf("done %d, want %d", got, want)
		}
	}
	wantDone(1)
	if err := errors.Join(c.Ack(2), c.Park(5, "410"), c.Attempt(20, 1)); err != nil {
		t.Fatal(err)
	}
	wantDone(1)
	if s := c.State(1); s.Attempts != 2 || s.First != 10 || s.Last != 20 {
		t.Fatalf("%+v", s)
	}
	if err := c.Ack(1); err != nil {
		t.Fatal(err)
	}
	wantDone(5)
	if err := c.Ack(1); err == nil {
		t.Fatal("a second ack is taken")
	}
	if err := errors.Join(c.Close()); err != nil {
		t.Fatal(err)
	}
	if c, err = d.OpenCursor("hook"); err != nil {
		t.Fatal(err)
	}
	wantDone(5)
	if s, err := c.Offer(5, docKey(5)); err != nil || s.State != store.Parked || s.Reason != "410" {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := c.Offer(6, docKey(6)); err != nil || s.State != store.Waiting {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := errors.Join(c.Resolve(5, "by hand"), c.Ack(6)); err != nil {
		t.Fatal(err)
	}
	wantDone(7)
	done, open, err := d.ReadCursor("hook")
	if err != nil || done != 5 || len(open) != 0 {
		t.Fatalf("%d, %v, %v", done, open, err)
	}
	for _, name := range []string{"", "../x", ".x", "a b", strings.Repeat("x", 65)} {
		if _, err := d.OpenCursor(name); err == nil {
			t.Errorf("a sink may be called %q", name)
		}
	}
}

// The log stays small however many documents pass.
func TestCursorIsCompacted(t *testing.T) {
	fsys := fixtures.NewSimFS()
	d, err := store.Create(fsys, ledgerGenesis(), anyDisk)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.OpenCursor("hook")
	if err != nil {
		t.Fatal(err)
	}
	c.SetSmall(10_000)
	for pos := int64(0); pos < 3000; pos++ {
		if _, err := c.Offer(pos, docKey(pos)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.Attempt(1, pos)); err != nil {
			t.Fatal(err)
		}
		if pos == 1500 {
			err = c.Park(pos, "stuck")
		} else {
			err = c.Ack(pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err = d.OpenCursor("hook"); err != nil {
		t.Fatal(err)
	}
	if open := c.Open(); c.Done() != 1500 || len(open) != 1 || open[0].Reason != "stuck" {
		t.Fatalf("done %d, open %+v", c.Done(), open)
	}
	if s := c.State(1501); s.State != store.Done {
		t.Fatalf("%+v", s)
	}
}

// Any flipped bit of a cursor log that was closed is refused with path and offset, or lies in the
// last promise.
func TestCursorBitFlips(t *testing.T) {
	fsys := fixtures.NewSimFS()
	if _, err := store.Create(fsys, ledgerGenesis(), anyDisk); err != nil {
		t.Fatal(err)
	}
	if _, _, err := deliver(fsys, 3); err != nil {
		t.Fatal(err)
	}
	const name = "cursor/invoices.log"
	good := fsys.Bytes(name)
	refused, harmless := 0, 0
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		fsys.SetBytes(name, bad)
		d, err := store.OpenReadOnly(fsys)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.ReadCursor("invoices")
		var corrupt *store.CorruptError
		var version *store.VersionError
		switch {
		case errors.As(err, &corrupt) && corrupt.Path == name, errors.As(err, &version):
			refused++
		case err != nil:
			t.Fatalf("byte %d: %v", at, err)
		default:
			harmless++
		}
	}
	t.Logf("%d flips refused, %d harmless", refused, harmless)
	if harmless > 40 {
		t.Error("more is harmless than the last promise")
	}
}
