package formats

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// maxPeriods is how many periods a coupon can name: more than any subscription has.
const maxPeriods = 100_000

// couponPlaces are where the parts of a coupon stand; what is not there has no source.
type couponPlaces struct {
	coupon, amount, currency, from, subscription place
}

// coupon reads a coupon of an account. What it says of subscriptions and currencies is checked when
// all plans are known, and so it begins then if it names no beginning.
func (r *catalogReader) coupon(a *Account, zone *engine.Zone, n *node) {
	f := fieldsOf(r.faults, n, "a coupon",
		"id", "percent", "amount", "currency", "subscription", "from", "periods")
	if f == nil {
		return
	}
	id, ok := f.key(f.need("id", "name it: id: launch"), "coupon id")
	if !ok {
		return
	}
	f.what = "coupon " + id
	for i := range a.Coupons {
		if a.Coupons[i].ID == id {
			r.faults.add(n.child("id").at, "the first is in "+a.at.coupons[i].coupon.String(),
				"coupon %q of account %s is given twice", id, a.ID)
			return
		}
	}
	c := engine.Coupon{ID: id, Account: a.ID}
	at := couponPlaces{coupon: n.child("id").at}
	r.couponValue(f, &c, &at)
	if v := f.get("subscription"); v != nil {
		c.Subscription, _ = f.key(v, "subscription")
		at.subscription = v.at
	}
	if from := f.written(f.get("from"), "from"); from.given() {
		at.from = from.at
		r.when(&c.From, from, "from", zone)
	}
	if v := f.get("periods"); v != nil {
		c.Periods, _ = f.whole(v, "periods", 1, maxPeriods)
	}
	a.Coupons, a.at.coupons = append(a.Coupons, c), append(a.at.coupons, at)
}

// couponValue reads what a coupon takes off: a percentage, or an amount of a currency.
func (r *catalogReader) couponValue(f *fields, c *engine.Coupon, at *couponPlaces) {
	const example = `write percent: 20, or amount: "10.00" and currency: EUR`
	if f.has("percent") {
		c.Percent, _ = f.percentage(f.get("percent"))
		other := "amount"
		if !f.has(other) {
			other = "currency"
		}
		f.refuse("a coupon takes off a percentage or an amount; for both write two coupons",
			"coupon "+c.ID+" has percent and %s", other)
		return
	}
	v := f.need("amount", example)
	if v == nil {
		return
	}
	c.Amount, _ = f.positive(v, "amount")
	at.amount, at.currency = v.at, v.at
	if v := f.need("currency", "say of which money it is: currency: EUR"); v != nil {
		c.Currency, _ = f.scalar(v, "currency")
		at.currency = v.at
	}
}

// percentage returns a number above 0, up to 100.
func (f *fields) percentage(n *node) (decimal.Decimal, bool) {
	d, ok := f.decimal(n, "percent")
	if ok && (d.Sign() <= 0 || d.Cmp(decimal.FromInt(100)) > 0) {
		f.faults.add(n.at, "10 is ten percent", "percent %s is not above 0 and up to 100", n.text)
		return d, false
	}
	return d, ok
}

// taxes reads what taxes an account has from a day on.
func (r *catalogReader) taxes(a *Account, n *node) {
	f := fieldsOf(r.faults, n, "a set of taxes", "from", "round", "rates")
	if f == nil {
		return
	}
	t := engine.AccountTaxes{Account: a.ID}
	from := f.need("from", "write the day of the first periods that have them: from: 2026-01-01")
	if s, ok := f.scalar(from, "from"); ok {
		if t.From, ok = parseDay(s); !ok {
			r.faults.add(from.at, "write a date: from: 2026-01-01", "from %q is not a date", clip(s))
			return
		}
		for i := range a.Taxes {
			if a.Taxes[i].From == t.From {
				r.faults.add(from.at, "the first are in "+a.at.taxes[i].String(),
					"account %s has two sets of taxes from %s on", a.ID, t.From)
				return
			}
		}
	}
	if w, ok := f.word(f.get("round"), "round", "line", "invoice"); ok {
		t.PerInvoice = w == "invoice"
	}
	const example = `list them: rates: [{percent: "19"}]; for no tax: rates: []`
	for _, item := range f.list(f.need("rates", example), "rates") {
		r.taxRate(item, &t)
	}
	slices.SortFunc(t.Rates, func(x, y engine.TaxRate) int { return strings.Compare(x.Code, y.Code) })
	if from != nil {
		a.Taxes, a.at.taxes = append(a.Taxes, t), append(a.at.taxes, from.at)
	}
}

