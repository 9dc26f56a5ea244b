package engine

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
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
)

type vectorTier struct {
	UpTo      *string `json:"up_to"`
	FirstUnit string  `json:"first_unit"`
	Unit      string  `json:"unit"`
	Flat      string  `json:"flat"`
	FlatCap   string  `json:"flat_cap"`
	Size      string  `json:"block_size"`
	Most      *string `json:"max_blocks"`
	Amount    string  `json:"block_price"`
}

type vectorDefinition struct {
	Price          string
	PackageSize    string `json:"package_size"`
	PackagePrice   string `json:"package_price"`
	FreeUnits      string `json:"free_units"`
	Rounding       string
	Scale          *int
	Tiers          []vectorTier
	TiersFirstUnit []vectorTier `json:"tiers_first_unit"`
	Boundary       string
	ZeroFlat       *bool `json:"zero_usage_bills_first_flat"`
	Policy         string
	MinAmount      string `json:"min_amount"`
	Percent        string
	BaseModel      string `json:"base_model"`
}

type vector struct {
	Source, Model   string
	Definition      vectorDefinition
	Usage, Expected json.RawMessage
}

// TestPricingVectors runs what others expect of our models through rate. A vector whose definition
// asks for something that we do not have is counted as different, with the reason.
func TestPricingVectors(t *testing.T) {
	file := openData(t, vectorsPath)
	passed, outside := 0, 0
	different := map[string]int{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var v vector
		// Definitions of models outside of the task have other shapes, so their errors say nothing.
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil && vectorModels[v.Model] != 0 {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if vectorModels[v.Model] == 0 {
			outside++
			continue
		}
		price, reason := v.price()
		if reason != "" {
			different[reason]++
			continue
		}
		got, want := v.rated(t, &price), v.expected(t)
		if got.Cmp(want) != 0 {
			t.Errorf("%s: %s %s of %s is %s, want %s", v.Source, v.Model, lines.Text(), v.Usage, got,
				want)
			continue
		}
		passed++
	}
	t.Logf("%d vectors passed, %d are of other models or of documents", passed, outside)
	for _, reason := range slices.Sorted(maps.Keys(different)) {
		t.Logf("%d deliberately different: %s", different[reason], reason)
	}
	if passed == 0 {
		t.Error("no vector was run")
	}
}

var vectorModels = map[string]Model{
	"per_unit": Unit, "package": Package, "volume": Volume, "graduated": Graduated,
	"tier_blocks": Package, "min_commitment": Unit, "percentage_discount": Unit,
	"correction_delta": Unit,
}

// price is the vector's definition as a price of ours, or why there is none.
func (v *vector) price() (p Price, reason string) {
	d := &v.Definition
	p = Price{Model: vectorModels[v.Model], Unit: decOr(d.Price, "1"), Free: decOr(d.FreeUnits, "0"),
		Size: decOr(d.PackageSize, "0"), Amount: decOr(d.PackagePrice, "0"),
		Discount: decOr(d.Percent, "0"), ZeroFree: d.ZeroFlat != nil && !*d.ZeroFlat}
	if d.BaseModel == "package" {
		p.Model = Package
	}
	if d.MinAmount != "" {
		p.Minimum = ptr(d.MinAmount)
	}
	switch {
	case p.Model == Package && d.Rounding == "down":
		return p, "packages that are begun count; a remainder is not given away"
	case d.Policy == "top_tier":
		return p, "packages in tiers are graduated; there is no volume of packages"
	}
	blocks := decimal.Rat{}
	for i, tier := range append(d.Tiers, d.TiersFirstUnit...) {
		if tier.FlatCap != "" {
			return p, "a tier has no cap of its own; maximum is of the line"
		}
		own := Tier{Unit: decOr(tier.Unit, "0"), Flat: decOr(tier.Flat, "0"),
			Size: decOr(tier.Size, "0"), Amount: decOr(tier.Amount, "0")}
		switch {
		case tier.UpTo != nil:
			own.UpTo = dec(*tier.UpTo)
		case tier.Most != nil:
			blocks = blocks.Add(dec(*tier.Most).Rat().Mul(own.Size.Rat()))
			own.UpTo = dec(blocks.String())
		case i+1 < len(d.TiersFirstUnit):
			own.UpTo = dec(d.TiersFirstUnit[i+1].FirstUnit)
		default:
			own.Last = true
		}
		p.Tiers = append(p.Tiers, own)
	}
	return p, ""
}

// rated is what our code makes of the vector's usage: an amount, or the part of it that the
// vector is about.
func (v *vector) rated(t *testing.T, p *Price) decimal.Rat {
	t.Helper()
	line := func(p *Price, q string) decimal.Rat {
		exact, _ := p.bound(p.rate(dec(q).Rat()).exact, true)
		if v.Definition.Scale == nil {
			return exact
		}
		return exact.Round(*v.Definition.Scale, decimal.HalfAway).Rat(*v.Definition.Scale)
	}
	var quantity string
	var usage struct {
		Billed, Amount string
		Snapshots      []string `json:"cumulative_snapshots"`
		Already        string   `json:"already_billed"`
	}
	if json.Unmarshal(v.Usage, &quantity) == nil {
		return line(p, quantity)
	}
	if err := json.Unmarshal(v.Usage, &usage); err != nil {
		t.Fatalf("%s: %v", v.Source, err)
	}
	plain := Price{Model: Unit, Unit: dec("1")}
	switch v.Model {
	case "min_commitment":
		return line(p, usage.Billed).Sub(line(&plain, usage.Billed))
	case "percentage_discount":
		return line(&plain, usage.Amount).Sub(line(p, usage.Amount))
	}
	return line(p, usage.Snapshots[0]).Sub(dec(usage.Already).Rat())
}

func (v *vector) expected(t *testing.T) decimal.Rat {
	t.Helper()
	text := strings.Trim(string(v.Expected), `[]"`)
	d, err := decimal.Parse(text)
	if err != nil {
		t.Fatalf("%s: expected %q: %v", v.Source, text, err)
	}
	return d.Rat()
}

// TestCloudBills: a provider's list cost is its quantity by its list price, rounded half away from
// zero to the 10 decimals that it prints.
func TestCloudBills(t *testing.T) {
	const digits = 10
	r := csv.NewReader(openData(t, focusPath))
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	agreed, skipped := 0, 0
	for _, row := range rows[1:] {
		get := func(name string) string { return row[column[name]] }
		if get("ProviderName") != "AWS" {
			continue
		}
		var q, unit, cost decimal.Decimal
		var bad [3]error
		q, bad[0] = decimal.Parse(get("PricingQuantity"))
		unit, bad[1] = decimal.Parse(get("ListUnitPrice"))
		cost, bad[2] = decimal.Parse(get("ListCost"))
		if errors.Join(bad[:]...) != nil {
			skipped++ // a column is NULL
			continue
		}
		p := Price{Model: Unit, Unit: unit}
		got := p.rate(q.Rat()).exact.Round(digits, decimal.HalfAway)
		if want := cost.Rat().Round(digits, decimal.HalfAway); got != want {
			t.Errorf("%s × %s is %s, the bill says %s", q, unit, got.Text(digits), cost)
			continue
		}
		agreed++
	}
	t.Logf("%d lines agree, %d have no list price", agreed, skipped)
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
