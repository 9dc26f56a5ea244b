package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// coupons adds new coupons of an account; those that exist must be equal.
func (d *differ) coupons(a *Account, old *engine.AccountState, diff *accountDiff) {
	zone := d.c.zones[a.Zone]
	for i := range a.Coupons {
		c, at := a.Coupons[i], &a.at.coupons[i]
		j := slices.IndexFunc(old.Coupons, func(o engine.Coupon) bool { return o.ID == c.ID })
		if j < 0 {
			d.out.Change.Coupons = append(d.out.Change.Coupons, c)
			diff.words = append(diff.words, couponWords(&c, zone))
			continue
		}
		if at.from.src == nil {
			c.From = old.Coupons[j].From // what the file does not say stays as it is
		}
		if changed := couponDiff(&old.Coupons[j], &c, zone); len(changed) > 0 {
			d.faults.add(at.coupon, "a coupon never changes: give another one another id",
				"coupon %s of account %s differs from the journal: %s", c.ID, a.ID,
				strings.Join(changed, "; "))
		}
	}
}

// couponDiff says how a coupon differs from the journaled one; nothing if it does not.
func couponDiff(old, c *engine.Coupon, zone *engine.Zone) []string {
	var w wordList
	w.text("subscription", old.Subscription, c.Subscription)
	w.optional("percent", old.Percent, c.Percent)
	w.optional("amount", old.Amount, c.Amount)
	w.text("currency", old.Currency, c.Currency)
	w.text("from", whenText(old.From, zone), whenText(c.From, zone))
	w.text("periods", periodsWord(old.Periods), periodsWord(c.Periods))
	return w
}

func periodsWord(n int) string {
	if n == 0 {
		return "all"
	}
	return fmt.Sprint(n)
}

// couponWords describes a new coupon.
func couponWords(c *engine.Coupon, zone *engine.Zone) string {
	what := c.Percent.String() + " % off every line"
	if c.Percent.IsZero() {
		what = "up to " + c.Amount.String() + " " + c.Currency + " off each invoice"
	}
	of := "of each subscription"
	if c.Subscription != "" {
		of = "of subscription " + c.Subscription
	}
	periods := "all periods"
	switch {
	case c.Periods == 1:
		periods = "the first period"
	case c.Periods > 1:
		periods = fmt.Sprintf("the first %d periods", c.Periods)
	}
	return fmt.Sprintf("account %s gets coupon %s: %s, for %s from %s on %s", c.Account, c.ID, what,
		periods, whenText(c.From, zone), of)
}

// taxes sets the taxes of an account that differ.
func (d *differ) taxes(a *Account, old *engine.AccountState, diff *accountDiff) {
	for i := range a.Taxes {
		t := &a.Taxes[i]
		j := slices.IndexFunc(old.Taxes, func(o engine.AccountTaxes) bool { return o.From == t.From })
		words := fmt.Sprintf("periods of account %s that start on %s or later have taxes: %s", a.ID,
			t.From, taxWords(t))
		if j >= 0 {
			was := taxWords(&old.Taxes[j])
			if was == taxWords(t) {
				continue
			}
			words += " instead of " + was
		}
		d.out.Change.Taxes = append(d.out.Change.Taxes, *t)
		diff.words = append(diff.words, words)
	}
}

// taxWords describes a set of taxes: equal words are equal sets.
func taxWords(t *engine.AccountTaxes) string {
	if len(t.Rates) == 0 {
		return "none"
	}
	words := make([]string, len(t.Rates))
	for i, r := range t.Rates {
		words[i] = r.Percent.String() + " %"
		if r.Code != "" {
			words[i] += " on " + r.Code
		}
	}
	round := ", rounded by line"
	if t.PerInvoice {
		round = ", rounded by invoice"
	}
	return strings.Join(words, ", ") + round
}

// budgets sets the budgets that differ. One with the limit 0 ends.
func (d *differ) budgets() {
	have := d.current.Budgets()
	for i := range d.c.Budgets {
		b := &d.c.Budgets[i]
		old := slices.IndexFunc(have, func(o engine.Budget) bool { return o.Key == b.Key })
		switch {
		case old < 0 && b.Limit.IsZero():
			continue
		case old < 0:
			d.say("budget %s is new: %s; %s", b.Key, budgetWords(b), d.watched(b))
		case b.Limit.IsZero():
			d.say("budget %s ends", b.Key)
		default:
			diff := budgetDiff(&have[old], b)
			if len(diff) == 0 {
				continue
			}
			d.say("budget %s changes: %s; %s", b.Key, strings.Join(diff, ", "), d.watched(b))
		}
		d.out.Change.Budgets = append(d.out.Change.Budgets, *b)
	}
}

// budgetDiff says how a budget differs from the journaled one; nothing if it does not.
func budgetDiff(old, b *engine.Budget) []string {
	var w wordList
	w.text("account", old.Account, b.Account)
	w.text("plan", old.Plan, b.Plan)
	w.text("meter", old.Meter, b.Meter)
	w.text("currency", old.Currency, b.Currency)
	w.number("limit", old.Limit, b.Limit)
	w.text("at", percentWords(old.At), percentWords(b.At))
	return w
}

// budgetWords describes a budget.
func budgetWords(b *engine.Budget) string {
	what := b.Limit.String() + " " + b.Currency
	if b.Meter != "" {
		what = b.Limit.String() + " of meter " + b.Meter
	}
	return what + " in a period, told at " + percentWords(b.At)
}

func percentWords(at []decimal.Decimal) string {
	if len(at) == 0 {
		return "100 %"
	}
	words := make([]string, len(at))
	for i, p := range at {
		words[i] = p.String()
	}
	return strings.Join(words, ", ") + " %"
}

// watched says how many of the catalog's subscriptions a budget looks at.
func (d *differ) watched(b *engine.Budget) string {
	n := 0
	for i := range d.c.Accounts {
		a := &d.c.Accounts[i]
		if b.Account != "" && b.Account != a.ID {
			continue
		}
		for j := range a.Subscriptions {
			s := &a.Subscriptions[j]
			if (b.Plan == "" || b.Plan == s.Plan) && s.To > d.now &&
				(b.Meter != "" || d.currencyOf(s.Plan) == b.Currency) {
				n++
			}
		}
	}
	if n == 0 {
		return "it watches no subscription of the catalog"
	}
	return "it watches " + plural(n, "subscription") + " of the catalog"
}
