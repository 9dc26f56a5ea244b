package api

import (
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

func makeSubscription(s *engine.Subscription) Subscription {
	out := Subscription{
		Key: s.Key, Plan: s.Plan, Pin: s.Pin, From: instant(s.From), To: instant(s.To),
	}
	if s.Trial != 0 {
		out.TrialUntil = instant(s.Trial)
	}
	return out
}

// makeCredit describes a grant at an instant.
func makeCredit(c *engine.CreditState, at engine.Micros) Credit {
	out := Credit{ID: c.ID, Currency: c.Currency, Left: c.Left, Priority: c.Priority}
	if c.Expires != 0 {
		out.Expires, out.Expired = instant(c.Expires), c.Expires <= at
	}
	return out
}

// makeBalances adds up what is left of credits that have not expired, by rising currency.
func makeBalances(credits []Credit) []Balance {
	type sum struct {
		currency string
		digits   int
		left     decimal.Amount
	}
	var sums []sum
	for i := range credits {
		c := &credits[i]
		_, fraction, _ := strings.Cut(c.Left, ".")
		at := slices.IndexFunc(sums, func(s sum) bool { return s.currency == c.Currency })
		if at < 0 {
			at = len(sums)
			sums = append(sums, sum{currency: c.Currency, digits: len(fraction)})
		}
		left, err := decimal.ParseAmount(c.Left, sums[at].digits)
		if err != nil {
			panic("BUG: what is left of a credit is no amount: " + err.Error())
		}
		if !c.Expired {
			sums[at].left = sums[at].left.Add(left)
		}
	}
	slices.SortFunc(sums, func(a, b sum) int { return strings.Compare(a.currency, b.currency) })
	var out []Balance
	for i := range sums {
		out = append(out, Balance{sums[i].currency, sums[i].left.Text(sums[i].digits)})
	}
	return out
}

func makeCoupon(c *engine.Coupon) Coupon {
	out := Coupon{
		ID: c.ID, Subscription: c.Subscription, Currency: c.Currency, From: instant(c.From),
		Periods: c.Periods,
	}
	if c.Percent.IsZero() {
		out.Amount = c.Amount.String()
	} else {
		out.Percent = c.Percent.String()
	}
	return out
}

func makeTaxes(t *engine.AccountTaxes) Taxes {
	out := Taxes{From: t.From.String(), Round: "line", Rates: []TaxRate{}}
	if t.PerInvoice {
		out.Round = "invoice"
	}
	for _, r := range t.Rates {
		out.Rates = append(out.Rates, TaxRate{r.Code, r.Percent.String()})
	}
	return out
}
