package formats

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/engine/decimal"
)

const pricedCatalog = `
currencies: [{code: TOK, digits: 6}]
meters:
  - {key: band, event: net, aggregate: percentile, value: data.mbps, percentile: 95,
     window: 5m, of: avg, group_by: {host: data.host}}
  - {key: disk, event: disk, aggregate: time_weighted, value: data.gb, time_unit: hour}
  - {key: mins, event: call, aggregate: sum, value: data.seconds, round_each: {to: 60, round: up}}
  - {key: peak, event: seats, aggregate: max, value: data.n, correctable: true}
  - {key: pays, event: pay, aggregate: sum, value: data.amount,
     group_by: {card: data.card, at: data.at}}
  - {key: pings, event: ping, aggregate: sum, constant: 5}
  - {key: users, event: login, aggregate: unique, value: data.user}
plans:
  - key: pro
    currency: EUR
    period: week
    anchor: tuesday
    prices:
      - {key: fee, model: percentage, meter: pays, rate: "1.2", fixed: "0.30", free_events: 3}
      - {key: seat, model: stairstep, meter: users, tiers: [{up_to: 10, flat: 50}, {flat: 90}]}
      - {key: dy, model: dynamic, meter: mins, multiplier: "1.2"}
      - {key: use, model: unit, meter: disk, unit: "0.01",
         commitment: {amount: 100, overage: "1.5"}}
  - {key: tok, currency: TOK, prices: [{key: use, model: unit, meter: pings, unit: 1}]}
accounts:
  - id: acme
    timezone: Europe/Berlin
    subscriptions: [{plan: pro, from: 2026-01-01, trial_until: 2026-01-15}]
  - {id: beta, subscriptions: [{plan: pro, from: 2026-01-01}, {key: old, plan: pro,
     from: 2026-01-01, to: 2026-02-01}]}
  - {id: tick, subscriptions: [{plan: tok, from: 2026-01-01}]}
`

// TestDiffOfPricing wants words for every new kind of meter, plan and subscription.
func TestDiffOfPricing(t *testing.T) {
	d := newJournal(t, testNow).take(parse(t, pricedCatalog))
	wantWords(t, d, "meter band is new: percentile 95 of the avg of each 5m of data.mbps of events "+
		`net by host
meter disk is new: time_weighted of data.gb per hour of events disk
meter mins is new: sum of data.seconds, each rounded up to a multiple of 60, of events call
meter pays is new: sum of data.amount of events pay by at, card
meter peak is new: max of data.n of events seats, correctable
meter pings is new: sum of the constant 5 of events ping
meter users is new: unique values of data.user of events login
plan pro is new: EUR, 4 prices, periods of a week, anchor tuesday
plan tok is new: TOK, 1 price
account acme is new (Europe/Berlin), owns subject acme
account acme subscribes to plan pro from 2026-01-01, free until 2026-01-15
account beta is new (UTC), owns subject beta
account beta subscribes to plan pro from 2026-01-01
account beta subscribes to plan pro as old from 2026-01-01 to 2026-02-01
account tick is new (UTC), owns subject tick
account tick subscribes to plan tok from 2026-01-01`)
}

// pricingChanges change pricedCatalog: words or a fault come of it.
func pricingChanges() []catalogChange {
	version2 := `  - {key: pro, version: 2, effective: 2026-12-01, currency: EUR, period: week,
     anchor: tuesday, prices: [
       {key: fee, model: percentage, meter: pays, rate: "1.4", max_per_event: 5},
       {key: dy, model: dynamic, meter: mins, discount: {amount: 2}},
       {key: use, model: unit, meter: disk, unit: "0.01", commitment: {amount: 200}},
       {key: cards, model: unit, meter: pays, matrix: m.csv}]}
accounts:`
	return []catalogChange{
		{"new version", "accounts:", version2, "plan pro gets version 2 from 2026-12-01: fee rate " +
			"1.2 -> 1.4, fee fixed 0.3 -> none, fee free_events 3 -> none, fee max_per_event none -> 5, " +
			"dy multiplier 1.2 -> 1, dy discount amount none -> 2, use commitment 100 (beyond it * 1.5) " +
			"-> 200 (beyond it * 1), price cards is new, price seat is gone; 2 subscriptions move to it"},
		{"other periods", "accounts:", strings.Replace(version2, "anchor: tuesday", "anchor: friday", 1),
			"use another plan key for other periods"},
		{"meter changed", "percentile: 95", "percentile: 99",
			"c.yaml:4:11: meter band differs from the journal: percentile 95 -> 99"},
		{"window changed", "window: 5m", "window: 1h",
			"c.yaml:4:11: meter band differs from the journal: window 5m -> 1h"},
		{"trial changed", "until: 2026-01-15", "until: 2026-02-15",
			"subscription main of account acme differs from the journal: trial_until 2026-01-15 -> " +
				"2026-02-15"},
		{"coupons", "2026-01-15}]", "2026-01-15}]\n    coupons: [{id: c, percent: 20, periods: 3, " +
			"subscription: main, from: 2026-12-01}, {id: gift, amount: 10, currency: EUR, periods: 1}, " +
			"{id: x, percent: 5}]",
			"account acme gets coupon c: 20 % off every line, for the first 3 periods from 2026-12-01 on " +
				"of subscription main\naccount acme gets coupon gift: up to 10 EUR off each invoice, for " +
				"the first period from 2026-01-01 on of each subscription\naccount acme gets coupon x: 5 % " +
				"off every line, for all periods from 2026-01-01 on of each subscription"},
		{"taxes", "2026-01-15}]", "2026-01-15}]\n    taxes: [{from: 2026-01-01, rates: [{percent: 19}, " +
			"{code: books, percent: 7}]}, {from: 2027-01-01, round: invoice, rates: [{percent: 20}]}, " +
			"{from: 2028-01-01, rates: []}]",
			"periods of account acme that start on 2026-01-01 or later have taxes: 19 %, 7 % on books, " +
				"rounded by line\nperiods of account acme that start on 2027-01-01 or later have taxes: " +
				"20 %, rounded by invoice\nperiods of account acme that start on 2028-01-01 or later have " +
				"taxes: none"},
		{"budgets", "accounts:", "budgets: [{key: spend, plan: pro, currency: EUR, limit: 1000, " +
			"at: [100, 50]}, {key: cap, meter: pays, account: beta, limit: 500}, {key: void, limit: 0}, " +
			"{key: tok, currency: TOK, account: acme, limit: 5}]\naccounts:",
			"budget cap is new: 500 of meter pays in a period, told at 100 %; it watches 1 subscription " +
				"of the catalog\nbudget spend is new: 1000 EUR in a period, told at 50, 100 %; it watches " +
				"2 subscriptions of the catalog\nbudget tok is new: 5 TOK in a period, told at 100 %; it " +
				"watches no subscription of the catalog"},
	}
}

