package tui

import (
	"fmt"
	"strings"
	"testing"
)

// Answers of a made-up account, as docs/formats/api.md describes them.

const testPosition = `"position": {"journal": "00", "seq": 4711, "at": "2026-09-17T08:00:00Z",
	"watermark": "2026-09-17T07:55:00Z", "status": "live"}`

func testLine(price, model, group, quantity, unit, amount, more string) string {
	return fmt.Sprintf(`{"price": %q, "model": %q, "meter": "m_%s", "unit": %q, "group": [%s],
		"from": "2026-08-31T22:00:00Z", "to": "2026-09-30T22:00:00Z", "quantity": %q,
		"billable": %q, "tiers": [{"tier": 1, "quantity": "1000", "amount": "2.5"}],
		"rated": %q%s, "exact": %q, "amount": %q}`,
		price, model, price, unit, group, quantity, quantity, amount, more, amount, amount)
}

func testDocument(lines, more, total string) string {
	return fmt.Sprintf(`{"schema": "billctl.invoice.v1", "key": "acme/main/2026-09-01/period",
		"kind": "period", "account": "acme", "account_name": "ACME 株式会社 🚀\u001b[31m GmbH",
		"subscription": "main", "plan": "pro", "version": 2, "currency": "EUR",
		"period": {"start": "2026-08-31T22:00:00Z", "end": "2026-09-30T22:00:00Z",
		"zone": "Europe/Berlin", "start_date": "2026-09-01"}, "lines": [%s],
		"adjustments": [{"price": "output", "group": [{"dimension": "model", "value": null}],
		"period": {"start": "2026-07-31T22:00:00Z", "end": "2026-08-31T22:00:00Z",
		"start_date": "2026-08-01"}, "quantity": "120", "rated": "3.40", "booked": "3.10",
		"amount": "0.30"}],
		"coupons": [{"id": "spring", "amount": "5.00"}], "subtotal": "1214.77",
		"credits": [{"id": "welcome", "amount": "10.00"}],
		"taxes": [{"code": "", "percent": "19", "base": "1204.77", "amount": "228.91"}]%s,
		"total": %q}`, lines, more, total)
}

func testAccount() string {
	large := testLine("output", "graduated", `{"dimension": "model", "value": "large"}`,
		"1234567.5", "token", "812.04", `, "discount": "10"`)
	wide := testLine("output", "graduated", `{"dimension": "model", "value": "大きい\u001b[2J"}`,
		"703/3", "token", "0.47", "")
	base := testLine("base", "flat", "", "", "", "29.00", "")
	min := testLine("support", "unit", "", "3", "call", "373.26", `, "bound": "minimum"`)
	low := testLine("support", "unit", "", "3", "call", "1.50", "")
	return `{"schema": "billctl.account.v1", ` + testPosition + `, "id": "acme",
		"name": "ACME 株式会社 🚀\u001b[31m GmbH", "timezone": "Europe/Berlin", "automatic": false,
		"subjects": [{"subject": "acme-prod", "from": null, "to": null},
			{"subject": "acme-dev", "from": "2026-01-01T00:00:00Z", "to": null}],
		"subscriptions": [{"key": "main", "plan": "pro", "pin": 2, "from": "2026-01-01T00:00:00Z",
			"to": null, "trial_until": "2026-01-15T00:00:00Z"}, {"key": "storage", "plan": "disk",
			"from": "2026-03-01T00:00:00Z", "to": "2026-12-31T00:00:00Z"}],
		"credits": [{"id": "welcome", "currency": "EUR", "left": "40.00",
			"expires": "2026-12-31T00:00:00Z", "priority": 2}],
		"balances": [{"currency": "EUR", "left": "40.00"}],
		"coupons": [{"id": "spring", "amount": "5", "currency": "EUR", "periods": 3,
			"from": "2026-08-31T22:00:00Z"}, {"id": "loyal", "percent": "2.5",
			"subscription": "main", "from": null}],
		"taxes": [{"from": "2026-01-01", "round": "line", "rates": [{"percent": "19"}]}],
		"periods": [{"subscription": "main", "plan": "pro", "version": 2, "terms": "ab",
			"currency": "EUR", "start": "2026-08-31T22:00:00Z", "end": "2026-09-30T22:00:00Z",
			"start_date": "2026-09-01", "rows": 123456,
			"usage": [{"meter": "tokens_out", "unit": "token", "aggregate": "sum",
				"group": {"model": "large", "region": null}, "rows": 120000,
				"quantity": "1234567.5"}],
			"so_far": ` + testDocument(large+","+wide+","+low, "", "1051.16") + `,
			"if_closed_now": ` + testDocument(base+","+large+","+wide+","+min, "", "1433.68") + `},
			{"subscription": "storage", "plan": "disk", "version": 1, "currency": "JPY",
			"start": "2026-09-16T00:00:00Z", "end": "2026-09-17T00:00:00Z",
			"start_date": "2026-09-16", "rows": 0, "usage": [], "so_far": null,
			"if_closed_now": null}],
		"pending_adjustments": [{"subscription": "main", "start_date": "2026-08-01",
			"price": "output", "group": {"model": "large"}, "rated": "77.10", "booked": "76.00",
			"amount": "1.10", "currency": "EUR"}]}`
}

