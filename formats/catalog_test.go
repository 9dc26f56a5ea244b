package formats

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

// TestManyAccounts reads 50,000 accounts of each kind of file and journals them.
func TestManyAccounts(t *testing.T) {
	const n = 50_000
	plans := []byte("plans: [{key: pro, currency: EUR, prices: [{key: a, model: flat, amount: 1}]}]\n")
	var csv, jsonl, yaml bytes.Buffer
	csv.WriteString("id,name,timezone,subjects,plan,from\n")
	yaml.WriteString("accounts:\n")
	zones := []string{"UTC", "Europe/Berlin", "America/New_York"}
	for i := range n {
		zone := zones[i%len(zones)]
		fmt.Fprintf(&csv, "c%05d,\"Customer %d, Inc.\",%s,s%d-a s%d-b,pro,2026-01-01\n", i, i, zone, i, i)
		fmt.Fprintf(&jsonl, `{"id":"c%05d","name":"Customer %d, Inc.","timezone":%q,`+
			`"subjects":["s%d-a","s%d-b"],"subscriptions":[{"plan":"pro","from":"2026-01-01"}]}`+"\n",
			i, i, zone, i, i)
		if i < n/10 {
			fmt.Fprintf(&yaml, "  - {id: c%05d, name: 'Customer %d, Inc.', timezone: %s, subjects: "+
				"[s%d-a, s%d-b], subscriptions: [{plan: pro, from: 2026-01-01}]}\n", i, i, zone, i, i)
		}
	}
	var first *Catalog
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"accounts.csv", csv.Bytes()}, {"accounts.jsonl", jsonl.Bytes()}, {"few.yaml", yaml.Bytes()},
	} {
		start := time.Now()
		c, err := ReadCatalog(fstest.MapFS{"p.yaml": {Data: plans}, f.name: {Data: f.data}})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d accounts in %v", f.name, len(c.Accounts),
			time.Since(start).Round(time.Millisecond))
		if first == nil {
			first = c
		}
		for i := range c.Accounts {
			a, b := c.Accounts[i], first.Accounts[i]
			a.at, b.at = nil, nil
			if !reflect.DeepEqual(a, b) {
				t.Fatalf("%s: account %d is %+v, want %+v", f.name, i, a, b)
			}
		}
	}
	j := newJournal(t, testNow)
	start := time.Now()
	d := j.take(first) // which takes the difference twice
	t.Logf("two differences and %d changes in %v", len(d.Split(1000)),
		time.Since(start).Round(time.Millisecond))
	if got := j.view().Accounts(); got != n {
		t.Errorf("the journal has %d accounts, want %d", got, n)
	}
}

// TestExactMoney holds the text of money against what arrives: no digit may be lost on the way,
// quoted or not.
func TestExactMoney(t *testing.T) {
	for _, text := range []string{
		"0.10", "0.1", "0.000000000000000001", "99999999999999999999.999999999999999999", "29.00",
		"0.1234567890123456", "9007199254740993", "1e3", "1.5E-3", "0", "0.30000000000000004",
	} {
		want, err := decimal.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, written := range []string{text, `"` + text + `"`, "'" + text + "'"} {
			c := parse(t, "plans: [{key: p, currency: EUR, prices: [{key: a, model: flat, amount: "+
				written+"}]}]")
			if got := c.Plans[0].Prices[0].Amount; got != want {
				t.Errorf("amount %s is read as %s", written, got)
			}
		}
	}
}

