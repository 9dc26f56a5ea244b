package engine

import (
	"errors"
	"fmt"
)

// Validate returns why a plan version cannot rate anything. The engine refuses such a plan, so that
// no journal, however it was made, leads into a division by zero or a quantity without a tier.
func (p *Plan) Validate() error {
	switch {
	case p.Key == "" || p.Version < 1:
		return errors.New("a plan needs a key and a version")
	case p.Currency == "" || p.Digits < 0 || p.Digits > 4:
		return fmt.Errorf("plan %s: a currency has 0 to 4 digits", p.Key)
	case p.Interval != Month:
		return fmt.Errorf("plan %s: no such period", p.Key)
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

func (p *Price) validate() error {
	if (p.Model == Flat) != (p.Meter == "") {
		return errors.New("a flat price has no meter, every other has one")
	}
	if c := p.Convert; c != nil && c.Divide.Sign() <= 0 {
		return errors.New("convert divides by nothing")
	}
	switch p.Model {
	case Flat, Unit:
		return nil
	case Graduated, Volume:
		return p.validateTiers(false)
	case Package:
		if len(p.Tiers) > 0 {
			return p.validateTiers(true)
		}
		if p.Size.Sign() <= 0 {
			return errors.New("a package holds nothing")
		}
		return nil
	}
	return errors.New("no such model")
}

// validateTiers checks that bounds rise and that exactly the last tier has none.
func (p *Price) validateTiers(sizes bool) error {
	if len(p.Tiers) == 0 {
		return errors.New("it has no tiers")
	}
	for i := range p.Tiers {
		t := &p.Tiers[i]
		switch {
		case t.Last != (i == len(p.Tiers)-1):
			return errors.New("the last tier, and no other, is unbounded")
		case i > 0 && !t.Last && t.UpTo.Cmp(p.Tiers[i-1].UpTo) <= 0:
			return errors.New("bounds of tiers do not rise")
		case sizes && t.Size.Sign() <= 0:
			return errors.New("a package holds nothing")
		}
	}
	return nil
}
