package engine_test

import (
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// wideBody makes budgets, coupons, taxes and credits that expire.
func (g *controls) wideBody(account string, when engine.Micros) engine.Body {
	change := &engine.Change{File: engine.Digest{9, 1, byte(g.count)}, Actor: "test"}
	currency := []string{"EUR", "EUR", "JPY"}[g.r.IntN(3)]
	switch g.r.IntN(6) {
	case 0:
		return &engine.Credit{
			ID: fmt.Sprint("c", g.r.IntN(12)), Account: account, Amount: decimal.AmountOf(900),
			Currency: currency, Actor: "test", Expires: when + 30*engine.OneDay, Priority: g.r.IntN(3),
		}
	case 1:
		change.Coupons = []engine.Coupon{{
			ID: fmt.Sprint("off", g.r.IntN(5)), Account: account, Currency: currency,
			Amount: decimal.FromInt(3), From: when, Periods: g.r.IntN(3),
		}}
	case 2:
		change.Taxes = []engine.AccountTaxes{{
			Account: account, From: engine.DayOf(when), PerInvoice: g.r.IntN(2) == 0,
			Rates: []engine.TaxRate{{Percent: decimal.FromInt(int64(g.r.IntN(20)))}},
		}}
	default:
		b := engine.Budget{
			Key: []string{"a", "b", "c"}[g.r.IntN(3)], Currency: currency,
			Limit: decimal.FromInt(int64(g.r.IntN(6))),
			At:    []decimal.Decimal{decimal.FromInt(20), decimal.FromInt(100), decimal.FromInt(300)},
		}
		if g.r.IntN(2) == 0 {
			b.Currency, b.Meter = "", g.c.World.Meters[g.r.IntN(len(g.c.World.Meters))].Key
		}
		if g.r.IntN(3) == 0 {
			b.Account = account
		}
		change.Budgets = []engine.Budget{b}
	}
	return change
}

// onceOnly returns the alert that was given a second time, "" if there is none.
func onceOnly(alerts []string) string {
	given := map[string]bool{}
	for _, a := range alerts {
		key, _, _ := strings.Cut(a, ": ")
		if given[key] {
			return "alert given twice: " + a
		}
		given[key] = true
	}
	return ""
}
