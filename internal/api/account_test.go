package api

import (
	"encoding/json"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
)

// TestAccountTerms holds the members that stand only where they are used.
func TestAccountTerms(t *testing.T) {
	at := engine.Micros(day(9, 1).UnixMicro())
	credit := func(id, currency, left string, expires engine.Micros, priority int) Credit {
		return makeCredit(&engine.CreditState{
			Credit: engine.Credit{ID: id, Currency: currency, Expires: expires, Priority: priority},
			Left:   left,
		}, at)
	}
	credits := []Credit{
		credit("a", "TOK", "0.000001", 0, 0), credit("b", "EUR", "1.50", at+1, 3),
		credit("c", "EUR", "9.00", at, 0), credit("d", "EUR", "0.25", 0, 0),
		credit("e", "JPY", "7", at-1, 0),
	}
	trial := makeSubscription(&engine.Subscription{Key: "main", Plan: "p", From: at, To: engine.Future,
		Trial: at + engine.OneDay})
	for _, c := range []struct {
		got  any
		want string
	}{
		{credits[0], `{"id":"a","currency":"TOK","left":"0.000001"}`},
		{credits[1], `{"id":"b","currency":"EUR","left":"1.50",` +
			`"expires":"2026-09-01T00:00:00.000001Z","priority":3}`},
		{credits[2], `{"id":"c","currency":"EUR","left":"9.00","expires":"2026-09-01T00:00:00Z",` +
			`"expired":true}`},
		{makeBalances(credits), `[{"currency":"EUR","left":"1.75"},{"currency":"JPY","left":"0"},` +
			`{"currency":"TOK","left":"0.000001"}]`},
		{Account{Balances: makeBalances(nil)}.Balances, `null`},
		{trial, `{"key":"main","plan":"p","from":"2026-09-01T00:00:00Z","to":null,` +
			`"trial_until":"2026-09-02T00:00:00Z"}`},
		{makeSubscription(&engine.Subscription{Key: "k", Plan: "p", Pin: 2, From: at, To: at + 1}),
			`{"key":"k","plan":"p","pin":2,"from":"2026-09-01T00:00:00Z",` +
				`"to":"2026-09-01T00:00:00.000001Z"}`},
		{makeCoupon(&engine.Coupon{ID: "l", Subscription: "main", Percent: decimal.FromScaled(125, 1),
			From: at, Periods: 3}), `{"id":"l","subscription":"main","percent":"12.5",` +
			`"from":"2026-09-01T00:00:00Z","periods":3}`},
		{makeCoupon(&engine.Coupon{ID: "g", Amount: decimal.FromInt(10), Currency: "EUR", From: at}),
			`{"id":"g","amount":"10","currency":"EUR","from":"2026-09-01T00:00:00Z"}`},
		{makeTaxes(&engine.AccountTaxes{From: engine.DayOf(at), PerInvoice: true,
			Rates: []engine.TaxRate{{Percent: decimal.FromInt(19)}, {Code: "x"}}}),
			`{"from":"2026-09-01","round":"invoice","rates":[{"percent":"19"},` +
				`{"code":"x","percent":"0"}]}`},
		{makeTaxes(&engine.AccountTaxes{From: engine.DayOf(at)}),
			`{"from":"2026-09-01","round":"line","rates":[]}`},
	} {
		b, err := json.Marshal(c.got)
		if err != nil || string(b) != c.want {
			t.Errorf("got %s, %v, want\n%s", b, err, c.want)
		}
	}
}
