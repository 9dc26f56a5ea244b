package engine

import (
	"fmt"
	"slices"
)

// CheckCredit returns why a credit may not be journaled at an instant, nil if it may.
func (v *View) CheckCredit(c *Credit, at Micros) error {
	if err := c.Validate(); err != nil {
		return err
	}
	a, found := v.Account(c.Account)
	switch {
	case !found:
		return fmt.Errorf("credit %s: there is no account %s", c.ID, c.Account)
	case c.Amount.Sign() <= 0:
		return fmt.Errorf("credit %s: its amount must be above 0", c.ID)
	case c.Expires != 0 && c.Expires <= at:
		return fmt.Errorf("credit %s: it would have expired at %s already", c.ID, c.Expires)
	}
	for i := range a.Credits {
		if a.Credits[i].ID == c.ID {
			return fmt.Errorf("account %s: credit %s was granted before", c.Account, c.ID)
		}
	}
	return nil
}

// grants checks coupons, taxes and budgets. Accounts and subscriptions of the change itself have
// nothing closed yet.
func (k *checker) grants() error {
	for i := range k.change.Coupons {
		c := &k.change.Coupons[i]
		if err := k.coupon(c); err != nil {
			return err
		}
		for j := range k.change.Coupons[:i] {
			if o := &k.change.Coupons[j]; o.ID == c.ID && o.Account == c.Account &&
				!equalCanonical(appendCoupon, o, c) {
				return fmt.Errorf("account %s: two coupons %s", c.Account, c.ID)
			}
		}
	}
	for i := range k.change.Taxes {
		if err := k.taxes(&k.change.Taxes[i]); err != nil {
			return err
		}
	}
	for i := range k.change.Budgets {
		if err := k.budget(&k.change.Budgets[i]); err != nil {
			return err
		}
	}
	return nil
}

func (k *checker) coupon(c *Coupon) error {
	if err := c.Validate(); err != nil {
		return err
	}
	s := k.shardOf(c.Account)
	at := s.findAccount(c.Account)
	if !k.makes(c.Account, c.Subscription) {
		return s.allowCoupon(at, c)
	}
	if at < 0 || c.Subscription != "" && !s.hasSubscription(at, c.Subscription) {
		return nil
	}
	return s.allowCoupon(at, c)
}

func (k *checker) taxes(t *AccountTaxes) error {
	s := k.shardOf(t.Account)
	if at := s.findAccount(t.Account); at >= 0 || !k.makes(t.Account, "") {
		return s.allowTaxes(at, t)
	}
	return t.Validate()
}

func (k *checker) budget(b *Budget) error {
	if err := b.Validate(); err != nil {
		return err
	}
	switch {
	case b.Plan != "" && !k.planKnown(b.Plan, 0):
		return fmt.Errorf("budget %s: there is no plan %s", b.Key, b.Plan)
	case b.Meter != "" && k.meterNamed(b.Meter) == nil:
		return fmt.Errorf("budget %s: there is no meter %s", b.Key, b.Meter)
	}
	return nil
}

// makes reports whether the change has the account, with the subscription unless that is "".
func (k *checker) makes(account, subscription string) bool {
	return slices.ContainsFunc(k.change.Accounts, func(a AccountChange) bool {
		return a.ID == account && (subscription == "" ||
			slices.ContainsFunc(a.Subscriptions, func(b Subscription) bool {
				return b.Key == subscription
			}))
	})
}

func (s *state) hasSubscription(account int32, key string) bool {
	return slices.ContainsFunc(s.accounts.at(account).subs, func(i int32) bool {
		return s.subs.at(i).Key == key
	})
}
