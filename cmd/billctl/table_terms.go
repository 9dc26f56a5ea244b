package main

import (
	"fmt"
	"strings"

	"billctl/formats"
	"billctl/internal/api"
)

// accountTerms says what else decides on an account's invoices: trials, coupons, taxes, credits.
func accountTerms(a *api.Account) []string {
	var lines []string
	for _, sub := range a.Subscriptions {
		if sub.TrialUntil != nil {
			lines = append(lines, "subscription "+formats.Visible(sub.Key)+": trial until "+*sub.TrialUntil)
		}
	}
	for i := range a.Coupons {
		lines = append(lines, couponLine(&a.Coupons[i]))
	}
	for i := range a.Taxes {
		lines = append(lines, taxLine(&a.Taxes[i]))
	}
	for i := range a.Credits {
		lines = append(lines, creditLine(&a.Credits[i]))
	}
	if len(a.Credits) > 1 {
		for _, b := range a.Balances {
			lines = append(lines, "balance: "+b.Left+" "+b.Currency)
		}
	}
	return lines
}

func couponLine(c *api.Coupon) string {
	what := c.Percent + " % off every line"
	if c.Percent == "" {
		what = "up to " + c.Amount + " " + c.Currency + " off each invoice"
	}
	periods := "all periods"
	switch {
	case c.Periods == 1:
		periods = "1 period"
	case c.Periods > 1:
		periods = fmt.Sprintf("%d periods", c.Periods)
	}
	if c.From != nil {
		periods += " from " + *c.From
	}
	if c.Subscription != "" {
		periods += " of subscription " + formats.Visible(c.Subscription)
	}
	return "coupon " + formats.Visible(c.ID) + ": " + what + ", " + periods
}

func taxLine(t *api.Taxes) string {
	if len(t.Rates) == 0 {
		return "taxes from " + t.From + ": none"
	}
	var rates []string
	for _, r := range t.Rates {
		rate := r.Percent + " %"
		if r.Code != "" {
			rate += " on " + formats.Visible(r.Code)
		}
		rates = append(rates, rate)
	}
	return "taxes from " + t.From + ": " + strings.Join(rates, ", ") + ", rounded by " + t.Round
}

func creditLine(c *api.Credit) string {
	line := "credit " + formats.Visible(c.ID) + ": " + c.Left + " " + c.Currency + " left"
	if c.Priority != 0 {
		line += fmt.Sprintf(", priority %d", c.Priority)
	}
	switch {
	case c.Expired:
		line += ", expired at " + *c.Expires
	case c.Expires != nil:
		line += ", expires at " + *c.Expires
	}
	return line
}