func testAlerts() string {
	return `{"alerts": [
		{"key": "acme/main/2026-09-01/alert-spend-50", "seq": 900, "at": "2026-09-08T08:00:00Z",
		"account": "acme", "subscription": "main", "plan": "pro", "start_date": "2026-09-01",
		"budget": "spend", "percent": "50", "limit": "1000", "value": "512.34",
		"currency": "EUR"},
		{"key": "acme/main/2026-09-01/alert-spend-100", "seq": 4500, "at": "2026-09-16T08:00:00Z",
		"account": "acme", "subscription": "main", "plan": "pro", "start_date": "2026-09-01",
		"budget": "spend", "percent": "100", "limit": "1000", "value": "1003.9",
		"currency": "EUR"},
		{"key": "acme/main/2026-09-01/alert-t-80", "seq": 4501, "at": "2026-09-16T09:00:00Z",
		"account": "acme", "subscription": "main", "plan": "pro", "start_date": "2026-09-01",
		"budget": "tokens", "percent": "80", "limit": "1500000", "value": "1200001",
		"meter": "tokens_out", "unit": "token"}], "more": false}`
}

// testDays has a period of 17 days so far and a closed one of 31, and another subscription.
func testDays() string {
	days := func(month string, n, each int) string {
		var out []string
		for i := range n {
			sum := (i+1)*each*100 + i%5*700 // in cents
			out = append(out, fmt.Sprintf(`{"date": "%s-%02d", "uses": %d, "so_far": "%d.%02d"}`,
				month, i+1, i*i%17*300, sum/100, sum%100))
		}
		return strings.Join(out, ",")
	}
	return `{"account": "acme", "periods": [
		{"subscription": "main", "plan": "pro", "currency": "EUR", "start_date": "2026-08-01",
		"start": "2026-07-31T22:00:00Z", "end": "2026-08-31T22:00:00Z", "closed": true,
		"days": [` + days("2026-08", 31, 45) + `]},
		{"subscription": "main", "plan": "pro", "currency": "EUR", "start_date": "2026-09-01",
		"start": "2026-08-31T22:00:00Z", "end": "2026-09-30T22:00:00Z", "closed": false,
		"days": [` + days("2026-09", 17, 60) + `]},
		{"subscription": "storage", "plan": "disk", "currency": "JPY", "start_date": "2026-09-16",
		"start": "2026-09-16T00:00:00Z", "end": "2026-09-17T00:00:00Z", "closed": false,
		"days": [{"date": "2026-09-16", "uses": 3, "so_far": "12"}]}]}`
}

func testInvoices(first, n int, next string) string {
	var out []string
	for i := range n {
		year, month := 2026-(first+i)/12, 12-(first+i)%12
		out = append(out, fmt.Sprintf(`{"key": "acme/main/%d-%02d-01/period", "account": "acme",
			"kind": "period", "start_date": "%d-%02d-01", "currency": "EUR",
			"subtotal": "%d.50", "total": "%d.00"}`, year, month, year, month, 900+i, 1000+first+i))
	}
	if next != "" {
		next = `, "next": "` + next + `"`
	}
	return `{"invoices": [` + strings.Join(out, ",") + `], "more": false` + next + `}`
}

