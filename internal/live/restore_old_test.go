package live

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestRestoreOfOtherVersions restores from the journal what an older program left in checkpoints,
// and says so; what a newer one left it does not touch.
func TestRestoreOfOtherVersions(t *testing.T) {
	fs := archivedState(t)
	want := restoredState(t, fs)
	for _, tt := range []struct {
		name    string
		version uint32
		says    string
	}{
		{"older", engine.StateFormat - 1, "was not used, the journal is applied instead: "},
		{"newer", engine.StateFormat + 1, ""},
	} {
		other := fs.Clone()
		for _, name := range other.Files() {
			if strings.HasPrefix(name, "checkpoint/") && strings.HasSuffix(name, "/state") {
				b := slices.Clone(other.Bytes(name))
				binary.LittleEndian.PutUint32(b[8:], tt.version)
				sum := crc32.Checksum(b[:12], crc32.MakeTable(crc32.Castagnoli))
				binary.LittleEndian.PutUint32(b[12:], sum)
				other.SetBytes(name, b)
			}
		}
		dir, err := store.OpenReadOnly(other)
		if err != nil {
			t.Fatal(err)
		}
		st, err := Restore(dir, 1, false, nil)
		var newer *store.VersionError
		switch {
		case tt.says == "":
			if !errors.As(err, &newer) {
				t.Errorf("%s: %v", tt.name, err)
			}
		case err != nil || len(st.Notices) == 0:
			t.Errorf("%s: %v", tt.name, err)
		default:
			for _, n := range st.Notices {
				if !strings.Contains(n, tt.says) || strings.Contains(n, "damaged") {
					t.Errorf("%s: it says %q", tt.name, n)
				}
			}
			if got := restoredState(t, other); got != want {
				t.Errorf("%s: another state", tt.name)
			}
		}
	}
}

// restoredState returns the canonical bytes of a restored state.
func restoredState(t *testing.T, fs *fixtures.SimFS) string {
	t.Helper()
	dir, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	st, err := Restore(dir, 1, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := writeState(&b, st.Shards.Pin()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