func TestReadCatalogWhole(t *testing.T) {
	data, err := os.ReadFile("testdata/catalog.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crlf := bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
	c := parse(t, string(data))
	d := parse(t, "\ufeff"+string(crlf))
	if !reflect.DeepEqual(c.Plans, d.Plans) || !reflect.DeepEqual(c.Meters, d.Meters) {
		t.Error("line ends change the catalog")
	}
	wantMeter := engine.Meter{
		Key: "tokens_out", Event: "llm.request", Aggregate: engine.Total, Value: "data.output_tokens",
		GroupBy: []engine.Dimension{{Name: "model", Path: "data.model"}}, Unit: "token",
		Where: []engine.Filter{
			{Path: "data.model", Values: []string{"large", "small"}},
			{Path: "data.region", Values: []string{"5", "eu", "true", "us"}},
		},
	}
	if !reflect.DeepEqual(c.Meters, []engine.Meter{wantMeter}) {
		t.Errorf("meters are %+v", c.Meters)
	}
	wantPlan := wantedPlan(t)
	if !reflect.DeepEqual(c.Plans[1], wantPlan) {
		t.Errorf("plan is\n%+v\nwant\n%+v", c.Plans[1], wantPlan)
	}
	if c.Plans[0].Effective != engine.Always {
		t.Errorf("version 1 is effective from %s", c.Plans[0].Effective)
	}
	zero := decimal.FromInt(0)
	wantSub := engine.Subscription{
		Key: "main", Plan: "pro", Pin: 1, From: instant(t, "2025-12-31T23:00:00Z"),
		To: instant(t, "2026-06-01T12:00:00Z"),
		Overrides: []engine.Override{{
			Price: "output", Fields: engine.OverrideMinimum, Value: engine.Price{Minimum: &zero},
		}},
	}
	a := c.Accounts[0]
	if a.ID != "acme" || a.Name != "ACME GmbH" || a.Zone != "Europe/Berlin" ||
		!reflect.DeepEqual(a.Subjects, []string{"acme-prod", "acme-dev"}) ||
		!reflect.DeepEqual(a.Subscriptions, []engine.Subscription{wantSub}) {
		t.Errorf("account is %+v", a)
	}
	if b := c.Accounts[1]; b.Name != "solo" || b.Zone != "UTC" || b.Subjects[0] != "solo" {
		t.Errorf("account without fields is %+v", b)
	}
	if !reflect.DeepEqual(c.Defaults, []engine.Default{{Event: "llm.request", Plan: "pro"}}) {
		t.Errorf("defaults are %v", c.Defaults)
	}
}

// wantedPlan is version 2 of the plan in testdata/catalog.yaml.
func wantedPlan(t *testing.T) engine.Plan {
	dec := func(s string) decimal.Decimal {
		v, err := decimal.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	five, most := dec("5"), dec("500")
	return engine.Plan{
		Key: "pro", Version: 2, Currency: "EUR",
		Effective: engine.DayOf(instant(t, "2026-12-01T00:00:00Z")),
		Digits:    2, Interval: engine.Month, Rounding: decimal.HalfEven,
		Prices: []engine.Price{
			{Key: "base", Model: engine.Flat, Amount: dec("29"), Advance: true, Prorate: true},
			{
				Key: "output", Model: engine.Graduated, Meter: "tokens_out",
				Match: []engine.Match{{Dim: "model", Values: []string{"large"}}}, Per: []string{"model"},
				Convert: &engine.Convert{Multiply: dec("1"), Divide: dec("1000"), Round: engine.RoundUp},
				Free:    dec("1000"), Discount: dec("10"), Minimum: &five, Maximum: &most, ZeroFree: true,
				Tiers: []engine.Tier{
					{UpTo: dec("1000000"), Unit: dec("0.002")}, {Last: true, Unit: dec("0.0015")},
				},
				TaxCode: "saas",
			},
			{Key: "box", Model: engine.Package, Meter: "tokens_out", Size: dec("100"), Amount: dec("2")},
		},
	}
}

// TestLineEnds counts lines that end in "\r\n", after a comment too, as editors do.
func TestLineEnds(t *testing.T) {
	for _, end := range []string{"\n", "\r\n", "\r"} {
		text := strings.ReplaceAll("# one\nmeters: # two\n\n  - x # four\n", "\n", end)
		_, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(text)}})
		const want = `c.yaml:4:5: a meter must be a mapping, not "x"`
		if err == nil || err.Error() != want {
			t.Errorf("with %q: error is %v, want %s", end, err, want)
		}
	}
}

func TestTooManyKeys(t *testing.T) {
	text := "defaults:\n"
	for i := range maxKeys + 1 {
		text += fmt.Sprintf("  e%d: p\n", i)
	}
	_, err := ReadCatalog(fstest.MapFS{"c.yaml": {Data: []byte(text)}})
	if want := "c.yaml:1002:3: more than 1000 keys in one mapping"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func FuzzCatalog(f *testing.F) {
	for _, name := range []string{"testdata/catalog.yaml", "testdata/catalog_faults.txt"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range strings.Split(string(data), "-- ") {
			f.Add([]byte(part))
		}
	}
	f.Add([]byte("zone,model,unit\neu,\"lär\"\"ge\",1\n"))
	f.Add([]byte("a: |\n x\n - - - ? : !!x &a *a <<: [}\r\n\t\"\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"c.yaml", "accounts.csv", "accounts.jsonl", "m.csv"} {
			fsys := fstest.MapFS{name: {Data: data}}
			if name == "m.csv" {
				fsys["c.yaml"] = &fstest.MapFile{
					Data: []byte(pricesCatalog + "model: unit, meter: m, matrix: m.csv}]}"),
				}
			}
			c, err := ReadCatalog(fsys)
			if err != nil {
				faultText(t, err)
				continue
			}
			j := newJournal(t, testNow)
			if _, err := Diff(j.view(), c, j.at); err != nil {
				faultText(t, err)
			}
		}
		if _, err := ReadConfig("billctl.yaml", data); err != nil {
			faultText(t, err)
		}
	})
}
