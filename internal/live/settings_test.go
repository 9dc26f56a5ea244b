package live

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/internal/store"
)

// sequence runs a process without sources and sinks, as a command does that journals control files
// itself, and returns the journal and what was said.
func sequence(
	fs store.FS, clock Clock, s engine.Settings, controls ...[]byte,
) (entries []*engine.Entry, said string, err error) {
	dir, err := store.Open(fs, store.Options{Floor: -1})
	if err != nil {
		return nil, "", err
	}
	for _, c := range controls {
		if _, _, err := dir.PutControl(c); err != nil {
			return nil, "", err
		}
	}
	st, err := Restore(dir, 1, true, nil)
	if err != nil {
		return nil, "", err
	}
	r, err := NewRun(Options{
		State: st, Settings: s, UntilEOF: true, CloseAt: engine.Past, Clock: clock,
		Say: func(text string) { said += text + "\n" },
	})
	if err != nil {
		return nil, "", err
	}
	err = r.Do(context.Background())
	entries, readErr := readEntries(dir)
	return entries, said, errors.Join(err, readErr, st.Outbox.Close(), dir.Close())
}

// countOf returns how many entries of a journal have a body of type B.
func countOf[B engine.Body](entries []*engine.Entry) (n int) {
	for _, e := range entries {
		if _, ok := e.Body.(B); ok {
			n++
		}
	}
	return n
}

// TestSettings shows who decides: a process that reads journals its settings where they are others
// and says so; one without sources leaves settings and clock as they are.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs, start := fixtures.NewSimFS(), utc(2026, 1, 1)
		other := engine.DefaultSettings
		other.Horizon += engine.OneDay
		run := func(at engine.Micros, s engine.Settings) (entries []*engine.Entry, said string) {
			t.Helper()
			p, err := plainRun(fs, plainControl("a"), func(o *Options) {
				o.Clock, o.Settings = newBubbleClock(at), s
				o.Say = func(text string) { said += text + "\n" }
			})
			if err == nil {
				time.Sleep(time.Second)
				entries, err = p.stop()
			}
			if err != nil {
				t.Fatal(err)
			}
			return entries, said
		}
		want := func(what string, entries []*engine.Entry, settings int, said string, changed bool) {
			t.Helper()
			n, clocks := countOf[*engine.Settings](entries), countOf[*engine.Clock](entries)
			if n != settings || clocks != 0 {
				t.Errorf("%s: %d settings and %d clocks are journaled, want %d and 0", what, n, clocks,
					settings)
			}
			if told := strings.Contains(said, "settings"); told != changed {
				t.Errorf("%s: it says %q", what, said)
			}
		}
		entries, said := run(start, engine.DefaultSettings)
		want("first", entries, 1, said, false)
		entries, said = run(start+engine.Hour, engine.DefaultSettings)
		want("same settings", entries, 1, said, false)

		before := countOf[*engine.Change](entries)
		far := newBubbleClock(start + 30*engine.OneDay)
		more := EncodeControl(&engine.Credit{
			ID: "gift", Account: "a", Currency: "EUR", Amount: decimal.AmountOf(1),
		})
		entries, said, err := sequence(fs, far, other, more)
		if err != nil {
			t.Fatal(err)
		}
		want("no sources", entries, 1, said, false)
		if countOf[*engine.Credit](entries) != 1 || countOf[*engine.Change](entries) != before+1 {
			t.Error("the control file is not journaled")
		}
		// Its entry stands at the late instant, so the clock goes on from there.
		entries, said = run(start+31*engine.OneDay, other)
		want("other settings", entries, 2, said, true)
	})
}

// TestCloseAt holds what a close that was asked for needs: an instant that has come, and a clock
// that is not frozen. What was not closed, Closed says.
func TestCloseAt(t *testing.T) {
	month := utc(2026, 2, 1)
	for _, tt := range []struct {
		name      string
		clock     engine.Micros // of the second run, which is to close
		at        engine.Micros
		ok        bool // a person says that the clock is right
		closed    bool
		fault     string
		documents int
	}{
		{"to come", month - 30*engine.Minute, month, false, false, "still to come", 1},
		{"by a microsecond", month, month + 2*engine.Second, false, false, "still to come", 1},
		{"now", month + engine.Hour, month, false, true, "", 2},
		{"clock off", month + 30*engine.OneDay, month, false, false, "", 1},
		{"clock off, and right", month + 30*engine.OneDay, month, true, true, "", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := fixtures.NewSimFS()
				_, err := clockRun(fs, newBubbleClock(month-engine.Hour), false, time.Second, nil)
				if err != nil {
					t.Fatal(err)
				}
				p, err := plainRun(fs, nil, func(o *Options) {
					o.Clock, o.ClockOK = newBubbleClock(tt.clock), tt.ok
					o.UntilEOF, o.CloseAt = true, tt.at
				})
				if err != nil {
					t.Fatal(err)
				}
				err = <-p.ended
				p.cancel()
				if err == nil && tt.fault != "" || err != nil &&
					(tt.fault == "" || !strings.Contains(err.Error(), tt.fault)) {
					t.Errorf("it ends with %v, want %q", err, tt.fault)
				}
				entries, err := readEntries(p.dir)
				if n := countOf[*engine.Close](entries); err != nil || p.Closed() != (n > 0) ||
					p.Closed() != tt.closed {
					t.Errorf("closed: %v, %d entries, want %v: %v", p.Closed(), n, tt.closed, err)
				}
				if err := errors.Join(p.st.Outbox.Close(), p.dir.Close()); err != nil {
					t.Fatal(err)
				}
				if n, err := documentsIn(fs); err != nil || n != tt.documents {
					t.Errorf("%d documents, want %d: %v", n, tt.documents, err)
				}
			})
		})
	}
}