func TestDiffOfPricingChanges(t *testing.T) {
	for _, c := range pricingChanges() {
		t.Run(c.name, func(t *testing.T) {
			checkChange(t, pricedCatalog, c, fstest.MapFS{
				"m.csv": {Data: []byte("card,unit\nvisa,0.01\n")},
			})
		})
	}
}

// termsBase has what never changes, or changes in words of its own.
const termsBase = pricedCatalog + `    coupons: [{id: c, percent: 20, periods: 3},
      {percent: 1, id: until, from: 2026-05-01}]
    taxes: [{from: 2027-01-01, rates: [{percent: 19}]}]
budgets: [{key: spend, currency: TOK, limit: 1000, at: [50, 100]}]
`

func TestDiffOfTerms(t *testing.T) {
	base := strings.Replace(termsBase,
		"  - {id: tick, subscriptions: [{plan: tok, from: 2026-01-01}]}",
		"  - id: tick\n    subscriptions: [{plan: tok, from: 2026-01-01}]", 1)
	for _, c := range []catalogChange{
		{"coupon changed", "percent: 20, periods: 3", "percent: 25, periods: 2",
			"coupon c of account tick differs from the journal: percent 20 -> 25; periods 3 -> 2"},
		{"coupon with the from that it has", "periods: 3", "periods: 3, from: 2026-01-01", ""},
		{"coupon with another from", "periods: 3", "periods: 3, from: 2026-12-01",
			"coupon c of account tick differs from the journal: from 2026-01-01 -> 2026-12-01"},
		{"coupon to a percentage and an amount", "percent: 20", "amount: 5, currency: TOK",
			"percent 20 -> none; amount none -> 5; currency none -> TOK"},
		{"coupon left out", "{id: c, percent: 20, periods: 3},\n", "\n", ""},
		{"coupon without the from that it has", "until, from: 2026-05-01}", "until}", ""},
		{"taxes changed", "percent: 19", "percent: 20", "periods of account tick that start on " +
			"2027-01-01 or later have taxes: 20 %, rounded by line instead of 19 %, rounded by line"},
		{"taxes left out", "    taxes: [{from: 2027-01-01, rates: [{percent: 19}]}]\n", "", ""},
		{"budget changed", "limit: 1000, at: [50, 100]", "limit: 2000",
			"budget spend changes: limit 1000 -> 2000, at 50, 100 % -> 100 %; it watches 1 subscription " +
				"of the catalog"},
		{"budget ended", "limit: 1000, at: [50, 100]", "limit: 0", "budget spend ends"},
		{"budget left out", "budgets: [{key: spend, currency: TOK, limit: 1000, at: [50, 100]}]\n",
			"", ""},
	} {
		t.Run(c.name, func(t *testing.T) { checkChange(t, base, c, fstest.MapFS{}) })
	}
}

// checkChange journals a catalog, then a changed one: either words or faults come of it.
func checkChange(t *testing.T, base string, c catalogChange, files fstest.MapFS) {
	t.Helper()
	changed := strings.Replace(base, c.old, c.new, 1)
	if changed == base {
		t.Fatal("the change has no place in the catalog")
	}
	j := newJournal(t, testNow)
	j.take(parse(t, base))
	files["c.yaml"] = &fstest.MapFile{Data: []byte(changed)}
	catalog, err := ReadCatalog(files)
	if err == nil {
		_, err = Diff(j.view(), catalog, j.at)
	}
	if err == nil {
		wantWords(t, j.take(catalog), c.want)
		return
	}
	var faults Faults
	said := err.Error()
	if errors.As(err, &faults) {
		said += "\n" + faults[0].Hint
	}
	if c.want == "" || !strings.Contains(said, c.want) {
		t.Errorf("error is\n%s\nwant\n%s", said, c.want)
	}
}

