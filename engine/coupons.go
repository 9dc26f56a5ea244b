package engine

import (
	"cmp"
	"fmt"
	"slices"

	"billctl/engine/decimal"
)

// addCoupon gives an account a coupon. It never changes: one that is there already stays.
func (e *Engine) addCoupon(c *Coupon, fx *Effects) {
	bucket := BucketOf(c.Account)
	if !e.mine(bucket) {
		return
	}
	index := e.findAccount(c.Account)
	if err := e.allowCoupon(index, c); err != nil {
		e.refuse(fx, "%v", err)
		return
	}
	a := e.accounts.mut(index)
	at, found := findCoupon(a.coupons, c.ID)
	if !found {
		a.coupons = slices.Insert(slices.Clone(a.coupons), at, *c)
		e.touch(bucket)
	}
}

func findCoupon(list []Coupon, id string) (at int, found bool) {
	return slices.BinarySearchFunc(list, id, func(o Coupon, id string) int {
		return cmp.Compare(o.ID, id)
	})
}

// allowCoupon returns why an account cannot get a coupon: what is closed must not change.
func (s *state) allowCoupon(index int32, c *Coupon) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if index < 0 {
		return fmt.Errorf("coupon %s: there is no account %s", c.ID, c.Account)
	}
	a := s.accounts.at(index)
	if at, found := findCoupon(a.coupons, c.ID); found {
		if !equalCanonical(appendCoupon, &a.coupons[at], c) {
			return fmt.Errorf("account %s: coupon %s exists and never changes", c.Account, c.ID)
		}
		return nil
	}
	known := c.Subscription == ""
	for _, i := range a.subs {
		b := s.subs.at(i)
		if !c.of(b) {
			continue
		}
		known = true
		if c.From < b.next && b.next > b.From && c.From < b.To {
			return fmt.Errorf("account %s, coupon %s: subscription %s is closed up to %s, so it can begin "+
				"from then on", c.Account, c.ID, b.Key, b.next)
		}
	}
	if !known {
		return fmt.Errorf("account %s, coupon %s: there is no subscription %s", c.Account, c.ID,
			c.Subscription)
	}
	return nil
}

// of reports whether the coupon is for the subscription.
func (c *Coupon) of(b *sub) bool { return c.Subscription == "" || c.Subscription == b.Key }

// couponsOf returns the coupons of the subscription's period that begins at start, by ID. A trial
// is free anyway: it uses up no period of a coupon.
func (s *state) couponsOf(b *sub, start Micros) []*Coupon {
	var out []*Coupon
	list := s.accounts.at(b.account).coupons
	for i := range list {
		if c := &list[i]; c.of(b) && start >= b.Trial && s.inCoupon(c, b, start) {
			out = append(out, c)
		}
	}
	return out
}

// inCoupon reports whether the period that begins at start is one of the coupon's: they are counted
// from the period that holds From, or the first behind it, over all intervals of the key.
func (s *state) inCoupon(c *Coupon, b *sub, start Micros) bool {
	if _, end, _, _ := s.around(b, start); end <= c.From {
		return false
	}
	if c.Periods == 0 {
		return true
	}
	before := 0
	for _, i := range s.accounts.at(b.account).subs {
		o := s.subs.at(i)
		if o.Key != b.Key || o.From > start {
			continue
		}
		for t := max(c.From, o.From, o.Trial); t < o.To && t < start; before++ {
			if before == c.Periods {
				return false
			}
			_, t, _, _ = s.around(o, t)
		}
	}
	return before < c.Periods
}

// percentsOf returns what coupons take off each line of the period that begins at start.
func (s *state) percentsOf(b *sub, start Micros) []CouponOff {
	var out []CouponOff
	for _, c := range s.couponsOf(b, start) {
		if !c.Percent.IsZero() {
			out = append(out, CouponOff{c.ID, c.Percent})
		}
	}
	return out
}

// takeCoupons takes the amounts of the period's coupons off an invoice, no further than to zero.
func (s *state) takeCoupons(inv *Invoice, b *sub) {
	for _, c := range s.couponsOf(b, inv.Start) {
		if c.Percent.IsZero() && c.Currency == inv.Currency && inv.Subtotal.Sign() > 0 {
			off := lesser(c.Amount.Rat().Round(inv.Digits, decimal.HalfAway), inv.Subtotal)
			inv.Coupons = append(inv.Coupons, CouponUse{c.ID, off})
			inv.Subtotal = inv.Subtotal.Sub(off)
		}
	}
}

func lesser(a, b decimal.Amount) decimal.Amount {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
