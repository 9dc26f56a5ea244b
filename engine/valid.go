package engine

import (
	"errors"
	"fmt"
	"slices"

	"billctl/engine/decimal"
)

// Validate returns why a plan version cannot rate anything. The engine refuses such a plan, so that
// no journal, however it was made, leads into a division by zero or a quantity without a tier.
func (p *Plan) Validate() error {
	switch {
	case p.Key == "" || p.Version < 1:
		return errors.New("a plan needs a key and a version")
	case p.Currency == "" || p.Digits < 0 || p.Digits > maxDigits:
		return fmt.Errorf("plan %s: a currency has 0 to %d digits", p.Key, maxDigits)
	case p.Interval < OfDay || p.Interval > Year:
		return fmt.Errorf("plan %s: no such period", p.Key)
	}
	if err := p.Anchor.validate(p.Interval); err != nil {
		return fmt.Errorf("plan %s: %w", p.Key, err)
	}
	for i := range p.Prices {
		if err := p.Prices[i].validate(); err != nil {
			return fmt.Errorf("plan %s, price %s: %w", p.Key, p.Prices[i].Key, err)
		}
		for j := range i {
			if p.Prices[j].Key == p.Prices[i].Key {
				return fmt.Errorf("plan %s: two prices %s", p.Key, p.Prices[i].Key)
			}
		}
	}
	return nil
}

// maxDigits is how many digits the minor unit of a currency can have. Units of account of one's own
// may have more than any currency, and an Amount holds them all (see decimal.Amount).
const maxDigits = 12

func (a Anchor) validate(i Interval) error {
	switch {
	case i.Takes(a):
		return nil
	case i == OfDay:
		return errors.New("a day begins at midnight, so it has no anchor")
	case i == Week:
		return fmt.Errorf("a week begins on day 1 (Monday) to 7 (Sunday), not on %d", a)
	}
	return fmt.Errorf("a period begins on day 1 to 31 of a month, not on %d", a)
}

// Validate returns why a meter cannot count anything. The engine refuses such a meter.
func (m *Meter) Validate() error {
	for _, check := range []func() error{
		m.validateValue, m.validatePercentile, m.validateOthers,
	} {
		if err := check(); err != nil {
			return fmt.Errorf("meter %s: %w", m.Key, err)
		}
	}
	return nil
}

// validateValue checks what of a row is counted.
func (m *Meter) validateValue() error {
	text := m.Aggregate == Unique
	level := m.Aggregate == Latest || m.Aggregate == TimeWeighted
	switch {
	case m.Aggregate < Count || m.Aggregate > Percentile:
		return errors.New("no such aggregate")
	case m.Aggregate == Count && (m.Value != "" || m.Constant != nil || m.RoundEach != nil):
		return errors.New("count counts rows, so it has no value, no constant and no round_each")
	case m.Constant != nil && m.Value != "":
		return errors.New("a constant stands in the place of a value; it has both")
	case (text || level) && m.Value == "":
		return errors.New("it needs the path of a value; a constant would say nothing")
	case text && m.RoundEach != nil:
		return errors.New("unique counts texts, so it has no round_each")
	case m.Aggregate > Most && m.Value == "" && m.Constant == nil:
		return errors.New("it needs the path of a value, or a constant")
	}
	r := m.RoundEach
	if r != nil && (r.To.Sign() <= 0 || r.Round < RoundUp || r.Round > RoundNearest) {
		return errors.New("round_each rounds up, down or to the nearest multiple of a number above 0")
	}
	return nil
}

func (m *Meter) validatePercentile() error {
	windows := m.Window > 0
	switch {
	case m.Aggregate != Percentile:
		if !m.Percent.IsZero() || m.Window != 0 || m.Of != 0 {
			return errors.New("a percentage, windows and what they hold are of aggregate percentile")
		}
	case m.Percent.Sign() <= 0 || m.Percent.Cmp(decimal.FromInt(hundred)) > 0:
		return fmt.Errorf("a percentile is above 0 and up to 100, not %s", m.Percent)
	case m.Window < 0 || m.Window%Second != 0:
		return errors.New("a window is a whole number of seconds")
	case windows && m.Of != Average && m.Of != Most && m.Of != Total:
		return errors.New("the value of a window is the average, the greatest or the sum of its rows")
	case !windows && m.Of != 0:
		return errors.New("without windows there is nothing to take the average or sum of")
	}
	return nil
}

