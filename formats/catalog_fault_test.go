package formats

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

var updateGolden = flag.Bool("update", false, "rewrite the golden files of catalog and invoice")

// TestCatalogFaults holds every catalog of testdata/catalog_faults.txt against the faults that are
// written below it, word for word: place, message, excerpt, hint.
func TestCatalogFaults(t *testing.T) {
	const file = "testdata/catalog_faults.txt"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, block := range strings.Split("\n"+string(data), "\n== ")[1:] {
		name, text, _ := strings.Cut(block, "\n")
		fsys, want, kept := fstest.MapFS{}, "", ""
		for _, part := range strings.Split("\n"+text, "\n-- ")[1:] {
			file, body, _ := strings.Cut(part, " --\n")
			body = strings.TrimSuffix(body, "\n") + "\n"
			if file == "want" {
				want = body
				continue
			}
			fsys[file] = &fstest.MapFile{Data: []byte(body)}
			kept += "-- " + file + " --\n" + body
		}
		got := ""
		if _, err := ReadCatalog(fsys); err != nil {
			got = faultText(t, err)
		}
		t.Run(name, func(t *testing.T) {
			if got == "" {
				t.Error("the catalog has no fault")
			}
			if got != want && !*updateGolden {
				t.Errorf("faults are\n%s\nwant\n%s", got, want)
			}
		})
		fmt.Fprintf(&out, "== %s\n%s-- want --\n%s", name, kept, got)
	}
	if *updateGolden {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// faultText writes faults as people see them.
func faultText(t *testing.T, err error) string {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) {
		t.Fatalf("error is %T, want Faults: %v", err, err)
	}
	var one *Fault
	if !errors.As(err, &one) || one != faults[0] {
		t.Error("errors.As does not find the first fault")
	}
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%v\n%s", f, f.Excerpt())
		if f.Hint != "" {
			fmt.Fprintf(&b, "hint: %s\n", f.Hint)
		}
	}
	return b.String()
}
