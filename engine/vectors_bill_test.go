package engine

import (
	"encoding/csv"
	"fmt"
	"testing"

	"billctl/engine/decimal"
)

// billing is an account with one subscription to a plan, and its usage. It bills as everybody is
// billed: its catalog and its events are entries, and the invoice is what the engine makes of them.
type billing struct {
	digits  int
	prices  []Price
	each    *RoundEach // of the meters
	usage   []billed
	coupons []Coupon
	rates   []TaxRate
	anchor  Anchor
	from    Micros // of the subscription; 0: October 2024
	to      Micros // and of the period that is billed
}

// billed is an event: how much of a meter, in which window of time.
type billed struct{ meter, window, value string }

// once is the usage of one event.
func once(value string) []billed { return []billed{{"usage", "", value}} }

// windows is one event in each window.
func windows(values []string) []billed {
	var list []billed
	for i, v := range values {
		list = append(list, billed{"usage", fmt.Sprint(i), v})
	}
	return list
}

// invoice returns the invoice of the period, without anything on it if there is nothing to bill.
func (b *billing) invoice(t *testing.T) *Invoice {
	t.Helper()
	if b.from == 0 {
		b.from, b.to = at(2024, 10, 1, 0, 0), at(2024, 11, 1, 0, 0)
	}
	e, fx, seq := New(0, 1, freshKeys{}), &Effects{}, Seq(0)
	for _, body := range []Body{
		&Genesis{}, &Rules{Ruleset}, &Source{Name: "usage", Dedupe: true}, b.change(), b.batch(),
		&Watermark{b.to + DefaultSettings.Grace},
	} {
		if batch, ok := body.(*Batch); ok && batch.Len == 0 {
			continue
		}
		entry := &Entry{Seq: seq + 1, At: b.to + DefaultSettings.Grace, Body: body}
		for more := e.Apply(entry, fx); more; {
			more = e.Resume(fx)
		}
		seq += entry.Seqs()
	}
	if len(fx.Refusals)+len(fx.Rejections) > 0 {
		t.Fatalf("refused: %v, rejected: %v", fx.Refusals, fx.Rejections)
	}
	for _, inv := range fx.Invoices {
		if inv.Start == b.from && inv.End == b.to && inv.Kind == PeriodInvoice {
			return inv
		}
	}
	return &Invoice{}
}

func (b *billing) change() *Change {
	c := &Change{
		Plans: []Plan{{
			Key: "plan", Version: 1, Currency: "XTS", Digits: b.digits, Interval: Month,
			Anchor: b.anchor, Prices: b.prices,
		}},
		Accounts: []AccountChange{{
			ID: "acme", Zone: "UTC", Attach: []Ownership{{"acme", "acme", Past, Future}},
			Subscriptions: []Subscription{{Key: "main", Plan: "plan", From: b.from, To: b.to}},
		}},
		Coupons: b.coupons,
	}
	seen := map[string]bool{"": true}
	for _, p := range b.prices {
		if !seen[p.Meter] {
			c.Meters = append(c.Meters, Meter{
				Key: p.Meter, Event: p.Meter, Aggregate: Total, Value: "data.n", RoundEach: b.each,
				GroupBy: []Dimension{{"window", "data.window"}},
			})
		}
		seen[p.Meter] = true
	}
	if b.rates != nil {
		c.Taxes = []AccountTaxes{{Account: "acme", Rates: b.rates}}
	}
	return c
}

func (b *billing) batch() *Batch {
	rows := len(b.usage)
	out := emptyBatch(rows)
	out.Origin.Source = "usage"
	out.Origin.Partition.Values, out.Origin.Resume = []string{"file"}, []int64{1}
	out.Source.Values, out.Subject.Values = []string{"app"}, []string{"acme"}
	window := Column{Path: "data.window", Kind: TextColumn, Text: Dict{nil, make([]uint32, rows)}}
	number := Column{Path: "data.n", Kind: NumberColumn}
	for i, u := range b.usage {
		out.Source.Index[i], out.Subject.Index[i], out.Origin.Partition.Index[i] = 0, 0, 0
		out.Type.Index[i] = indexOf(&out.Type.Values, u.meter)
		window.Text.Index[i] = indexOf(&window.Text.Values, u.window)
		number.Numbers = append(number.Numbers, dec(u.value))
		number.Present.Set(i)
		out.Time[i], out.Digest[i] = b.from+Micros(i), uint64(i)
		out.ID.Bytes = fmt.Append(out.ID.Bytes, i)
		out.ID.End[i] = uint32(len(out.ID.Bytes))
	}
	out.Props = []Column{number, window}
	return out
}

func indexOf(values *[]string, s string) uint32 {
	for i, v := range *values {
		if v == s {
			return uint32(i)
		}
	}
	*values = append(*values, s)
	return uint32(len(*values) - 1)
}

// cost is what the lines come to: exactly, or rounded where a definition says to how many digits.
func (b *billing) cost(t *testing.T, scale *int) decimal.Rat {
	t.Helper()
	b.digits = maxDigits
	if scale != nil {
		b.digits = *scale
	}
	sum := decimal.Rat{}
	for _, l := range b.invoice(t).Lines {
		if scale == nil {
			sum = sum.Add(l.Exact)
		} else {
			sum = sum.Add(l.Amount.Rat(b.digits))
		}
	}
	return sum
}

// TestCloudBills: a provider's list cost is its quantity by its list price, rounded half away from
// zero to the 10 decimals that it prints. Every line of AWS that has a quantity and a list price is
// a line of ours.
func TestCloudBills(t *testing.T) {
	const digits = 10
	rows, err := csv.NewReader(openData(t, focusPath)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[name] = i
	}
	meter := &Meter{Key: "usage", Aggregate: Total}
	priced, agreed, skipped := 0, 0, 0
	for _, row := range rows[1:] {
		get := func(name string) string { return row[column[name]] }
		if get("ProviderName") != "AWS" {
			continue
		}
		q, unit := get("PricingQuantity"), get("ListUnitPrice")
		if missing(q) || missing(unit) {
			skipped++
			continue
		}
		priced++
		p := Price{Key: "list", Model: Unit, Meter: "usage", Unit: dec(unit)}
		var got decimal.Amount
		for _, l := range EvalPrice(&p, meter, []Usage{use(meter, "", 1, q)}, digits, decimal.HalfAway) {
			got = got.Add(l.Amount)
		}
		cost := dec(get("ListCost")).Rat().Round(digits, decimal.HalfAway)
		if got != cost {
			t.Errorf("%s × %s is %s, the bill says %s", q, unit, got.Text(digits), cost.Text(digits))
			continue
		}
		agreed++
	}
	if agreed == 0 || agreed != priced {
		t.Errorf("%d of %d lines with a quantity and a list price agree", agreed, priced)
	}
	t.Logf("%d of %d lines agree, %d have no quantity or no list price", agreed, priced, skipped)
}

// missing reports whether a column of a cloud bill says nothing.
func missing(s string) bool { return s == "" || s == "NULL" }
