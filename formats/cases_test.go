package formats

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"billctl/engine"
)

const casesCatalog = `
meters:
  - {key: calls, event: call, aggregate: count, group_by: {b.c: data.b, a: data.a}}
  - {key: bw, event: net, aggregate: percentile, value: data.v, percentile: 95, window: 5m, of: avg}
plans:
  - {key: m, currency: EUR, prices: [{key: c, meter: calls, model: unit, unit: "1"}]}
  - {key: m15, currency: EUR, anchor: 15, prices: [{key: c, meter: calls, model: unit, unit: "1"}]}
  - {key: s, currency: EUR, anchor: start, prices: [{key: c, meter: calls, model: unit, unit: "1"}]}
  - {key: w, currency: EUR, period: week, prices: [{key: c, meter: calls, model: unit, unit: "1"}]}
  - {key: d, currency: EUR, period: day, prices: [{key: c, meter: calls, model: unit, unit: "1"}]}
  - key: q
    currency: EUR
    period: quarter
    prices: [{key: c, meter: calls, model: unit, unit: "1"}]
`

func readCases(cases string) ([]*Case, error) {
	return ReadCases(fstest.MapFS{
		"plans.yaml":       {Data: []byte(casesCatalog)},
		"a/x.test.yaml":    {Data: []byte("cases:\n" + cases)},
		".b/x.test.yaml":   {Data: []byte("nothing of ours")},
		"c/empty.test.yml": {Data: []byte("# no case\n")},
	})
}

// TestCasePeriod says which period a case is about.
func TestCasePeriod(t *testing.T) {
	for _, c := range [][2]string{
		{"plan: m, period: 2026-03", "2026-03-01 2026-04-01"},
		{"plan: m, period: 2026-03-31", "2026-03-01 2026-04-01"},
		{"plan: m, from: 2026-03-10", "2026-03-10 2026-04-01"},
		{"plan: m, from: 2026-03-10, period: 2026-03", "2026-03-10 2026-04-01"},
		{"plan: m, from: 2026-03-10, period: 2026-03-01", "2026-03-10 2026-04-01"},
		{"plan: m, from: 2026-01-01, to: 2026-03-10, period: 2026-03", "2026-03-01 2026-03-10"},
		{"plan: m15, period: 2026-03", "2026-03-15 2026-04-15"},
		{"plan: m15, period: 2026-03-14", "2026-02-15 2026-03-15"},
		{"plan: m15, from: 2026-03-20, period: 2026-03", "2026-03-20 2026-04-15"},
		{"plan: s, from: 2026-01-31, period: 2026-02", "2026-02-28 2026-03-31"},
		{"plan: s, period: 2026-02", "2026-02-01 2026-03-01"},
		{"plan: w, period: 2026-03", "2026-03-02 2026-03-09"},
		{"plan: w, period: 2026-03-01", "2026-02-23 2026-03-02"},
		{"plan: d, period: 2026-03-29", "2026-03-29 2026-03-30"},
		{"plan: q, period: 2026-03", "2026-01-01 2026-04-01"},
		{"plan: q, period: 2026-04", "2026-04-01 2026-07-01"},
		{"plan: m, from: 2026-03-01, trial_until: 2026-03-15", "2026-03-01 2026-03-15"},
		{"plan: m, from: 2026-03-01, trial_until: 2026-03-15, period: 2026-03-15",
			"2026-03-15 2026-04-01"},
		{"plan: m, from: 2026-03-01, trial_until: 2026-05-15, period: 2026-04", "2026-04-01 2026-05-01"},
	} {
		text, want := c[0], c[1]
		list, err := readCases("  - {name: x, " + text + ", expect: {total: 1}}\n")
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %v", text, err)
			continue
		}
		c := list[0]
		got := engine.DayOf(c.Start).String() + " " + engine.DayOf(c.End).String()
		if got != want || len(c.Catalog.Accounts) != 1 || c.Catalog.Accounts[0].ID != c.Account ||
			c.File != "a/x.test.yaml" || c.Line != 2 {
			t.Errorf("%s: %s, want %s; %+v", text, got, want, c.Catalog.Accounts)
		}
	}
}

