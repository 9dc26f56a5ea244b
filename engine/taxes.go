package engine

import (
	"cmp"
	"fmt"
	"slices"

	"billctl/engine/decimal"
)

// setTaxes sets the rates of an account from a day on.
func (e *Engine) setTaxes(t *AccountTaxes, fx *Effects) {
	bucket := BucketOf(t.Account)
	if !e.mine(bucket) {
		return
	}
	index := e.findAccount(t.Account)
	if err := e.allowTaxes(index, t); err != nil {
		e.refuse(fx, "%v", err)
		return
	}
	a := e.accounts.mut(index)
	taxes := slices.DeleteFunc(slices.Clone(a.taxes), func(o AccountTaxes) bool {
		return o.From == t.From
	})
	a.taxes = append(taxes, *t)
	slices.SortFunc(a.taxes, func(x, y AccountTaxes) int { return cmp.Compare(x.From, y.From) })
	e.touch(bucket)
}

// allowTaxes returns why an account cannot have rates from a day on: none that begins where a
// document was issued for, since documents never change.
func (s *state) allowTaxes(index int32, t *AccountTaxes) error {
	if err := t.Validate(); err != nil {
		return err
	}
	if index < 0 {
		return fmt.Errorf("taxes: there is no account %s", t.Account)
	}
	for _, o := range s.accounts.at(index).taxes {
		if equalCanonical(appendTaxes, &o, t) {
			return nil
		}
	}
	for _, i := range s.accounts.at(index).subs {
		b := s.subs.at(i)
		last := b.From // where the last period began that a document is for
		if len(b.paid) > 0 {
			last = b.next
		} else if b.next > b.From {
			last, _, _, _ = s.around(b, b.next-1)
		}
		if b.issued > 0 && s.localDay(b, last) >= t.From {
			return fmt.Errorf("account %s: subscription %s has an invoice for the period from %s, so "+
				"taxes can begin behind that", t.Account, b.Key, s.localDay(b, last))
		}
	}
	return nil
}

// taxesOf returns the rates for periods of the account that start on a local day, nil for none.
func (a *account) taxesOf(day Day) *AccountTaxes {
	var out *AccountTaxes
	for i := range a.taxes {
		if a.taxes[i].From <= day {
			out = &a.taxes[i]
		}
	}
	return out
}

// rate returns the rate for a code: its own, or the one without a code.
func (t *AccountTaxes) rate(code string) (TaxRate, bool) {
	if t == nil {
		return TaxRate{}, false
	}
	for _, want := range []string{code, ""} {
		for _, r := range t.Rates {
			if r.Code == want {
				return r, true
			}
		}
	}
	return TaxRate{}, false
}

// taxed is an amount of an invoice and what taxes it.
type taxed struct {
	amount decimal.Amount
	rate   TaxRate
	any    bool // a rate applies
	whole  bool // rounded once over the invoice
}

// tax adds the taxes of an invoice. What coupons and credits took off is spread over its lines and
// adjustments above zero in proportion, so that the bases add up to what is left.
func (s *state) tax(inv *Invoice, b *sub, how decimal.Rounding) {
	if len(s.accounts.at(b.account).taxes) == 0 {
		return
	}
	parts, weights := s.taxedParts(inv, b)
	var off decimal.Amount
	for i := range inv.Coupons {
		off = off.Add(inv.Coupons[i].Amount)
	}
	for i := range inv.Credits {
		off = off.Add(inv.Credits[i].Amount)
	}
	if !off.IsZero() {
		for i, share := range off.Spread(weights) {
			parts[i].amount = parts[i].amount.Sub(share)
		}
	}
	inv.Taxes = sumTaxes(parts, inv.Digits, how)
	for i := range inv.Taxes {
		inv.Total = inv.Total.Add(inv.Taxes[i].Amount)
	}
}

// taxedParts returns the lines and adjustments, and what something is spread by: only amounts above
// zero take a share of it.
func (s *state) taxedParts(inv *Invoice, b *sub) (parts []taxed, weights []decimal.Amount) {
	a := s.accounts.at(b.account)
	add := func(amount decimal.Amount, code string, start Micros) {
		set := a.taxesOf(s.localDay(b, start))
		rate, any := set.rate(code)
		parts = append(parts, taxed{amount, rate, any, any && set.PerInvoice})
		if amount.Sign() < 0 {
			amount = decimal.Amount{}
		}
		weights = append(weights, amount)
	}
	for i := range inv.Lines {
		add(inv.Lines[i].Amount, inv.Lines[i].TaxCode, inv.Lines[i].From)
	}
	for i := range inv.Adjustments {
		add(inv.Adjustments[i].Amount, inv.Adjustments[i].TaxCode, inv.Adjustments[i].Start)
	}
	return parts, weights
}

// sumTaxes adds up the parts by rate, by rising code and then percentage. Each part is rounded, or
// for rates that are rounded per invoice their sum.
func sumTaxes(parts []taxed, digits int, how decimal.Rounding) []TaxUse {
	type sum struct {
		TaxUse
		exact decimal.Rat // of parts that are rounded together
	}
	var sums []sum
	for i := range parts {
		p := &parts[i]
		if !p.any {
			continue
		}
		at := slices.IndexFunc(sums, func(o sum) bool {
			return o.Code == p.rate.Code && o.Percent == p.rate.Percent
		})
		if at < 0 {
			at = len(sums)
			sums = append(sums, sum{TaxUse: TaxUse{Code: p.rate.Code, Percent: p.rate.Percent}})
		}
		t := &sums[at]
		t.Base = t.Base.Add(p.amount)
		exact := p.amount.Rat(digits).Mul(percent(p.rate.Percent))
		if p.whole {
			t.exact = t.exact.Add(exact)
		} else {
			t.Amount = t.Amount.Add(exact.Round(digits, how))
		}
	}
	out := make([]TaxUse, len(sums))
	for i := range sums {
		sums[i].Amount = sums[i].Amount.Add(sums[i].exact.Round(digits, how))
		out[i] = sums[i].TaxUse
	}
	slices.SortFunc(out, func(x, y TaxUse) int {
		return cmp.Or(cmp.Compare(x.Code, y.Code), x.Percent.Cmp(y.Percent))
	})
	return out
}
