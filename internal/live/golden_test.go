package live

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"billctl/internal/store"
)

// TestGoldenJournals replays the journal of every released ruleset to the documents and digests
// that it reached when it was written.
func TestGoldenJournals(t *testing.T) {
	dirs, err := filepath.Glob("../../fixtures/journals/r*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no golden journals: %v", err)
	}
	for _, golden := range dirs {
		for _, shards := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", filepath.Base(golden), shards), func(t *testing.T) {
				want, err := os.ReadFile(filepath.Join(golden, "digests.txt"))
				if err != nil {
					t.Fatal(err)
				}
				a, err := Replay(t.Context(), journalOf(openGolden(t, golden)), ReplayOptions{Shards: shards})
				if err == nil {
					err = a.Diverged
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := digestsText(a); got != string(want) || a.Documents != a.Outbox {
					t.Errorf("%d documents, %s\nwant\n%s", a.Documents, got, want)
				}
			})
		}
	}
}

// digestsText returns what a golden directory keeps of a replay; alerts only where there are some.
func digestsText(a *Audit) string {
	alerts := ""
	if a.Alerts > 0 {
		alerts = fmt.Sprintf("alerts %d\n", a.Alerts)
	}
	return fmt.Sprintf("rows %d\nseals %d\ninvoices %d\n%sbilling %x\njournal %x\n",
		a.Rows, a.Seals, a.Outbox, alerts, a.Billing, a.Journal)
}

// openGolden opens a copy of a golden directory, with the empty directories that git does not keep.
func openGolden(t *testing.T, golden string) *store.Dir {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(golden)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"checkpoint", "keys", "cursor", "control"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	fsys, err := store.OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := store.OpenReadOnly(fsys)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