// TestNextVersionAlone has a version whose predecessor only the journal has: they must agree.
func TestNextVersionAlone(t *testing.T) {
	const plan = `
currencies: [{code: TOK, digits: %DIGITS}]
meters: [{key: calls, event: call, aggregate: count}]
plans:
  - {key: pro, %MORE, prices: [{key: use, meter: calls, model: unit, unit: 1}]}
`
	text := func(digits, more string) string {
		return strings.NewReplacer("%DIGITS", digits, "%MORE", more).Replace(plan)
	}
	const second = "version: 2, effective: 2026-12-01, "
	for _, c := range []struct{ digits, more, want string }{
		{"6", second + "currency: TOK, period: week, anchor: friday",
			"c.yaml:5:88: plan pro has periods of a quarter in the journal, not periods of a week, " +
				"anchor friday"},
		{"6", second + "currency: TOK, period: quarter, anchor: start",
			"c.yaml:5:91: plan pro has periods of a quarter in the journal, not periods of a quarter, " +
				"anchor start"},
		{"6", second + "currency: TOK, period: quarter, anchor: 15",
			"c.yaml:5:91: plan pro has periods of a quarter in the journal, not periods of a quarter, " +
				"anchor 15"},
		{"8", second + "currency: TOK, period: quarter",
			"c.yaml:5:61: TOK has 6 digits in the journal, not 8"},
		{"6", second + "currency: EUR, period: quarter",
			"c.yaml:5:61: plan pro is in TOK in the journal"},
	} {
		j := newJournal(t, testNow)
		j.take(parse(t, text("6", "currency: TOK, period: quarter")))
		_, err := Diff(j.view(), parse(t, text(c.digits, c.more)), j.at)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: error is\n%v\nwant\n%s", c.more, err, c.want)
		}
	}
}

// TestSplitTerms wants coupons and taxes in the change that has their account, and in the last one
// where the account itself does not change; budgets are in the last.
func TestSplitTerms(t *testing.T) {
	d := &Difference{}
	for _, id := range []string{"a", "b", "c"} {
		d.Change.Accounts = append(d.Change.Accounts, engine.AccountChange{ID: id})
	}
	for _, id := range []string{"a", "b", "old"} {
		d.Change.Coupons = append(d.Change.Coupons, engine.Coupon{ID: "x", Account: id})
		d.Change.Taxes = append(d.Change.Taxes, engine.AccountTaxes{Account: id})
	}
	d.Change.Budgets = []engine.Budget{{Key: "spend"}}
	changes := d.Split(1)
	var got []string
	for _, c := range changes {
		line := "accounts"
		for _, a := range c.Accounts {
			line += " " + a.ID
		}
		for i := range c.Coupons {
			line += " " + c.Coupons[i].Account + c.Taxes[i].Account
		}
		for _, b := range c.Budgets {
			line += " " + b.Key
		}
		got = append(got, line)
	}
	const want = "accounts a aa; accounts b bb; accounts c oldold spend"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("changes are %s, want %s", text, want)
	}
	alone := (&Difference{Change: engine.Change{Coupons: d.Change.Coupons}}).Split(1)
	if len(alone) != 1 || len(alone[0].Coupons) != 3 {
		t.Errorf("coupons alone are in %d changes", len(alone))
	}
}

// TestMatrixWords wants a matrix that changes much to be counted, not listed.
func TestMatrixWords(t *testing.T) {
	matrix := func(units ...string) *engine.Matrix {
		m := &engine.Matrix{Dims: []string{"a", "b"}}
		for i, u := range units {
			if u == "" {
				continue
			}
			d, err := decimal.Parse(u)
			if err != nil {
				t.Fatal(err)
			}
			m.Rows = append(m.Rows, engine.MatrixRow{
				Values: []string{"x", string(rune('a' + i))}, Unit: d,
			})
		}
		return m
	}
	for _, c := range []struct {
		old, now *engine.Matrix
		want     string
	}{
		{matrix("1", "2", "", "4"), matrix("1", "3", "5"),
			"matrix x/b 2 -> 3; matrix x/c is new; matrix x/d is gone"},
		{nil, matrix("1"), "matrix none -> 1 row by a, b"},
		{matrix("1", "1", "1", "1", "1", "1", "1", "1", "1", "1", ""),
			matrix("", "2", "2", "2", "2", "2", "2", "2", "2", "2", "2"),
			"matrix: of 10 rows 9 change, 1 is new, 1 is gone"},
		{matrix("1"), matrix("1"), ""},
	} {
		var w wordList
		w.matrix(c.old, c.now)
		if got := strings.Join(w, "; "); got != c.want {
			t.Errorf("words are %s, want %s", got, c.want)
		}
	}
}
