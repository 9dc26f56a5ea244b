package formats

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
)

// number reads a decimal that a test writes.
func number(t *testing.T, s string) decimal.Decimal {
	t.Helper()
	d, err := decimal.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMeters holds every aggregation and its keys against the meter that they give.
func TestMeters(t *testing.T) {
	five, sixty := number(t, "5"), number(t, "60")
	for _, c := range []struct {
		text string
		want engine.Meter
	}{
		{"aggregate: count", engine.Meter{Aggregate: engine.Count}},
		{"aggregate: sum, value: data.n", engine.Meter{Aggregate: engine.Total, Value: "data.n"}},
		{"aggregate: sum, constant: 5", engine.Meter{Aggregate: engine.Total, Constant: &five}},
		{"aggregate: sum, value: data.n, round_each: {to: 60, round: up}", engine.Meter{
			Aggregate: engine.Total, Value: "data.n",
			RoundEach: &engine.RoundEach{To: sixty, Round: engine.RoundUp},
		}},
		{"aggregate: avg, value: data.n, round_each: {to: '60.0', round: nearest}", engine.Meter{
			Aggregate: engine.Average, Value: "data.n",
			RoundEach: &engine.RoundEach{To: sixty, Round: engine.RoundNearest},
		}},
		{"aggregate: min, value: data.n", engine.Meter{Aggregate: engine.Least, Value: "data.n"}},
		{"aggregate: max, value: data.n, correctable: true", engine.Meter{
			Aggregate: engine.Most, Value: "data.n", Correctable: true,
		}},
		{"aggregate: latest, value: data.n, correctable: false", engine.Meter{
			Aggregate: engine.Latest, Value: "data.n",
		}},
		{"aggregate: unique, value: data.user", engine.Meter{
			Aggregate: engine.Unique, Value: "data.user",
		}},
		{"aggregate: time_weighted, value: data.n", engine.Meter{
			Aggregate: engine.TimeWeighted, Value: "data.n",
		}},
		{"aggregate: time_weighted, value: data.n, time_unit: hour", engine.Meter{
			Aggregate: engine.TimeWeighted, Value: "data.n", Per: engine.Hour,
		}},
		{"aggregate: time_weighted, value: data.n, time_unit: period", engine.Meter{
			Aggregate: engine.TimeWeighted, Value: "data.n",
		}},
		{"aggregate: percentile, value: data.n, percentile: 99.9", engine.Meter{
			Aggregate: engine.Percentile, Value: "data.n", Percent: number(t, "99.9"),
		}},
		{"aggregate: percentile, value: data.n, percentile: 95, window: 5m, of: avg", engine.Meter{
			Aggregate: engine.Percentile, Value: "data.n", Percent: number(t, "95"),
			Window: 5 * engine.Minute, Of: engine.Average,
		}},
		{"aggregate: percentile, value: data.n, percentile: 100, window: 1h30m, of: sum", engine.Meter{
			Aggregate: engine.Percentile, Value: "data.n", Percent: number(t, "100"),
			Window: 90 * engine.Minute, Of: engine.Total,
		}},
	} {
		got := parse(t, "meters: [{key: m, event: e, "+c.text+"}]").Meters
		c.want.Key, c.want.Event = "m", "e"
		if !reflect.DeepEqual(got, []engine.Meter{c.want}) {
			t.Errorf("%s: meter is %+v, want %+v", c.text, got, c.want)
		}
	}
}

// TestPeriods holds periods and anchors against the plan that they give. What begins where the
// calendar's periods do is one plan, however it is written.
func TestPeriods(t *testing.T) {
	for _, c := range []struct {
		text     string
		interval engine.Interval
		anchor   engine.Anchor
	}{
		{"period: month", engine.Month, engine.CalendarAnchor},
		{"anchor: calendar", engine.Month, engine.CalendarAnchor},
		{"anchor: 1", engine.Month, engine.CalendarAnchor},
		{"anchor: 31", engine.Month, 31},
		{"anchor: start", engine.Month, engine.StartAnchor},
		{"period: day", engine.OfDay, engine.CalendarAnchor},
		{"period: day, anchor: start", engine.OfDay, engine.CalendarAnchor},
		{"period: week", engine.Week, engine.CalendarAnchor},
		{"period: week, anchor: monday", engine.Week, engine.CalendarAnchor},
		{"period: week, anchor: tuesday", engine.Week, 2},
		{"anchor: sunday, period: week", engine.Week, 7},
		{"period: week, anchor: start", engine.Week, engine.StartAnchor},
		{"period: quarter, anchor: '15'", engine.Quarter, 15},
		{"period: year, anchor: start", engine.Year, engine.StartAnchor},
	} {
		p := parse(t, "plans: [{key: p, currency: EUR, "+c.text+
			", prices: [{key: a, model: flat, amount: 1}]}]").Plans[0]
		if p.Interval != c.interval || p.Anchor != c.anchor {
			t.Errorf("%s: interval %d, anchor %d, want %d and %d", c.text, p.Interval, p.Anchor,
				c.interval, c.anchor)
		}
	}
}

// TestOwnCurrencies holds the digits of plans against what is declared, before or after them.
func TestOwnCurrencies(t *testing.T) {
	c := parse(t, `
plans:
  - {key: a, currency: TOK, prices: [{key: a, model: flat, amount: 0.123456789012}]}
  - {key: b, currency: JPY, prices: [{key: a, model: flat, amount: 1}]}
  - {key: c, currency: JPY2, prices: [{key: a, model: flat, amount: 1}]}
  - {key: d, currency: USD, prices: [{key: a, model: flat, amount: 1}]}
currencies: [{code: TOK, digits: 12}, {code: JPY2, digits: 0}, {code: USD, digits: 2}]
`)
	for i, want := range []int{12, 0, 0, 2} {
		if got := c.Plans[i].Digits; got != want {
			t.Errorf("currency %s has %d digits, want %d", c.Plans[i].Currency, got, want)
		}
	}
}

// pricesCatalog is where the prices of TestPrices stand.
const pricesCatalog = `
meters:
  - key: m
    event: e
    aggregate: sum
    value: data.n
    group_by: {model: data.model, zone: data.zone}
plans:
  - {key: p, currency: EUR, prices: [{key: a, `

// TestPrices holds every charge model and its keys against the price that they give.
func TestPrices(t *testing.T) {
	num := func(s string) decimal.Decimal { return number(t, s) }
	half, twenty := num("0.50"), num("20")
	matrix := &engine.Matrix{Dims: []string{"model", "zone"}, Rows: []engine.MatrixRow{
		{Values: []string{"large", "eu"}, Unit: num("0.5")},
		{Values: []string{"large", "us"}, Unit: num("0.10")},
		{Values: []string{"sm,all", "eu"}, Unit: num("0")},
	}}
	for _, c := range []struct {
		text string
		want engine.Price
	}{
		{"model: percentage, meter: m, rate: '1.2', fixed: 0.30, free_events: 3, free_amount: 100, " +
			"min_per_event: 0.50, max_per_event: 20", engine.Price{
			Model: engine.Percentage, Rate: num("1.2"), Fixed: num("0.3"), FreeEvents: 3,
			FreeAmount: num("100"), MinEach: &half, MaxEach: &twenty,
		}},
		{"model: percentage, meter: m, rate: 0", engine.Price{Model: engine.Percentage}},
		{"model: graduated_percentage, meter: m, tiers: [{up_to: 1000, rate: 2, flat: 0.5}, {rate: 1}]",
			engine.Price{Model: engine.GraduatedPercentage, Tiers: []engine.Tier{
				{UpTo: num("1000"), Unit: num("2"), Flat: half}, {Last: true, Unit: num("1")},
			}}},
		{"model: stairstep, meter: m, tiers: [{up_to: 10, flat: 50}, {flat: 90}], zero_usage: free",
			engine.Price{Model: engine.Stairstep, ZeroFree: true, Tiers: []engine.Tier{
				{UpTo: num("10"), Flat: num("50")}, {Last: true, Flat: num("90")},
			}}},
		{"model: dynamic, meter: m", engine.Price{Model: engine.Dynamic, Multiplier: num("1")}},
		{"model: dynamic, meter: m, multiplier: '1.20', convert: {divide: 100}, free: 1", engine.Price{
			Model: engine.Dynamic, Multiplier: num("1.2"), Free: num("1"),
			Convert: &engine.Convert{Multiply: num("1"), Divide: num("100")},
		}},
		{"model: unit, meter: m, matrix: prices/m.csv", engine.Price{Model: engine.Unit, Matrix: matrix}},
		{"model: unit, meter: m, unit: 0.01, commitment: {amount: 100, overage: 1.5}, " +
			"discount: {percent: 10, amount: 5.00}", engine.Price{
			Model: engine.Unit, Unit: num("0.01"), Discount: num("10"), Off: num("5"),
			Commitment: &engine.Commitment{Amount: num("100"), Overage: num("1.5")},
		}},
		{"model: unit, meter: m, unit: 1, commitment: {amount: 100}, discount: {amount: 5}", engine.Price{
			Model: engine.Unit, Unit: num("1"), Off: num("5"),
			Commitment: &engine.Commitment{Amount: num("100"), Overage: num("1")},
		}},
	} {
		fsys := fstest.MapFS{
			"plans/c.yaml": {Data: []byte(pricesCatalog + c.text + "}]}\n")},
			"plans/prices/m.csv": {Data: []byte("zone, model ,unit\r\n" +
				"us,large,0.10\r\n\r\neu,\"sm,all\",0\r\neu,large,0.5\r\n")},
		}
		got, err := ReadCatalog(fsys)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		c.want.Key, c.want.Meter = "a", "m"
		if p := got.Plans[0].Prices; !reflect.DeepEqual(p, []engine.Price{c.want}) {
			t.Errorf("%s: price is\n%+v\nwant\n%+v", c.text, p, c.want)
		}
	}
}

// TestOverridesOfModels holds overrides of what a model takes against the fields that they replace.
func TestOverridesOfModels(t *testing.T) {
	num := func(s string) decimal.Decimal { return number(t, s) }
	one := num("1")
	const plans = `
meters: [{key: m, event: e, aggregate: sum, value: data.n, group_by: {model: data.model}}]
plans:
  - key: p
    currency: EUR
    prices:
      - {key: fee, model: percentage, meter: m, rate: 2, max_per_event: 5}
      - {key: mx, model: unit, meter: m, matrix: m.csv}
      - {key: dy, model: dynamic, meter: m}
      - {key: st, model: stairstep, meter: m, tiers: [{flat: 1}]}
accounts: [{id: acme, subscriptions: [{plan: p, from: 2026-01-01, overrides: {`
	for _, c := range []struct {
		text   string
		fields engine.PriceFields
		want   engine.Price
	}{
		{"fee: {rate: 1, fixed: 1, free_events: 0, free_amount: 1, min_per_event: 1, max_per_event: 1}",
			engine.OverrideRate | engine.OverrideFixed | engine.OverrideFreeEvents |
				engine.OverrideFreeAmount | engine.OverrideMinEach | engine.OverrideMaxEach,
			engine.Price{Rate: one, Fixed: one, FreeAmount: one, MinEach: &one, MaxEach: &one}},
		{"fee: {discount: {amount: 0}}", engine.OverrideOff, engine.Price{}},
		{"fee: {discount: {percent: 1}}", engine.OverrideDiscount, engine.Price{Discount: one}},
		{"fee: {discount: {percent: 1, amount: 1}}", engine.OverrideDiscount | engine.OverrideOff,
			engine.Price{Discount: one, Off: one}},
		{"mx: {matrix: n.csv}", engine.OverrideMatrix, engine.Price{Matrix: &engine.Matrix{
			Dims: []string{"model"}, Rows: []engine.MatrixRow{{Values: []string{"small"}, Unit: one}},
		}}},
		{"dy: {multiplier: 1, commitment: {amount: 1}}",
			engine.OverrideMultiplier | engine.OverrideCommitment,
			engine.Price{Multiplier: one, Commitment: &engine.Commitment{Amount: one, Overage: one}}},
		{"st: {tiers: [{flat: 1}]}", engine.OverrideTiers,
			engine.Price{Tiers: []engine.Tier{{Last: true, Flat: one}}}},
	} {
		got, err := ReadCatalog(fstest.MapFS{
			"c.yaml": {Data: []byte(plans + c.text + "}}]}]\n")},
			"m.csv":  {Data: []byte("model,unit\nlarge,1\n")},
			"n.csv":  {Data: []byte("model,unit\nsmall,1\n")},
		})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		key, _, _ := strings.Cut(c.text, ":")
		want := []engine.Override{{Price: key, Fields: c.fields, Value: c.want}}
		if o := got.Accounts[0].Subscriptions[0].Overrides; !reflect.DeepEqual(o, want) {
			t.Errorf("%s: override is\n%+v\nwant\n%+v", c.text, o, want)
		}
	}
}

// TestBudgets holds budgets of money and of quantities against what they give.
func TestBudgets(t *testing.T) {
	num := func(s string) decimal.Decimal { return number(t, s) }
	got := parse(t, `
meters: [{key: m, event: e, aggregate: count}]
plans: [{key: p, currency: EUR, prices: [{key: a, model: unit, meter: m, unit: 1}]}]
budgets:
  - {key: spend, plan: p, currency: EUR, limit: "1000.50", at: [100, 50, "80.5", 120]}
  - {key: cap, meter: m, account: acme, limit: 1000000}
  - {key: hundred, meter: m, limit: 1, at: [100]}
  - {key: ended, limit: 0}
`).Budgets
	want := []engine.Budget{
		{Key: "cap", Account: "acme", Meter: "m", Limit: num("1000000")},
		{Key: "ended"},
		{Key: "hundred", Meter: "m", Limit: num("1")},
		{Key: "spend", Plan: "p", Currency: "EUR", Limit: num("1000.5"),
			At: []decimal.Decimal{num("50"), num("80.5"), num("100"), num("120")}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("budgets are\n%+v\nwant\n%+v", got, want)
	}
}

// TestMatrixOutside reads a table of accounts that is no part of the catalog: it can't name a file
// beside itself, and it does not bring the catalog's budgets.
func TestMatrixOutside(t *testing.T) {
	fsys := fstest.MapFS{
		"c.yaml": {Data: []byte(pricesCatalog + "model: unit, meter: m, matrix: m.csv}]}\n" +
			"budgets: [{key: b, currency: EUR, limit: 1}]\n")},
		"m.csv": {Data: []byte("model,unit\nlarge,1\n")},
	}
	const row = `{"id":"x","subscriptions":[{"plan":"p","from":"2026-01-01"`
	c, err := ReadAccounts(fsys, "more.jsonl", []byte(row+"}]}\n"))
	if err != nil || len(c.Accounts) != 1 || len(c.Budgets) != 0 {
		t.Fatalf("accounts are %+v, %v", c, err)
	}
	const own = `,"overrides":{"a":{"matrix":"m.csv"}}}]}`
	_, err = ReadAccounts(fsys, "more.jsonl", []byte(row+own+"\n"))
	const want = `more.jsonl:1:87: matrix "m.csv" can't be named here`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
	inside, err := ReadCatalog(fsys)
	if err != nil || !reflect.DeepEqual(inside.Files, []string{"c.yaml", "m.csv"}) {
		t.Errorf("files are %v, %v", inside, err)
	}
}
