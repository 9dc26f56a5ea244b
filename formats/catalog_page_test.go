package formats

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// TestCatalogPage reads every example of the catalog's page: together they are one catalog. Every
// aggregation, model and key must be in one of them.
func TestCatalogPage(t *testing.T) {
	const name = "docs/formats/catalog.md"
	data, err := os.ReadFile("../" + name)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	fsys := fstest.MapFS{}
	blocks := regexp.MustCompile("(?s)```(\\w*)\n(.*?)```")
	for _, m := range blocks.FindAllStringSubmatchIndex(page, -1) {
		line := strings.Count(page[:m[2]], "\n") + 1
		text := page[m[4]:m[5]]
		switch language := page[m[2]:m[3]]; language {
		case "yaml": // a fault is in the line that it says
			text = strings.Repeat("\n", line) + text
			fsys[fmt.Sprintf("%03d.yaml", line)] = &fstest.MapFile{Data: []byte(text)}
		case "csv":
			fsys["prices/tokens.csv"] = &fstest.MapFile{Data: []byte(text)}
		default:
			t.Errorf("%s:%d: an example in %q is not read", name, line, language)
		}
	}
	c, err := ReadCatalog(fsys)
	if err != nil {
		t.Fatalf("examples of %s:\n%s", name, faultText(t, err))
	}
	if len(c.Files) < 7 || len(c.Meters) == 0 || len(c.Budgets) == 0 || len(c.Accounts) == 0 {
		t.Errorf("the examples are few: %q", c.Files)
	}
	have := map[string]bool{}
	for i := range c.Meters {
		have["aggregate: "+AggregateWord(c.Meters[i].Aggregate)] = true
	}
	for i := range c.Plans {
		for j := range c.Plans[i].Prices {
			have["model: "+ModelWord(c.Plans[i].Prices[j].Model)] = true
		}
	}
	for _, a := range aggregates {
		if !have["aggregate: "+a.word] {
			t.Errorf("%s has no example of aggregate %s", name, a.word)
		}
	}
	for _, m := range models {
		if !have["model: "+m.word] {
			t.Errorf("%s has no example of model %s", name, m.word)
		}
		for _, key := range m.keys {
			if !strings.Contains(page, "`"+key) || !strings.Contains(page, key+": ") {
				t.Errorf("%s does not explain key %s of model %s", name, key, m.word)
			}
		}
	}
}