// taxRate reads the percentage of one tax code, or of all that have none of their own.
func (r *catalogReader) taxRate(n *node, t *engine.AccountTaxes) {
	f := fieldsOf(r.faults, n, "a tax rate", "code", "percent")
	if f == nil {
		return
	}
	var rate engine.TaxRate
	at, what := n.at, "prices without a rate of their own have"
	if v := f.get("code"); v != nil {
		rate.Code, _ = f.key(v, "code")
		at, what = v.at, fmt.Sprintf("tax code %q has", rate.Code)
	}
	if v := f.need("percent", `write percent: "19"`); v != nil {
		d, ok := f.decimal(v, "percent")
		if ok && (d.Sign() < 0 || d.Cmp(decimal.FromInt(100)) > 0) {
			r.faults.add(v.at, "10 is ten percent", "percent %s is not from 0 to 100", v.text)
		}
		rate.Percent = d
	}
	if slices.ContainsFunc(t.Rates, func(o engine.TaxRate) bool { return o.Code == rate.Code }) {
		r.faults.add(at, "give each code once", "%s two rates", what)
		return
	}
	t.Rates = append(t.Rates, rate)
}

// checkCoupons checks the coupons of an account against its subscriptions, of which one is on plan,
// in currency ("" where there is none), and puts coupons and taxes in order.
func (r *catalogReader) checkCoupons(a *Account, plan, currency string) {
	for i := range a.Coupons {
		c, at := &a.Coupons[i], &a.at.coupons[i]
		var keys []string
		for j := range a.Subscriptions {
			keys = append(keys, a.Subscriptions[j].Key)
		}
		if c.Subscription != "" && !contains(keys, c.Subscription) {
			r.faults.add(at.subscription, known(c.Subscription, sortedSet(keys)),
				"account %s has no subscription %q", a.ID, c.Subscription)
			continue
		}
		r.couponStart(a, c, at)
		if c.Currency == "" {
			continue
		}
		digits, ok := r.knownCurrency(c.Currency, at.currency)
		switch {
		case !ok:
		case currency != "" && c.Currency != currency:
			r.faults.add(at.currency, "a coupon takes off amounts of its own currency only",
				"coupon %s is in %s, but account %s has plan %s in %s", c.ID, c.Currency, a.ID, plan,
				currency)
		case !inDigits(c.Amount, digits):
			r.faults.add(at.amount, "an invoice has whole minor units only",
				"amount %s is finer than the %s of %s", c.Amount, plural(digits, "digit"), c.Currency)
		}
	}
	sortWith(a.Coupons, a.at.coupons, func(x, y engine.Coupon) int {
		return strings.Compare(x.ID, y.ID)
	})
	sortWith(a.Taxes, a.at.taxes, func(x, y engine.AccountTaxes) int {
		return cmp.Compare(x.From, y.From)
	})
}

// couponStart lets a coupon that names no beginning begin with the first of its subscriptions.
func (r *catalogReader) couponStart(a *Account, c *engine.Coupon, at *couponPlaces) {
	if at.from.src != nil {
		return
	}
	first := engine.Future
	for i := range a.Subscriptions {
		if s := &a.Subscriptions[i]; c.Subscription == "" || c.Subscription == s.Key {
			first = min(first, s.From)
		}
	}
	if first == engine.Future {
		r.faults.add(at.coupon, "the account has no subscription here to begin with: from: 2026-01-01",
			"coupon %s needs from", c.ID)
		return
	}
	c.From = first
}

// inDigits reports whether the amount is one of whole minor units.
func inDigits(d decimal.Decimal, digits int) bool {
	_, fraction, _ := strings.Cut(d.String(), ".")
	return len(fraction) <= digits
}

// sortWith sorts a list that is free of duplicates, and the places of its items with it.
func sortWith[T, P any](list []T, places []P, compare func(a, b T) int) {
	type pair struct {
		item T
		at   P
	}
	pairs := make([]pair, len(list))
	for i := range list {
		pairs[i] = pair{list[i], places[i]}
	}
	slices.SortFunc(pairs, func(a, b pair) int { return compare(a.item, b.item) })
	for i := range pairs {
		list[i], places[i] = pairs[i].item, pairs[i].at
	}
}
