package live

import (
	"context"
	"errors"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestForeignEntries writes entries that no process of ours would write: a replay and a restore
// take none of them for granted.
func TestForeignEntries(t *testing.T) {
	diverges := func(err error) bool { var e *DivergedError; return errors.As(err, &e) }
	newer := func(err error) bool { var e *store.VersionError; return errors.As(err, &e) }
	sound := func(err error) bool { return err == nil }
	for _, tt := range []struct {
		name   string
		bodies func(next engine.Seq) []engine.Body
		found  func(error) bool
	}{
		{"a mark without a seal", func(engine.Seq) []engine.Body {
			return []engine.Body{&engine.Mark{}}
		}, sound},
		{"a seal without a mark", func(next engine.Seq) []engine.Body {
			return []engine.Body{&engine.Seal{Of: next - 1}}
		}, diverges},
		{"a seal of an earlier entry than the mark", func(next engine.Seq) []engine.Body {
			return []engine.Body{&engine.Mark{}, &engine.Seal{Of: next - 1}}
		}, diverges},
		{"a seal of its mark with wrong digests", func(next engine.Seq) []engine.Body {
			return []engine.Body{&engine.Mark{}, &engine.Seal{Of: next, Billing: engine.Digest{1}}}
		}, diverges},
		{"the same billing rules", func(engine.Seq) []engine.Body {
			return []engine.Body{&engine.Rules{Ruleset: engine.Ruleset}}
		}, sound},
		{"billing rules of a newer program", func(engine.Seq) []engine.Body {
			return []engine.Body{&engine.Rules{Ruleset: engine.Ruleset + 1}}
		}, newer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := fixtures.NewSimFS()
			options := store.Options{Floor: -1}
			dir, err := store.Create(fs, store.Genesis{Genesis: NewGenesis()}, options)
			if err != nil {
				t.Fatal(err)
			}
			st, err := Restore(dir, 1, true, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := NewRun(Options{State: st, Settings: engine.DefaultSettings, Clock: &simClock{}})
			if err != nil {
				t.Fatal(err)
			}
			err = r.begin()
			if err == nil {
				err = r.commit(r.at, tt.bodies(r.next)...)
			}
			if err = errors.Join(err, r.journal.Promise(), st.Outbox.Close(), dir.Close()); err != nil {
				t.Fatal(err)
			}
			if dir, err = store.Open(fs, options); err != nil {
				t.Fatal(err)
			}
			a, err := Replay(context.Background(), journalOf(dir), ReplayOptions{})
			if err == nil {
				err = a.Diverged
			}
			if !tt.found(err) {
				t.Errorf("replay: %v", err)
			}
			if st, err = Restore(dir, 1, true, nil); !tt.found(err) {
				t.Errorf("restore: %v", err)
			}
			if err == nil {
				if err := st.Outbox.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := dir.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