func testLineAnswer(view string) string {
	return `{"schema": "billctl.line.v1", ` + testPosition + `, "account": "acme",
		"account_name": "ACME", "subscription": "main", "plan": "pro", "version": 2,
		"start_date": "2026-09-01", "start": "2026-08-31T22:00:00Z",
		"end": "2026-09-30T22:00:00Z", "currency": "EUR", "view": "` + view + `",
		"key": "output/model=large", "line": ` + testLine("output", "graduated",
		`{"dimension": "model", "value": "large"}`, "1234567.5", "token", "812.04",
		`, "discount": "10"`) + `,
		"meter": {"key": "tokens_out", "unit": "token", "event": "llm.request",
		"aggregate": "sum", "where": "region is eu or us", "value": "data.output_tokens",
		"group_by": ["model", "region"]},
		"price": {"key": "output", "model": "graduated",
		"text": "up to 1,000,000 at 0.0008, up to 2,000,000 at 0.0004, then 0.0002"},
		"tiers": [{"from": "0", "to": "1000000", "unit": "0.0008", "flat": "0",
		"quantity": "1000000", "amount": "800", "fill": "1"},
		{"from": "1000000", "to": "2000000", "unit": "0.0004", "flat": "8.44",
		"quantity": "234567.5", "amount": "102.267", "fill": "0.2345"},
		{"from": "2000000", "to": null, "unit": "0.0002", "flat": "0", "quantity": "0",
		"amount": "0", "fill": null}],
		"next_tier": {"at": "2000000", "in": "765432.5", "unit": "token"},
		"steps": ["sum over 120,000 events: 1,234,567.5 token", "1,000,000 at 0.0008 = 800",
		"234,567.5 at 0.0004 and 8.44 for the tier = 102.267", "together 902.267",
		"discount 10 %: 902.267 -> 812.0403", "812.0403 rounded: 812.04 EUR"]}`
}

// testUses are events by falling position.
func testUses(newest, n int, next string) string {
	var out []string
	for i := range n {
		seq := newest - i
		more := ""
		switch seq % 7 {
		case 2:
			more = `, "counts": false, "corrected_by": {"seq": 4700, "kind": "amended",
				"at": "2026-09-17T01:00:00Z", "actor": "ops", "reason": "wrong region"}`
		case 3:
			more = `, "counts": true, "corrects": {"seq": 12, "kind": "amended", "actor": "ops",
				"reason": "wrong region"}`
		}
		out = append(out, fmt.Sprintf(`{"seq": %d, "at": "2026-09-17T07:00:00Z",
			"outcome": "accepted", "account": "acme", "id": "req-%08d", "source": "/svc",
			"type": "llm.request", "subject": "acme-本番\u001b]0;x\u0007", "value": "%d.5",
			"time": "2026-09-17T06:%02d:%02d.25Z"%s}`, seq, seq, seq*37, seq/60%60, seq%60, more))
	}
	if next != "" {
		next = `, "next": ` + next
	}
	return `{"schema": "billctl.uses.v1", ` + testPosition + `, "events": [` +
		strings.Join(out, ",") + `], "more": true` + next + `}`
}

const testEvent = `{"schema": "billctl.events.v1", "events": [{"seq": 4242,
	"at": "2026-09-17T07:00:00Z", "outcome": "accepted", "account": "acme",
	"origin": {"source": "gateway", "partition": "dev:1 ino:77 usage.jsonl", "offset": 993021},
	"id": "req-00004242", "source": "/svc", "type": "llm.request",
	"subject": "acme-本番\u001b]0;x\u0007", "time": "2026-09-17T06:42:42.25Z",
	"data": {"output_tokens": "156954.5", "model": "large", "a\u202eb": "🚀",
	"a.very.long.path.with.many.parts.that.no.column.holds": "1"},
	"rest": {"traceparent": "00-abc", "nested": {"list": [1, 2.50, null, {"deep": true}],
	"empty": {}, "none": []}},
	"corrected_by": {"seq": 4700, "kind": "amended", "at": "2026-09-17T07:30:00Z",
	"actor": "ops", "reason": "wrong region"}}], "more": false}`

func testMalformed() string {
	return `{"schema": "billctl.events.v1", "events": [{"seq": 17, "at": "2026-09-17T07:00:00Z",
	"outcome": "malformed", "account": null, "origin": {"source": "gateway",
	"partition": "usage.jsonl", "offset": 0}, "fault": "byte 3: no value",
	"raw": "{\"a\u0000\u001b[2J\u001b]52;c;eA==\u0007 ` + strings.Repeat("zé", 300) + `",
	"size": 622}], "more": false}`
}

// take gives a screen an answer.
func take(t *testing.T, s screen, id, body string) {
	t.Helper()
	if err := s.take(id, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func answeredAccount(t *testing.T) *accountScreen {
	t.Helper()
	s := newAccountScreen("acme").(*accountScreen)
	take(t, s, "account", testAccount())
	take(t, s, "alerts", testAlerts())
	take(t, s, "days", testDays())
	take(t, s, "invoices", testInvoices(0, 30, "2024-07"))
	return s
}
