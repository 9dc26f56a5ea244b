package engine

import (
	"errors"
	"fmt"
	"slices"

	"billctl/engine/decimal"
)

// validate returns why a price cannot rate anything. What ruleset 1 took is taken for ever; the
// catalog refuses more, with the place in the file.
func (p *Price) validate() error {
	if (p.Model == Flat) != (p.Meter == "") {
		return errors.New("a flat price has no meter, every other has one")
	}
	if c := p.Convert; c != nil && c.Divide.Sign() <= 0 {
		return errors.New("convert divides by nothing")
	}
	if err := p.validateModel(); err != nil {
		return err
	}
	c := p.Commitment
	switch {
	case p.Model != Percentage && p.ratesEach():
		return errors.New("rate, fixed and free amounts of events are of model percentage")
	case p.Model != Dynamic && !p.Multiplier.IsZero():
		return errors.New("a multiplier is of model dynamic")
	case p.Model != Unit && p.Matrix != nil:
		return errors.New("a matrix is of model unit")
	case p.Multiplier.Cmp(maxFactor()) > 0:
		return fmt.Errorf("a multiplier is up to %s, not %s", maxFactor(), p.Multiplier)
	case p.Off.Sign() < 0:
		return errors.New("an amount is taken off; it is not negative")
	case c != nil && (c.Amount.Sign() < 0 || c.Overage.Sign() < 0):
		return errors.New("a commitment has an amount and an overage that are not negative")
	case c != nil && c.Overage.Cmp(maxFactor()) > 0:
		return fmt.Errorf("an overage is up to %s, not %s", maxFactor(), c.Overage)
	}
	return nil
}

// maxFactor is the greatest multiplier and overage. Converts and packages have no such bound here,
// as ruleset 1 had none: what they make of amounts ends where decimal.Rat.Round ends it.
func maxFactor() decimal.Decimal { return decimal.FromInt(1_000_000) }

func (p *Price) validateModel() error {
	switch p.Model {
	case Flat:
		return nil
	case Unit:
		return p.validateMatrix()
	case Graduated, Volume, Stairstep, GraduatedPercentage:
		return p.validateTiers(false)
	case Package:
		if len(p.Tiers) > 0 {
			return p.validateTiers(true)
		}
		if p.Size.Sign() <= 0 {
			return errors.New("a package holds nothing")
		}
		return nil
	case Percentage:
		return p.validatePercentage()
	case Dynamic:
		if p.Multiplier.Sign() <= 0 {
			return errors.New("a multiplier is above 0")
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
		case p.Model == GraduatedPercentage && !isPercent(t.Unit):
			return fmt.Errorf("a rate is from 0 to 100, not %s", t.Unit)
		}
	}
	return nil
}

// ratesEach reports whether the price has anything that only Percentage knows.
func (p *Price) ratesEach() bool {
	return !p.Rate.IsZero() || !p.Fixed.IsZero() || p.FreeEvents != 0 || !p.FreeAmount.IsZero() ||
		p.MinEach != nil || p.MaxEach != nil
}

func (p *Price) validatePercentage() error {
	least, most := p.MinEach, p.MaxEach
	negative := func(d *decimal.Decimal) bool { return d != nil && d.Sign() < 0 }
	switch {
	case !isPercent(p.Rate):
		return fmt.Errorf("a rate is from 0 to 100, not %s", p.Rate)
	case negative(&p.Fixed) || negative(least) || negative(most):
		return errors.New("what an event pays is not negative")
	case p.FreeEvents < 0 || negative(&p.FreeAmount):
		return errors.New("what is free is not negative")
	case least != nil && most != nil && least.Cmp(*most) > 0:
		return fmt.Errorf("the least of an event is %s and its most %s", least, most)
	case p.Convert != nil || !p.Free.IsZero():
		return errors.New("it rates each event, so convert and free have no quantity to change")
	}
	return nil
}

func (p *Price) validateMatrix() error {
	m := p.Matrix
	switch {
	case m == nil:
		return nil
	case len(p.Per) > 0 || !p.Unit.IsZero():
		return errors.New("a matrix has unit prices and lines of its own, so there is no unit and no per")
	case len(m.Dims) == 0 || len(m.Rows) == 0:
		return errors.New("a matrix needs a dimension and a row")
	}
	for i, dim := range m.Dims {
		if slices.Contains(m.Dims[:i], dim) {
			return fmt.Errorf("the matrix has dimension %s twice", dim)
		}
	}
	for i := range m.Rows {
		row := &m.Rows[i]
		if len(row.Values) != len(m.Dims) {
			return fmt.Errorf("row %d of the matrix has %d values for %d dimensions", i+1,
				len(row.Values), len(m.Dims))
		}
		if i > 0 && slices.Compare(m.Rows[i-1].Values, row.Values) >= 0 {
			return fmt.Errorf("row %d of the matrix is not behind the one before, by its values", i+1)
		}
	}
	return nil
}

// fits returns why the price cannot rate what its meter counts.
func (p *Price) fits(m *Meter) error {
	if p.Model == Percentage && m.Aggregate != Total {
		return fmt.Errorf("it rates the amount of each event, so meter %s has to sum amounts", m.Key)
	}
	if p.Matrix == nil {
		return nil
	}
	for _, dim := range p.Matrix.Dims {
		grouped := func(d Dimension) bool { return d.Name == dim }
		if !slices.ContainsFunc(m.GroupBy, grouped) {
			return fmt.Errorf("its matrix is by %s, and meter %s is not grouped by that", dim, m.Key)
		}
	}
	return nil
}
