package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"billctl/engine/decimal"
)

// The facts of other products' public tests, and public cloud bills. They are not part of the
// repository, so the tests skip without them.
const (
	vectorsPath = "../../shared/data/pricing-vectors.jsonl"
	focusPath   = "../../shared/data/focus/focus_sample.csv"

	conformancePath = "../docs/conformance.md"
)

// maxDifferent is how many facts may be deliberately different.
const maxDifferent = 30

// vector is one fact: what a product says that usage costs under a definition of a price.
type vector struct {
	Source, Model string
	Definition    vectorDefinition
	Usage         vectorUsage
	Expected      json.RawMessage
}

// vectorDefinition has the fields of all models.
type vectorDefinition struct {
	Price          string
	PackageSize    string `json:"package_size"`
	PackagePrice   string `json:"package_price"`
	FreeUnits      string `json:"free_units"`
	Rounding       string
	Scale          *int
	Boundary       string
	ZeroFlat       *bool `json:"zero_usage_bills_first_flat"`
	Tiers          []vectorTier
	TiersFirstUnit []vectorTier `json:"tiers_first_unit"`
	Steps          []vectorTier
	Units          map[string][]vectorTier
	Policy         string
	BaseModel      string `json:"base_model"`

	MinAmount  string `json:"min_amount"`
	Percent    string
	Off        string
	Commitment string `json:"commitment_per_window"`
	Overage    string `json:"overage_factor"`
	TrueUp     bool   `json:"true_up"`

	Rate      string
	Increment string `json:"rate_increment_s"`
	RateUnit  string `json:"rate_unit_s"`

	Amount, Prorate, Rule string
	Period                []string
	Change, Factor        string
	Old, New              *struct{ Price, Qty string }
	OldCents              string `json:"old_cents"`
	NewCents              string `json:"new_cents"`
	Timezone              string

	RatePercent   string `json:"rate_percent"`
	SubtotalCents string `json:"subtotal_cents"`
	DiscountCents string `json:"discount_cents"`
	Discounts     []struct {
		Percent    string
		FixedCents string `json:"fixed_cents"`
	}
}

type vectorTier struct {
	UpTo      *string `json:"up_to"`
	FirstUnit string  `json:"first_unit"`
	Unit      string  `json:"unit"`
	Flat      string  `json:"flat"`
	FlatCap   string  `json:"flat_cap"`
	Size      string  `json:"block_size"`
	Most      *string `json:"max_blocks"`
	Amount    string  `json:"block_price"`
	Price     string  `json:"price"` // of a step
}

// vectorUsage is a quantity, or an object with the fields that a model has.
type vectorUsage struct {
	Quantity            string
	Buckets, Lines      []string
	LinesCents          []string `json:"lines_cents"`
	Billed, Amount      string
	Snapshots           []string `json:"cumulative_snapshots"`
	Already             string   `json:"already_billed"`
	Seconds, From, To   string
	Foo                 string `json:"FOO"`
	Bar                 string `json:"BAR"`
	Unit1, Unit2, Unit3 string
}

func (u *vectorUsage) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, &u.Quantity) == nil {
		return nil
	}
	type plain vectorUsage
	return json.Unmarshal(data, (*plain)(u))
}

// expected returns the numbers that the fact states, in the order in which we compute them.
func (v *vector) expected(t *testing.T) []decimal.Rat {
	t.Helper()
	var one string
	var list []string
	var change struct{ Credit, Charge, Net string }
	switch {
	case json.Unmarshal(v.Expected, &one) == nil:
		list = []string{one}
	case json.Unmarshal(v.Expected, &list) == nil:
	case json.Unmarshal(v.Expected, &change) == nil:
		list = []string{change.Credit, change.Charge, change.Net}
	default:
		t.Fatalf("%s: expected %s", v.Source, v.Expected)
	}
	out := make([]decimal.Rat, len(list))
	for i := range list {
		out[i] = dec(list[i]).Rat()
	}
	return out
}

// outcome counts the facts of one model.
type outcome struct {
	all, passed int
	different   map[string]int // by reason
}

// row returns the row of the table in docs/conformance.md.
func (c *outcome) row(model string) string {
	different := 0
	for _, n := range c.different {
		different += n
	}
	reasons := strings.Join(slices.Sorted(maps.Keys(c.different)), "; ")
	row := fmt.Sprintf("| `%s` | %d | %d | %d | %s", model, c.all, c.passed, different, reasons)
	return row + strings.Repeat(" ", min(len(reasons), 1)) + "|"
}

// TestPricingVectors bills the facts of others as ours are billed, and holds the figures against
// docs/conformance.md, which has every fact that is deliberately different with its reason. A
// definition that asks for something that we do not have is different; any other has to pass.
func TestPricingVectors(t *testing.T) {
	outcomes := map[string]*outcome{}
	all := outcome{different: map[string]int{}}
	for lines := bufio.NewScanner(openData(t, vectorsPath)); lines.Scan(); {
		var v vector
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		run := vectorRuns[v.Model]
		if run == nil {
			t.Fatalf("%s: no test for model %s", v.Source, v.Model)
		}
		if outcomes[v.Model] == nil {
			outcomes[v.Model] = &outcome{different: map[string]int{}}
		}
		c := outcomes[v.Model]
		c.all, all.all = c.all+1, all.all+1
		got, reason := run(t, &v)
		if reason != "" {
			c.different[reason]++
			all.different[v.Model+": "+reason]++
			continue
		}
		want := v.expected(t)
		if !slices.EqualFunc(got, want, func(a, b decimal.Rat) bool { return a.Cmp(b) == 0 }) {
			t.Errorf("%s: %v, want %v\n%s", v.Source, got, want, lines.Text())
			continue
		}
		c.passed, all.passed = c.passed+1, all.passed+1
	}
	different := all.all - all.passed
	if all.passed == 0 || different > maxDifferent {
		t.Errorf("of %d facts %d pass; at most %d may be different", all.all, all.passed, maxDifferent)
	}
	t.Logf("%d facts pass, %d are deliberately different: %v", all.passed, different, all.different)
	rows := []string{fmt.Sprintf("| all | %d | %d | %d | |", all.all, all.passed, different)}
	for _, model := range slices.Sorted(maps.Keys(outcomes)) {
		rows = append(rows, outcomes[model].row(model))
	}
	checkConformance(t, rows, slices.Sorted(maps.Keys(all.different)))
}

// checkConformance holds the page against a run: the rows of its table, and its list of what is
// different, "model: reason".
func checkConformance(t *testing.T, rows, different []string) {
	t.Helper()
	text, err := os.ReadFile(conformancePath)
	if err != nil {
		t.Fatal(err)
	}
	var have, listed []string
	item := regexp.MustCompile("^- \\*\\*`(\\w+)`: ([^*]+)\\.\\*\\*")
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "| `") || strings.HasPrefix(line, "| all |") {
			have = append(have, line)
		} else if m := item.FindStringSubmatch(line); m != nil {
			listed = append(listed, m[1]+": "+m[2])
		}
	}
	slices.Sort(have)
	slices.Sort(rows)
	if !slices.Equal(have, rows) {
		t.Errorf("the table of %s is not that of the run, which is\n%s", conformancePath,
			strings.Join(rows, "\n"))
	}
	slices.Sort(listed)
	if !slices.Equal(listed, different) {
		t.Errorf("%s lists as different %q, the run has %q", conformancePath, listed, different)
	}
}

func decOr(s, other string) decimal.Decimal {
	if s == "" {
		return dec(other)
	}
	return dec(s)
}

func openData(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs data that is not part of the repository: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