func (m *Meter) validateOthers() error {
	correctable := m.Aggregate == Least || m.Aggregate == Most || m.Aggregate == Latest
	switch {
	case m.Per < 0 || m.Per != 0 && m.Aggregate != TimeWeighted:
		return errors.New("a unit of time is above 0, and of aggregate time_weighted")
	case m.Correctable && !correctable:
		return errors.New("correctable is said of min, max and latest only")
	}
	return nil
}

// Validate returns why a coupon takes nothing off. The engine refuses such a coupon.
func (c *Coupon) Validate() error {
	share, amount := !c.Percent.IsZero(), !c.Amount.IsZero()
	var what string
	switch {
	case c.ID == "" || c.Account == "":
		what = "a coupon needs an id and an account"
	case share == amount:
		what = "it is of a percentage or of an amount, and of one of them"
	case share && !isPercent(c.Percent):
		what = fmt.Sprintf("a percentage is above 0 and up to 100, not %s", c.Percent)
	case share && c.Currency != "":
		what = "a percentage has no currency"
	case amount && c.Amount.Sign() < 0:
		what = fmt.Sprintf("an amount is above 0, not %s", c.Amount)
	case amount && c.Currency == "":
		what = "an amount needs its currency"
	case c.Periods < 0:
		what = fmt.Sprintf("it is for some periods, or 0 for all; not for %d", c.Periods)
	default:
		return nil
	}
	return fmt.Errorf("coupon %s: %s", c.ID, what)
}

// Validate returns why taxes cannot be reckoned. The engine refuses such rates.
func (t *AccountTaxes) Validate() error {
	if t.Account == "" {
		return errors.New("taxes: they have no account")
	}
	for i := range t.Rates {
		r := &t.Rates[i]
		if !isPercent(r.Percent) {
			return fmt.Errorf("account %s, tax %q: a rate is from 0 to 100, not %s", t.Account, r.Code,
				r.Percent)
		}
		twice := func(o TaxRate) bool { return o.Code == r.Code }
		if slices.ContainsFunc(t.Rates[:i], twice) {
			return fmt.Errorf("account %s, tax %q: the code has two rates", t.Account, r.Code)
		}
	}
	return nil
}

// Validate returns why a budget cannot be watched. The engine refuses such a budget. One that ends,
// whose Limit is 0, needs its key only.
func (b *Budget) Validate() error {
	var what string
	switch {
	case b.Key == "":
		what = "it has no key"
	case b.Limit.Sign() < 0:
		what = fmt.Sprintf("its limit is above 0, or 0 to end it; not %s", b.Limit)
	case b.Limit.IsZero():
		return nil
	case (b.Meter == "") == (b.Currency == ""):
		what = "it is of a meter, or of an amount in a currency, and of one of them"
	}
	for i := range b.At {
		if b.At[i].Sign() <= 0 || i > 0 && b.At[i].Cmp(b.At[i-1]) <= 0 {
			what = "the percentages at which it tells are above 0 and rise"
		}
	}
	if what == "" {
		return nil
	}
	return fmt.Errorf("budget %s: %s", b.Key, what)
}

// Validate returns why a credit cannot be granted. The engine refuses such a grant.
func (c *Credit) Validate() error {
	switch {
	case c.Expires < 0 || c.Expires > MaxTime:
		return fmt.Errorf("credit %s: it expires before %s, or never", c.ID, MaxTime)
	case c.Priority < 0 || c.Priority > MaxPriority:
		return fmt.Errorf("credit %s: a priority is 0 to %d, not %d", c.ID, MaxPriority, c.Priority)
	}
	return nil
}

// isPercent reports whether the number is from 0 to 100.
func isPercent(d decimal.Decimal) bool {
	return d.Sign() >= 0 && d.Cmp(decimal.FromInt(hundred)) <= 0
}