// TestCaseZone holds dates of a case to midnights of its time zone.
func TestCaseZone(t *testing.T) {
	list, err := readCases(`  - {name: x, plan: m, period: 2026-04, timezone: Europe/Berlin,
     usage: [{type: call, time: 2026-04-02}, {type: call}], expect: {total: 1}}
`)
	if err != nil {
		t.Fatal(err)
	}
	c := list[0]
	for got, want := range map[engine.Micros]string{
		c.Start: "2026-03-31T22:00:00Z", c.End: "2026-04-30T22:00:00Z",
		c.Events[0].Time: "2026-04-01T22:00:00Z",
		c.Catalog.Accounts[0].Subscriptions[0].From: "2026-03-31T22:00:00Z",
	} {
		if got.String() != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if c.Events[1].Time != c.Start {
		t.Errorf("an event without a time is at %s", c.Events[1].Time)
	}
}

// TestCaseEvents compares usage with the lines that it becomes.
func TestCaseEvents(t *testing.T) {
	list, err := readCases(`  - name: events
    plan: m
    period: 2026-03
    usage:
      - {type: call, data: {n: 1.50, t: "1", f: true, z: 0x1, l: [a, {"b\"": 1e3}], e: , s: a b}}
    expect: {lines: [{price: c, quantity: 4/3, group: {b.c: , a: 5.0}}]}
  - name: totals
    plan: m
    period: 2026-03
    usage: {calls: [{group: {b.c: x}, quantity: 1000000}, 5], bw: 7}
    expect: {total: 1}
`)
	if err != nil {
		t.Fatal(err)
	}
	const head = `{"specversion":"1.0","source":"case","id":"i","type":"`
	const tail = `","subject":"case","time":"2026-03-01T00:00:00Z","data":`
	want := []string{
		"call" + tail + `{"n":1.50,"t":"1","f":true,"z":"0x1","l":["a",{"b\"":1e3}],"e":null,"s":"a b"}`,
		"total of calls" + tail + `{"quantity":1000000,"group":{"1":"x"}}`,
		"total of calls" + tail + `{"quantity":5,"group":{}}`,
		"total of bw" + tail + `{"quantity":7,"group":{}}`,
	}
	events := append(list[0].Events, list[1].Events...)
	for i := range events {
		if got := string(events[i].Append(nil, "i")); got != head+want[i]+"}\n" {
			t.Errorf("event %d is %s", i, got)
		}
	}
	m := list[1].Catalog.meterByKey("calls")
	if m.Aggregate != engine.Total || m.Event != "total of calls" ||
		m.GroupBy[1] != (engine.Dimension{Name: "b.c", Path: "data.group.1"}) {
		t.Errorf("meter of totals: %+v", m)
	}
	for i := range list[1].Catalog.Meters {
		if err := list[1].Catalog.Meters[i].Validate(); err != nil {
			t.Error(err)
		}
	}
	if m := list[0].Catalog.meterByKey("calls"); m.Aggregate != engine.Count || m.Event != "call" {
		t.Errorf("meter of events: %+v", m)
	}
	l := list[0].Expect.Lines[0]
	if l.Quantity.String() != "4/3" || l.Amount != nil || len(l.Group) != 2 ||
		l.Group[0].Value != "5" || !l.Group[1].Absent {
		t.Errorf("line: %+v", l)
	}
}

func TestCaseFaults(t *testing.T) {
	const ok = ", expect: {total: 1}"
	for _, c := range [][2]string{
		{"plan: m" + ok, "2:5: case \"x\" needs period or from"},
		{"plan: n, period: 2026-03" + ok, "2:21: there is no plan \"n\""},
		{"plan: m, period: 2026-3" + ok, "2:32: period \"2026-3\" is neither"},
		{"plan: m, period: 2026-03", "2:5: case \"x\" needs expect"},
		{"plan: m, period: 2026-03, expect: {}", "2:49: expect says nothing"},
		{"plan: m, period: 2026-03, expect: {lines: 5}", "2:57: lines must be a list"},
		{"plan: m, period: 2026-03, zone: UTC" + ok, "2:41: a case has no key \"zone\""},
		{"plan: m, period: 2026-03, document: x" + ok, "2:51: document \"x\" is not known"},
		{"plan: m, period: 2026-03, usage: 5" + ok, "2:48: usage must be a list or a mapping"},
		{"plan: m, period: 2026-03, usage: {x: 1}" + ok, "2:49: there is no meter \"x\""},
		{"plan: m, period: 2026-03, usage: {bw: x}" + ok, "2:53: quantity \"x\" is not a decimal"},
		{"plan: m, period: 2026-03, usage: {calls: {group: {x: 1}, quantity: 1}}" + ok,
			"2:65: meter calls has"},
		{"plan: m, period: 2026-03, usage: [{time: 1}]" + ok, "2:49: an event needs type"},
		{"plan: m, period: 2026-03, usage: [{type: a, count: 100001}]" + ok, "2:66: count"},
		{"plan: m, period: 2026-03, usage: [{type: a, count: 60000}, {type: a, count: 60000}]" + ok,
			"2:48: the " +
				"usage has more than 100000 events"},
		{"plan: m, period: 2026-03, credits: [{amount: 0}]" + ok, "2:60: amount \"0\" is not money"},
		{"plan: m, from: 2026-03-10, period: 2026-02" + ok, "2:50: the subscription begins"},
		{"plan: m, from: 2026-03-10, period: 2026-02-28" + ok, "2:50: the subscription begins"},
		{"plan: m, from: 2026-01-10, to: 2026-02-01, period: 2026-02" + ok,
			"2:66: the subscription ends"},
		{"plan: m, period: 2026-03, coupons: [{id: a}]" + ok, "2:51: coupon a needs amount"},
		{"plan: m, period: 2026-03, taxes: [{rates: []}]" + ok, "2:49: a set of taxes needs from"},
		{"plan: m, period: 2026-03, overrides: {d: {unit: 1}}" + ok, "2:53: plan m has no price \"d\""},
		{"plan: m, period: 2026-03, expect: {lines: [], some_lines: []}", "2:61: lines and some_lines"},
		{"plan: m, period: 2026-03, expect: {lines: [{price: c, quantity: 1/0}]}",
			"2:79: quantity \"1/0\" is not"},
	} {
		text, want := c[0], c[1]
		_, err := readCases("  - {name: x, " + text + "}\n")
		var faults Faults
		if !errors.As(err, &faults) || !strings.HasPrefix(faults[0].Error(), "a/x.test.yaml:"+want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestCasesAreNoCatalog holds the catalog to pass over cases, even broken ones.
func TestCasesAreNoCatalog(t *testing.T) {
	c, err := ReadCatalog(fstest.MapFS{
		"plans.yaml": {Data: []byte(casesCatalog)}, "x.test.yaml": {Data: []byte("}{")},
		"y/z.test.yml": {Data: []byte("cases: []")},
	})
	if err != nil || len(c.Files) != 1 {
		t.Errorf("%v, %v", c, err)
	}
}
