package live

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

// alter changes the number of an event; its digest stays.
func alter(e *engine.Entry, id string, n int64) {
	b, ok := batchOf(e)
	if !ok {
		return
	}
	for row := range b.Len {
		if string(b.ID.At(row)) != id {
			continue
		}
		for i := range b.Props {
			if b.Props[i].Kind == engine.NumberColumn {
				b.Props[i].Numbers[row] = decimal.FromInt(n)
			}
		}
	}
}

// TestAltered changes one quantity in an archive file, as a Parquet tool could: the replay names
// the row and what it touches, and the first seal behind it does not agree.
func TestAltered(t *testing.T) {
	state, archive := monthsState(t)
	for _, tt := range []struct{ id, want string }{
		{"acme-4-3", "acme main 2026-04-01 output"},
		{"kiri-5-11", "kiri main 2026-05-01 output"},
		{"initech-3-2", "initech main 2026-03-01 output"},
	} {
		t.Run(tt.id, func(t *testing.T) {
			path := partWith(t, archive, tt.id)
			was := decimal.Decimal{}
			rewrite(t, path, func(e *engine.Entry) {
				if b, ok := batchOf(e); ok {
					for row := range b.Len {
						if string(b.ID.At(row)) == tt.id {
							was = b.Props[len(b.Props)-1].Numbers[row]
						}
					}
				}
				alter(e, tt.id, 1_000_000)
			})
			defer rewrite(t, path, func(e *engine.Entry) { restoreNumber(e, tt.id, was) })
			a, c, _, err := replayed(t, "", []string{state}, archive)
			if err != nil {
				t.Fatal(err)
			}
			var diverged *DivergedError
			if !errors.As(a.Diverged, &diverged) || diverged.What != "billing digest" {
				t.Errorf("diverged: %v", a.Diverged)
			}
			if len(a.Altered) != 1 || a.Altered[0].ID != tt.id || a.Altered[0].Place.Path != path {
				t.Fatalf("altered: %+v", a.Altered)
			}
			if row := a.Altered[0].Place.Row; row <= 0 || a.Altered[0].Place.Group != 0 {
				t.Errorf("row %d of group %d", row, a.Altered[0].Place.Group)
			}
			var got []string
			for _, x := range a.Touched(a.Altered[0]) {
				got = append(got, fmt.Sprint(x.Account, " ", x.Subscription, " ", x.Period, " ", x.Line))
			}
			if strings.Join(got, ",") != tt.want {
				t.Errorf("touches %q, want %q", got, tt.want)
			}
			wanted := strings.Fields(tt.want)
			if c.Differing == 0 || c.First.Account != wanted[0] || c.First.Period != wanted[2] ||
				!strings.HasPrefix(c.First.Line, wanted[3]) {
				t.Errorf("differs: %+v", c)
			}
		})
	}
	if a, c, _, err := replayed(t, "", []string{state}, archive); err != nil || a.Diverged != nil ||
		len(a.Altered) > 0 || !c.Same() {
		t.Errorf("restored: %+v, %+v: %v", a, c, err)
	}
}

// restoreNumber puts an event's number back.
func restoreNumber(e *engine.Entry, id string, n decimal.Decimal) {
	if b, ok := batchOf(e); ok {
		for row := range b.Len {
			if string(b.ID.At(row)) == id {
				b.Props[len(b.Props)-1].Numbers[row] = n
			}
		}
	}
}

// TestTouched asks for rows that count nowhere.
func TestTouched(t *testing.T) {
	_, archive := monthsState(t)
	a, _, _, err := replayed(t, "", nil, archive)
	if err != nil {
		t.Fatal(err)
	}
	for month, want := range map[time.Month]string{3: "acme", 4: "initech"} {
		got := a.Touched(Altered{Type: "llm", Subject: "moved", Time: utc(2026, month, 5)})
		if len(got) != 1 || got[0].Account != want {
			t.Errorf("a subject that moved, month %d: %+v, want %s", month, got, want)
		}
	}
	for _, tt := range []struct {
		name string
		al   Altered
		want string
	}{
		{"its line", Altered{Type: "llm", Subject: "acme", Time: utc(2026, 4, 3)}, "2026-04-01 output"},
		{"the first instant", Altered{Type: "llm", Subject: "acme", Time: utc(2026, 4, 1)},
			"2026-04-01 output"},
		{"a zone ahead", Altered{Type: "llm", Subject: "kiri", Time: utc(2026, 4, 1) - engine.Hour},
			"2026-04-01 output"},
		{"before a new version", Altered{Type: "llm", Subject: "acme", Time: utc(2026, 5, 25)},
			"2026-05-01 output"},
		{"a new version", Altered{Type: "llm", Subject: "acme", Time: utc(2026, 6, 2)},
			"2026-06-01 tokens"},
		{"another type", Altered{Type: "call", Subject: "acme", Time: utc(2026, 4, 3)}, "2026-04-01 "},
		{"nobody", Altered{Type: "llm", Subject: "nobody", Time: utc(2026, 4, 3)}, ""},
		{"before the subscription", Altered{Type: "llm", Subject: "acme", Time: utc(2025, 4, 3)}, ""},
	} {
		got := ""
		for _, x := range a.Touched(tt.al) {
			got += x.Period + " " + x.Line
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
