package store_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestOutboxBack reads an outbox from its end, of either kind of records, with and without leaving
// records out, and compares with what was put in.
func TestOutboxBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 4))
	list, _ := effects(1500)
	fs := fixtures.NewSimFS()
	if _, _, err := writeOutbox(fs, list); err != nil {
		t.Fatal(err)
	}
	d, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.OpenOutbox()
	if err != nil {
		t.Fatal(err)
	}
	for range 60 {
		rejects, r := rng.IntN(2) == 0, o.ReadBack()
		if rejects {
			r = o.RejectionsBack()
		}
		limit, seq := int64(len(list)), ^engine.Seq(0)
		for pos := limit - 1; ; pos-- {
			switch rng.IntN(12) {
			case 0:
				limit = rng.Int64N(limit + 1)
				r.To(limit)
			case 1:
				seq = list[rng.Int64N(max(min(pos, limit), 1))].Seq
				r.ToSeq(seq)
			}
			for pos >= 0 && (pos >= limit || list[pos].Seq > seq ||
				(list[pos].Kind == store.RejectionsRecord) != rejects) {
				pos--
			}
			rec, at, err := r.Next()
			if pos < 0 {
				if !errors.Is(err, io.EOF) {
					t.Fatalf("record %d behind the first: %v", at, err)
				}
				break
			}
			if err != nil || at != pos || !sameRecord(rec, list[pos]) {
				t.Fatalf("record %d, want %d (rejections %v, before %d, seq to %d): %v", at, pos, rejects,
					limit, seq, err)
			}
		}
	}
	sent := int64(0)
	for pos := range list {
		if n, err := o.Sent(int64(pos)); err != nil || n != sent {
			t.Fatalf("%d of the records before %d are sent, want %d: %v", n, pos, sent, err)
		}
		if list[pos].Kind.Delivered() {
			sent++
		}
		if pos%97 == 0 {
			if rec, err := o.At(int64(pos)); err != nil || !sameRecord(rec, list[pos]) {
				t.Fatalf("record %d: %v", pos, err)
			}
		}
	}
	if n, err := o.Sent(1 << 40); err != nil || n != sent {
		t.Errorf("%d of all records are sent, want %d: %v", n, sent, err)
	}
	if _, err := o.At(int64(len(list))); !errors.Is(err, io.EOF) {
		t.Errorf("a record behind the last: %v", err)
	}
	if err := errors.Join(o.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}

// TestCursorState compares what a cursor knows with what its log gives to a reader.
func TestCursorState(t *testing.T) {
	fs := fixtures.NewSimFS()
	d := newDir(t, fs, store.Options{Floor: -1})
	c, err := d.OpenCursor("invoices")
	if err != nil {
		t.Fatal(err)
	}
	for pos := range int64(8) {
		if _, err := c.Offer(pos, docKey(pos)); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(c.Attempt(1, 0, 1, 2, 4), c.Ack(0, 2), c.Park(1, "no"), c.Sync())
	if err != nil {
		t.Fatal(err)
	}
	states := func(s store.CursorState) (out []store.DeliveryState) {
		for _, k := range s.Known {
			for int64(len(out)) < k.Position {
				out = append(out, store.Waiting)
			}
			out = append(out, k.State)
		}
		return out
	}
	want := []store.DeliveryState{
		store.Waiting, store.Parked, store.Done, store.Waiting, store.Attempted,
	}
	live := c.Snapshot()
	logged, err := d.ReadCursorState("invoices")
	if err != nil || live.Done != 1 || live.Offered != 8 || logged.Offered != logged.Done {
		t.Fatalf("%+v, %+v: %v", live, logged, err)
	}
	// The log has what was attempted; of the others it says nothing, also not that 0 is done.
	for name, got := range map[string][]store.DeliveryState{
		"live": states(live), "logged": states(logged),
	} {
		for pos := int64(1); pos < int64(len(want)); pos++ {
			if got[pos] != want[pos] {
				t.Errorf("%s: document %d is %v, want %v", name, pos, got[pos], want[pos])
			}
		}
	}
	if none, err := d.ReadCursorState("other"); err != nil || none.Done != 0 || len(none.Known) > 0 {
		t.Errorf("a sink without a log: %+v, %v", none, err)
	}
	if _, err := d.ReadCursorState("../x"); err == nil {
		t.Error("../x is a sink")
	}
	if err := errors.Join(c.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if s, err := d.ReadCursorState("invoices"); err != nil || s.Done != 1 || s.Offered != 1 {
		t.Errorf("after its end: %+v, %v", s, err)
	}
}
