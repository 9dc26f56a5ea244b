package live

import (
	"slices"
	"strings"

	"billctl/engine"
)

// Touch is a line that a row counts for, by what the row says now.
type Touch struct {
	Account      string
	Subscription string
	Start        engine.Micros // of the period
	Period       string        // its start date, as keys of documents have it
	Line         string        // key of the price; "" if no price counts the row's type
}

// Touched returns the lines that an altered row may have changed: of the account that owns the
// row's subject at its time, in each subscription that is active then, every price on a meter of
// the row's type. Filters of meters and prices are not looked at, since the row's properties may be
// what was changed. Without an owner there is none. The audit's view says what is owned and in
// force.
func (a *Audit) Touched(al Altered) []Touch {
	owners, _ := a.View.Subject(al.Subject)
	i := slices.IndexFunc(owners, func(o engine.Ownership) bool {
		return o.From <= al.Time && al.Time < o.To
	})
	if i < 0 {
		return nil
	}
	account, found := a.View.Account(owners[i].Account)
	if !found {
		return nil
	}
	var out []Touch
	for j := range account.Subscriptions {
		b := &account.Subscriptions[j]
		if b.From <= al.Time && al.Time < b.To {
			out = append(out, a.touched(account.ID, b.Key, &al)...)
		}
	}
	slices.SortStableFunc(out, func(x, y Touch) int {
		return strings.Compare(x.Subscription, y.Subscription)
	})
	return out
}

// touched returns the lines of one subscription.
func (a *Audit) touched(account, subscription string, al *Altered) []Touch {
	terms, found := a.View.Terms(account, subscription, al.Time)
	if !found {
		return nil
	}
	if terms.Start != al.Time { // terms are bound to the start of a period
		if terms, found = a.View.Terms(account, subscription, terms.Start); !found {
			return nil
		}
	}
	t := Touch{
		Account: account, Subscription: subscription, Start: terms.Start, Period: terms.StartDate,
	}
	var out []Touch
	for i := range terms.Prices {
		p := &terms.Prices[i]
		if p.Meter == "" {
			continue
		}
		if m := a.View.Meter(p.Meter); m != nil && m.Event == al.Type {
			t.Line = engine.LineKey(p.Key, nil)
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		out = append(out, t)
	}
	return out
}
