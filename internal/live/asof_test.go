package live

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
)

// TestDeskAsOf asks every opening of random logs: the answers are those of a replay that ends
// there, and the documents those that were issued up to there.
func TestDeskAsOf(t *testing.T) {
	asked, later := 0, 0
	eachSeed(t, 14, func(seed uint64) error {
		r := rand.New(rand.NewPCG(seed, 0x1ad))
		w, err := writeCase(fixtures.RandomCase(seed), r)
		if err != nil {
			return err
		}
		h, err := OpenHistory(w.dir)
		if err != nil {
			return err
		}
		for i := range h.openings {
			o := &h.openings[i]
			desk, err := DeskAsOf(w.dir, o.Month)
			if err != nil {
				return err
			}
			left, err := sameAsOf(t, h, desk, w)
			if err = errors.Join(err, desk.Close()); err != nil {
				return fmt.Errorf("%s: %w", o.Name, err)
			}
			asked++
			later += left
		}
		return nil
	})
	t.Logf("%d openings asked, %d documents came later", asked, later)
	if asked == 0 || later == 0 {
		t.Error("nothing was compared")
	}
}

// sameAsOf compares a desk with a replay up to its opening, and returns how many documents of the
// state it does not show.
func sameAsOf(t *testing.T, h *History, desk *Desk, w *written) (later int, err error) {
	v, err := desk.View(t.Context())
	if err != nil {
		return 0, err
	}
	end := desk.AsOf().Seq
	at := v.Standing()
	if at.Seq != end {
		return 0, fmt.Errorf("the view is at %d, want %d", at.Seq, end)
	}
	s := NewShards(1)
	var want []string
	err = eachEntry(t.Context(), h, 1, end, func(e *engine.Entry) error {
		return s.Apply(e, func(fx *engine.Effects) error {
			for range fx.Invoices {
				want = append(want, w.keys[len(want)])
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	var got []string
	err = desk.Documents(func(d Document) bool {
		got = append(got, d.Key)
		return true
	})
	if err != nil {
		return 0, err
	}
	if !slices.Equal(got, want) {
		return 0, fmt.Errorf("documents %v, want %v", got, want)
	}
	for i, key := range w.keys {
		if _, found, err := desk.Document(key); err != nil || found != (i < len(want)) {
			return 0, fmt.Errorf("document %s of %d: %v, %v", key, len(want), found, err)
		}
	}
	other := s.Pin()
	for _, id := range other.AccountIDs("") {
		a, _ := other.Bill(id)
		b, _ := v.Bill(id)
		if !reflect.DeepEqual(a, b) {
			return 0, fmt.Errorf("account %s is %+v, want %+v", id, b, a)
		}
	}
	return len(w.keys) - len(want), nil
}

// TestDeskAsOfNothing asks for a month without an opening.
func TestDeskAsOfNothing(t *testing.T) {
	w, err := writeCase(fixtures.RandomCase(3), rand.New(rand.NewPCG(3, 0x1ab)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = DeskAsOf(w.dir, "1999-01")
	var none *NoOpeningError
	if !errors.As(err, &none) || len(none.Months) != w.openings || w.openings == 0 {
		t.Errorf("%v, %d openings", err, w.openings)
	}
}
