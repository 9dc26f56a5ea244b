package formats

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const insidePlan = `meters: [{key: m, event: e, aggregate: count, group_by: {model: data.model}}]
plans:
- {key: p, currency: EUR, prices: [{key: x, meter: m, model: unit, matrix: x.csv}]}
`

// TestLinksOut wants no line of a file outside of the catalog to be read, and links within it to be
// followed.
func TestLinksOut(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "catalog")
	for name, text := range map[string]string{
		"secret": "root:x\n", "catalog/c.yaml": insidePlan, "catalog/.data/m": "model,unit\na,1\n",
	} {
		file := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ link, target, want string }{
		{"x.csv", ".data/m", ""},
		{"x.csv", "../catalog/.data/m", "leads out of the catalog directory"},
		{"x.csv", "../secret", "leads out of the catalog directory"},
		{"x.csv", filepath.Join(top, "secret"), "leads out of the catalog directory"},
		{"x.csv", "x.csv", "more than 40 links follow each other"},
		{"y.yaml", "../secret", "the file is a link that leads out of the catalog directory"},
	} {
		link := filepath.Join(dir, c.link)
		if err := os.Symlink(c.target, link); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
		if c.link != "x.csv" {
			if err := os.WriteFile(filepath.Join(dir, "x.csv"), []byte("model,unit\na,1\n"),
				0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, err := ReadCatalog(os.DirFS(dir))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s -> %s: %v", c.link, c.target, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s -> %s: %v, want %s", c.link, c.target, err, c.want)
		}
		var faults Faults
		for i := 0; errors.As(err, &faults) && i < len(faults); i++ {
			if strings.Contains(faults[i].Excerpt(), "root:x") {
				t.Errorf("%s -> %s shows the file: %s", c.link, c.target, faults[i].Excerpt())
			}
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokenMatrixOverride wants one fault of a matrix, not another of each override.
func TestBrokenMatrixOverride(t *testing.T) {
	_, err := ReadCatalog(fstest.MapFS{
		"x.csv": {Data: []byte("model,unit\na,x\n")}, "good.csv": {Data: []byte("model,unit\na,1\n")},
		"c.yaml": {Data: []byte(insidePlan + `accounts:
- {id: a, subscriptions: [{plan: p, from: 2026-01-01, overrides: {x: {matrix: good.csv}}}]}
`)},
	})
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 1 || faults[0].File != "x.csv" {
		t.Errorf("faults are %v", err)
	}
}

// TestNotes wants what may be a mistake to be said with its place.
func TestNotes(t *testing.T) {
	c, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(`plans:
- {key: p, currency: EUR, prices: [{key: x, model: flat, amount: 1, tax_code: food}]}
budgets:
- {key: b, account: nobody, currency: EUR, limit: 5}
accounts:
- {id: a, taxes: [{from: 2026-01-01, rates: [{code: fod, percent: 7}]}]}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `c.yaml:2: no account has a rate for tax code "food" of price x
c.yaml:4: budget b is of account nobody, which the catalog does not have
c.yaml:6: no price has tax code "fod" of account a`
	if got := strings.Join(c.Notes(), "\n"); got != want {
		t.Errorf("notes are\n%s", got)
	}
}
