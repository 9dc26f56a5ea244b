package live

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
	"billctl/formats"
)

const casePlans = `
meters:
  - {key: tokens, event: tok, aggregate: sum, value: data.n, group_by: {model: data.model}}
  - {key: calls, event: tok, aggregate: count}
  - {key: seats, event: seats, aggregate: time_weighted, value: data.n}
  - {key: paid, event: pay, aggregate: sum, value: data.amount}
plans:
  - key: p
    currency: EUR
    prices:
      - {key: base, model: flat, amount: "31", prorate: true, timing: advance}
      - {key: tokens, meter: tokens, model: unit, unit: "0.5", per: [model]}
      - {key: calls, meter: calls, model: unit, unit: "0.01"}
      - {key: seats, meter: seats, model: unit, unit: "3"}
      - {key: fee, meter: paid, model: percentage, rate: "1.5", fixed: "0.25", free_events: 1}
`

// readCase reads one case of plan p, in March of Berlin.
func readCase(t *testing.T, more string) *formats.Case {
	t.Helper()
	list, err := formats.ReadCases(fstest.MapFS{
		"plans.yaml": {Data: []byte(casePlans)},
		"x.test.yaml": {Data: []byte("cases:\n  - name: x\n    plan: p\n    timezone: Europe/Berlin\n" +
			"    from: 2026-01-01\n    period: 2026-03\n" + more)},
	})
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %v", more, err)
	}
	return list[0]
}

// TestCaseIsRate compares the document of a case, byte by byte, with the one that Rate gives for
// the same usage in a file.
func TestCaseIsRate(t *testing.T) {
	const events = `    usage:
      - {type: tok, time: 2026-03-02, data: {model: large, n: 1.25}, count: 700}
      - {type: tok, time: 2026-03-03, data: {n: 3}}
      - {type: tok, time: 2026-02-03, data: {model: small, n: 3}}
      - {type: tok, time: 2026-04-01, data: {model: small, n: 3}}
      - {type: seats, time: 2026-02-10, data: {n: 8}}
      - {type: seats, time: 2026-03-20, data: {n: 11}}
      - {type: pay, time: 2026-03-20T12:00:00Z, data: {amount: 10}, count: 3}
      - {type: ping, rejected: unmatched}
      - {type: tok, rejected: bad_value}
    taxes: [{from: 2026-01-01, rates: [{percent: 19}]}]
    coupons: [{id: c, percent: 10, periods: 2, from: 2026-03-01}]
    expect: {total: 1}
`
	c := readCase(t, events)
	got, err := TestCase(c)
	if err != nil || len(got.Events) > 0 || got.Problem != "" || got.Invoice == nil || got.OK() {
		t.Fatalf("%+v, %v", got, err)
	}
	var lines []byte
	for i := len(c.Events) - 1; i >= 0; i-- { // order does not matter
		for n := range c.Events[i].Count {
			lines = c.Events[i].Append(lines, fmt.Sprint(i, n))
		}
	}
	name := filepath.Join(t.TempDir(), "usage.ndjson")
	if err := os.WriteFile(name, lines, 0o600); err != nil {
		t.Fatal(err)
	}
	var want []byte
	_, err = Rate(context.Background(), RateOptions{
		Files: []string{name}, Catalog: c.Catalog, CloseAt: c.End, Now: c.End,
		Emit: func(inv *engine.Invoice) error {
			if inv.Start == c.Start && inv.Kind == engine.PeriodInvoice {
				want = formats.AppendInvoice(nil, inv)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if doc := formats.AppendInvoice(nil, got.Invoice); !bytes.Equal(doc, want) {
		t.Errorf("the case gives\n%s\nRate gives\n%s", doc, want)
	}
	if n := len(got.Invoice.Lines); n != 6 {
		t.Errorf("%d lines, want 6", n)
	}
}

// TestCaseCompares shows what a case finds and what it lets pass.
func TestCaseCompares(t *testing.T) {
	const usage = "    usage: {tokens: [{group: {model: a}, quantity: 4}, " +
		"{group: {model: b}, quantity: 6}, 2]}\n"
	for _, x := range []struct {
		expect string
		want   string // of every line, then of every sum: "=" the same, "-" missing, "+" more, "~" other
	}{
		{"{total: 37}", "="},
		{"{total: 37, subtotal: \"37.00\", credits: 0, coupons: 0, taxes: 0}", "====="},
		{"{total: \"37.001\"}", "~"},
		{"{lines: [{price: tokens}, {price: tokens}, {price: tokens}, {price: base}]}", "===="},
		{"{lines: [{price: tokens, amount: 3}, {price: tokens, amount: 1}, {price: tokens}, " +
			"{price: base}]}", "===="},
		{"{lines: [{price: tokens, group: {model: }, amount: 1}, {price: base, quantity: 0}]}", "=++="},
		{"{lines: [{price: tokens, group: {model: a}, amount: 3}]}", "+~++"},
		{"{some_lines: [{price: tokens, group: {model: b}, quantity: 6}]}", "===="},
		{"{some_lines: [{price: tokens, group: {model: c}}]}", "====-"},
		{"{some_lines: [{price: tokens, group: {model: b}}, " +
			"{price: tokens, group: {model: b}}]}", "====-"},
		{"{lines: []}", "++++"},
	} {
		r, err := TestCase(readCase(t, usage+"    expect: "+x.expect+"\n"))
		if err != nil || r.Problem != "" || len(r.Events) > 0 {
			t.Errorf("%s: %+v, %v", x.expect, r, err)
			continue
		}
		got := ""
		for _, l := range r.Lines {
			switch {
			case l.Same:
				got += "="
			case l.Got == nil:
				got += "-"
			case l.Want == nil:
				got += "+"
			default:
				got += "~"
			}
		}
		for _, s := range r.Sums {
			got += map[bool]string{true: "=", false: "~"}[s.Want.Cmp(s.Got) == 0]
		}
		if got != x.want || r.OK() != (strings.Trim(x.want, "=") == "") {
			t.Errorf("%s: %s, want %s; ok %v", x.expect, got, x.want, r.OK())
		}
	}
}

// TestCaseRows holds rows of one event that are judged alike to one finding, over many batches.
func TestCaseRows(t *testing.T) {
	c := readCase(t, `    usage:
      - {type: tok, data: {n: 1}, count: 70000}
      - {type: tok, data: {n: x}, count: 20}
      - {type: tok, data: {n: 1}, rejected: unmatched}
    expect: {some_lines: [{price: tokens, quantity: 70001}]}
`)
	r, err := TestCase(c)
	if err != nil || len(r.Events) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if e := r.Events[0]; e.Event != &c.Events[1] || e.Rows != 20 || e.Reason != engine.ReasonBadValue {
		t.Errorf("first: %+v", e)
	}
	if e := r.Events[1]; e.Event != &c.Events[2] || e.Rows != 1 || e.Reason != engine.Accepted {
		t.Errorf("second: %+v", e)
	}
	for _, l := range r.Lines {
		if !l.Same {
			t.Errorf("line %+v", l.Got)
		}
	}
}
