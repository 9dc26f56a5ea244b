package live

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// archiveDesk opens the desk of a history, in a temporary directory that must be empty at the end.
func archiveDesk(t *testing.T, h *History) (*Desk, error) {
	t.Helper()
	scratch := t.TempDir()
	t.Setenv("TMPDIR", scratch)
	d, err := ArchiveDesk(t.Context(), h, nil)
	t.Cleanup(func() {
		if d != nil {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return d, err
}

// TestArchiveDesk asks an archive whole, and the rest of it behind each of its openings: what both
// know is the same, and the rest does not speak of what came before.
func TestArchiveDesk(t *testing.T) {
	_, archive := monthsState(t)
	open := func() *History {
		h, err := OpenArchive([]string{archive})
		if err != nil || len(h.openings) != 3 {
			t.Fatalf("%d openings: %v", len(h.openings), err)
		}
		return h
	}
	whole, err := archiveDesk(t, open())
	if err != nil {
		t.Fatal(err)
	}
	keys, rows := documentsAndRows(t, whole)
	if len(keys) == 0 || len(rows) != 90 || len(whole.Notices()) != 0 {
		t.Fatalf("%d documents, %d rows, %q", len(keys), len(rows), whole.Notices())
	}
	for i := range 3 {
		h := open()
		o := h.openings[i]
		behind := slices.IndexFunc(h.parts, func(p Part) bool { return p.First == o.Seq+1 })
		if behind < 0 {
			behind = slices.IndexFunc(h.parts, func(p Part) bool { return p.Last > o.Seq })
		}
		h.openings, h.parts = h.openings[:i+1], h.parts[behind:]
		d, err := archiveDesk(t, h)
		if err != nil {
			t.Fatalf("behind %s: %v", o.Month, err)
		}
		said := strings.Join(d.Notices(), "\n")
		if len(d.Notices()) != 1 || !strings.Contains(said, "begin at the opening of "+o.Month) {
			t.Errorf("behind %s the notices are %q", o.Month, said)
		}
		if a, b := d.view.Standing(), whole.view.Standing(); a.Seq != b.Seq || a.LastSeal != b.LastSeal {
			t.Errorf("behind %s it ends at %d, want %d", o.Month, a.Seq, b.Seq)
		}
		someKeys, someRows := documentsAndRows(t, d)
		if !slices.Equal(someKeys, keys[len(keys)-len(someKeys):]) ||
			!slices.EqualFunc(someRows, rows[len(rows)-len(someRows):], sameFate) {
			t.Errorf("behind %s there are other documents or rows", o.Month)
		}
		if len(someRows) == len(rows) || len(someRows) > 0 && someRows[0].Seq <= o.Seq {
			t.Errorf("behind %s there are %d of %d rows", o.Month, len(someRows), len(rows))
		}
	}
}

// documentsAndRows returns all documents' keys and all rows of a desk.
func documentsAndRows(t *testing.T, d *Desk) (keys []string, rows []Row) {
	t.Helper()
	err := d.Documents(func(doc Document) bool {
		keys = append(keys, doc.Key)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, _, err = d.Rows(t.Context(), d.view, RowFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return keys, rows
}

func sameFate(a, b Row) bool { return a.Seq == b.Seq && a.ID == b.ID && a.Outcome == b.Outcome }

// TestArchiveDeskRefuses gives it files that no state can be made of.
func TestArchiveDeskRefuses(t *testing.T) {
	_, archive := monthsState(t)
	for name, change := range map[string]func(*History){
		"openings alone":      func(h *History) { h.parts = nil },
		"no opening":          func(h *History) { h.openings, h.parts = nil, h.parts[1:] },
		"a file is missing":   func(h *History) { h.parts = append(h.parts[:1:1], h.parts[2:]...) },
		"an opening is early": func(h *History) { h.openings, h.parts = h.openings[:1], h.parts[4:] },
	} {
		h, err := OpenArchive([]string{archive})
		if err != nil {
			t.Fatal(err)
		}
		change(h)
		var fault *ArchiveError
		if d, err := archiveDesk(t, h); !errors.As(err, &fault) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	h, err := OpenArchive([]string{archive})
	if err != nil {
		t.Fatal(err)
	}
	forged := ""
	for i := range h.parts {
		if b := forgePart(t, h, &h.parts[i]); b != nil && forged == "" {
			forged = h.parts[i].Name
			if err := os.WriteFile(forged, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if h, err = OpenArchive([]string{archive}); err != nil {
		t.Fatal(err)
	}
	var diverged *DivergedError
	if _, err := archiveDesk(t, h); !errors.As(err, &diverged) {
		t.Errorf("%s was forged: %v", forged, err)
	}
}
