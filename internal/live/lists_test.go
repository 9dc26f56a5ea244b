package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// issuedState writes a random log that issues documents, and returns a desk of it and the records
// that sinks get. sent, if not nil, is called before the desk opens.
func issuedState(
	t *testing.T, r *rand.Rand, seed uint64, sent func(*store.Dir, []sentRecord),
) (d *Desk, sends []sentRecord) {
	t.Helper()
	fs := fixtures.NewSimFS()
	c, _ := fixtures.MeteredCase(seed, fixtures.AllFeatures)
	entries, _, err := c.Journal(2, func(rows int) int { return 1 + r.IntN(rows) })
	var w *written
	if err == nil {
		w, err = writeEntriesTo(fs, entries, func(*engine.View, *engine.Entry) engine.Body { return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	desk, err := ReadDesk(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	in := desk.st.Outbox.Read(0)
	for {
		rec, pos, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Kind.Delivered() {
			sends = append(sends, sentRecord{rec, pos})
		}
	}
	if err := errors.Join(in.Close(), desk.Close(), w.dir.Close()); err != nil {
		t.Fatal(err)
	}
	if sent != nil {
		dir, err := store.Open(fs, store.Options{Floor: -1})
		if err != nil {
			t.Fatal(err)
		}
		sent(dir, sends)
		if err := dir.Close(); err != nil {
			t.Fatal(err)
		}
	}
	desk, _ = readDesk(t, fs)
	return desk, sends
}

// sentRecord is what sinks get, and its position.
type sentRecord struct {
	store.OutboxRecord
	pos int64
}

// TestNewestDocuments puts pages of documents by falling position together, of all accounts and of
// each.
func TestNewestDocuments(t *testing.T) {
	documents := 0
	eachSeed(t, 5, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0xd0c))
		d, sends := issuedState(t, r, seed, nil)
		for _, account := range append(d.view.AccountIDs(""), "", "nobody") {
			var want, got []string
			for i := len(sends) - 1; i >= 0; i-- {
				if s := &sends[i]; s.Kind == store.DocumentRecord && (account == "" || s.Account == account) {
					want = append(want, s.Key)
				}
			}
			before, limit := "", 1+r.IntN(4)
			for n := limit; n == limit; {
				n = 0
				err := d.NewestDocuments(before, account, func(x Document) bool {
					got, before = append(got, x.Key), x.Key
					n++
					return n < limit
				})
				if err != nil {
					return err
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("account %q: %v, want %v", account, got, want)
			}
			documents += len(want)
		}
		err := d.NewestDocuments("nothing", "", func(Document) bool { return true })
		if !errors.Is(err, ErrNoDocument) {
			return fmt.Errorf("no document: %w", err)
		}
		return nil
	})
	if t.Log(documents, "documents"); documents == 0 {
		t.Error("no documents")
	}
}

// sendSome leaves the documents in random states with a sink, as far as it has come to them, and
// returns the rows that say so.
func sendSome(
	t *testing.T, r *rand.Rand, dir *store.Dir, sink string, sends []sentRecord,
) []DeliveryRow {
	t.Helper()
	c, err := dir.OpenCursor(sink)
	if err != nil {
		t.Fatal(err)
	}
	known := r.IntN(len(sends) + 1)
	rows := make([]DeliveryRow, len(sends))
	for i := range sends {
		s := &sends[i]
		rows[i] = DeliveryRow{
			Sink: sink, Position: s.pos, Key: s.Key, Account: s.Account,
			Alert: s.Kind == store.AlertRecord, Seq: s.Seq,
		}
		if i >= known {
			continue
		}
		_, err := c.Offer(s.pos, s.Key)
		state := DeliveryState(r.IntN(4))
		if r.IntN(2) == 0 {
			state = DeliveryDelivered
		}
		attempts := 1 + r.IntN(3)
		for range attempts {
			if err == nil && state != DeliveryWaits {
				err = c.Attempt(1, s.pos)
			}
		}
		switch rows[i].State = state; {
		case err != nil:
		case state == DeliveryRetries:
			rows[i].Attempts = attempts
		case state == DeliveryParked:
			rows[i].Attempts, rows[i].Error = attempts, "no"
			err = c.Park(s.pos, "no")
		case state == DeliveryDelivered:
			err = c.Ack(s.pos)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// compareDeliveries is the order in which deliveries are listed.
func compareDeliveries(a, b DeliveryRow) int {
	aDone, bDone := a.State == DeliveryDelivered, b.State == DeliveryDelivered
	switch {
	case aDone && bDone:
		return cmp.Or(cmp.Compare(b.Position, a.Position), cmp.Compare(a.Sink, b.Sink))
	case aDone != bDone:
		return one(aDone) - one(bDone)
	}
	return cmp.Or(cmp.Compare(a.Sink, b.Sink), cmp.Compare(a.Position, b.Position))
}

// TestDeliveries compares deliveries of random cursors with a model: all of them, of one sink, in
// one state, and pages put together.
func TestDeliveries(t *testing.T) {
	states := [4]int{}
	sinks := []string{"b", "a", "new"}
	eachSeed(t, 12, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0xde1))
		var model []DeliveryRow
		d, sends := issuedState(t, r, seed, func(dir *store.Dir, sends []sentRecord) {
			model = append(sendSome(t, r, dir, "a", sends), sendSome(t, r, dir, "b", sends)...)
		})
		for i := range sends { // nobody ever sent anything to it
			row := model[i]
			row.Sink, row.State, row.Attempts, row.Error = "new", DeliveryWaits, 0, ""
			model = append(model, row)
		}
		slices.SortFunc(model, compareDeliveries)
		filters := []DeliveryFilter{{}, {Sink: "a"}, {Sink: "new"}, {Sink: "other"}}
		for s := range DeliveryStates() {
			state := DeliveryState(s)
			filters = append(filters, DeliveryFilter{State: &state},
				DeliveryFilter{Sink: "b", State: &state})
		}
		for _, f := range filters {
			var want []DeliveryRow
			for _, row := range model {
				if (f.Sink == "" || f.Sink == row.Sink) && (f.State == nil || *f.State == row.State) {
					want = append(want, row)
					states[row.State]++
				}
			}
			var got []DeliveryRow
			f.Limit = 1 + r.IntN(1+len(model))
			for more := true; more; {
				var page []DeliveryRow
				var list []SinkDeliveries
				var err error
				if list, page, more, err = d.Deliveries(sinks, f); err != nil {
					return err
				}
				if err := checkCounts(list, model); err != nil {
					return err
				}
				if more && len(page) != f.Limit {
					return fmt.Errorf("%+v: a page of %d, and there is more", f, len(page))
				}
				if got = append(got, page...); more {
					f.After = &page[len(page)-1]
				}
			}
			if !slices.Equal(got, want) {
				return fmt.Errorf("%+v:\n%+v, want\n%+v", f, got, want)
			}
		}
		return nil
	})
	if t.Log(states); slices.Contains(states[:], 0) {
		t.Error("not every state")
	}
}

// checkCounts compares what is said of each sink with the model.
func checkCounts(list []SinkDeliveries, model []DeliveryRow) error {
	if len(list) != 3 || list[0].Name != "a" || list[1].Name != "b" || list[2].Name != "new" {
		return fmt.Errorf("sinks %+v", list)
	}
	for _, s := range list {
		want := SinkDeliveries{Name: s.Name}
		for i := range model {
			switch row := &model[i]; {
			case row.Sink != s.Name:
			case row.State == DeliveryParked:
				want.Parked++
				want.LastError = "no"
			case row.State == DeliveryDelivered:
				want.Delivered++
			default:
				want.Waiting++
			}
		}
		if s != want {
			return fmt.Errorf("sink %+v, want %+v", s, want)
		}
	}
	return nil
}
