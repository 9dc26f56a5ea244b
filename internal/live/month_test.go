package live

import (
	"strings"
	"testing"

	"billctl/engine"
	"billctl/formats"
)

// TestMonthLate gives a month an opening that was written after the month's periods had closed: the
// replay begins further back where it can, and says so.
func TestMonthLate(t *testing.T) {
	_, archive := monthsState(t)
	var may engine.Seq
	open := func() *History {
		h, err := OpenArchive([]string{archive})
		if err != nil || len(h.openings) != 3 {
			t.Fatalf("%d openings: %v", len(h.openings), err)
		}
		may = h.openings[2].Seq
		h.openings[2].Month = "2026-03" // it is May's: March has closed
		return h
	}
	documents := func(h *History, m *MonthReplay) (n int) {
		opening := m.Opening
		if opening != nil && opening.Month == "2026-03" && opening.Seq == may {
			// The file itself says May, and a replay looks at that.
			opening = new(*opening)
			opening.Month = "2026-05"
		}
		_, err := Replay(t.Context(), h, ReplayOptions{
			Opening: opening, Until: m.Until,
			Emit: func(_ *engine.Entry, inv *engine.Invoice) error {
				if m.Has(inv.StartDate) && strings.HasSuffix(formats.InvoiceKey(inv), "/period") {
					n++
				}
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct {
		name     string
		change   func(h *History)
		mark     int // index of the opening; -1: the first entry
		note     string
		document int
	}{
		{"an earlier opening is there", func(*History) {}, 0, "3 periods of 2026-03 had closed", 3},
		{"the first entry is there", func(h *History) { h.openings = h.openings[2:] }, -1,
			"begins further back", 3},
		{"nothing before it is there", func(h *History) {
			h.openings, h.parts = h.openings[2:], h.parts[3:]
		}, 0, "can't be given", 0},
		{"a gap lies before it", func(h *History) {
			h.openings, h.parts = h.openings[2:], append(h.parts[:1:1], h.parts[3:]...)
		}, 0, "can't be given", 0},
		{"it is not late", func(h *History) { h.openings[2].Month = "2026-05" }, 0, "", 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := open()
			tt.change(h)
			m, err := h.Month("2026-03")
			if err != nil {
				t.Fatal(err)
			}
			at := -1
			for i := range h.openings {
				if m.Opening == &h.openings[i] {
					at = i
				}
			}
			if at != tt.mark || !strings.Contains(m.Note, tt.note) || (m.Note == "") != (tt.note == "") {
				t.Errorf("opening %d, want %d; note %q", at, tt.mark, m.Note)
			}
			if n := documents(h, m); n != tt.document {
				t.Errorf("%d documents, want %d", n, tt.document)
			}
		})
	}
	if _, err := open().Month("April"); err == nil {
		t.Error("April is a month")
	}
}

// TestMonthEnds asks when a month is over: with the last time zone and the grace.
func TestMonthEnds(t *testing.T) {
	h := &History{}
	m, err := h.Month("2026-04")
	if err != nil || m.Opening != nil {
		t.Fatalf("%+v: %v", m, err)
	}
	end := utc(2026, 5, 1) + 14*engine.Hour
	for _, tt := range []struct {
		w    engine.Micros
		want bool
	}{{engine.Past, false}, {end + engine.OneDay - 1, false}, {end + engine.OneDay, true}} {
		s := NewShards(1)
		for i, body := range []engine.Body{
			&engine.Genesis{Journal: [16]byte{1}, Format: engine.Format},
			&engine.Rules{Ruleset: engine.Ruleset}, &engine.Settings{
				Grace: engine.OneDay, Horizon: 70 * engine.OneDay, Reopen: 35 * engine.OneDay,
			}, &engine.Watermark{W: tt.w},
		} {
			e := &engine.Entry{Seq: engine.Seq(i + 1), At: utc(2026, 7, 1), Body: body}
			if err := s.Apply(e, func(*engine.Effects) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if got := m.Until(s.Pin()); got != tt.want {
			t.Errorf("watermark %s: %v", tt.w, got)
		}
	}
}

// TestIssued asks the state at the end for every document that came, and for some that did not.
func TestIssued(t *testing.T) {
	_, archive := monthsState(t)
	a, _, keys, err := replayed(t, "", nil, archive)
	if err != nil || len(keys) != 12 {
		t.Fatalf("%q: %v", keys, err)
	}
	for _, key := range keys {
		k, known := parseKey(key)
		if !known || !a.View.Issued(k.account, k.subscription, k.date, k.kind) {
			t.Errorf("%s is not issued (key known: %v)", key, known)
		}
	}
	for _, key := range []string{
		"acme/main/2026-06-01/period", "acme/main/2026-04-01/start", "acme/main/2026-04-01/correction",
		"acme/other/2026-04-01/period", "nobody/main/2026-04-01/period", "acme/main/2026-04-02/period",
	} {
		k, known := parseKey(key)
		if !known || a.View.Issued(k.account, k.subscription, k.date, k.kind) {
			t.Errorf("%s is issued (key known: %v)", key, known)
		}
	}
	for month, want := range map[string][2]int{
		"2026-02": {9, 0}, "2026-03": {9, 0}, "2026-04": {6, 0}, "2026-05": {3, 0}, "2026-06": {0, 0},
	} {
		if closed, started := a.View.DecidedIn(month); closed != want[0] || started != want[1] {
			t.Errorf("%s: %d closed, %d started, want %v", month, closed, started, want)
		}
	}
	for _, key := range []string{"a/b/c", "a/b/c/d/e", "a/b/c/other", "a/%2/c/period"} {
		if k, known := parseKey(key); known {
			t.Errorf("%s is %+v", key, k)
		}
	}
}
