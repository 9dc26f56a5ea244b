package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"billctl/engine/decimal"
)

// The reasons why a definition is none of ours (docs/conformance.md).
const (
	differentSizes  = "packages of different sizes by volume"
	differentMonths = "months of 30 days"
	differentUnits  = "tiers over several quantities"
	differentCap    = "a cap of one of several tiers"
	differentBound  = "bounds that belong to the tier above"
	differentRest   = "remainders given away before free units"
	differentTrueUp = "a commitment that is not raised to"
	differentEnd    = "usage beyond the last tier"
)

// vectorRuns is how a fact of each model is billed: the numbers that it states, or why it is
// different.
var vectorRuns = map[string]func(t *testing.T, v *vector) (got []decimal.Rat, reason string){
	"per_unit": priced, "package": priced, "volume": priced, "graduated": priced,
	"stairstep": priced, "stairstep_cumulative": priced, "tier_blocks": priced, "round": priced,
	"bucketed_per_unit": priced, "bucketed_package": priced, "bucketed_graduated": priced,
	"bucketed_volume": priced, "windowed_commitment": priced, "sum_of_rounded_lines": priced,
	"duration_rate": priced, "tier_blocks_multi": pricedUnits,
	"min_commitment": trueUp, "percentage_discount": discounted, "fixed_discount": discounted,
	"correction_delta": corrected, "capacity": func(*testing.T, *vector) ([]decimal.Rat, string) {
		return nil, differentUnits
	},
	"tax_rounded": taxedAmount, "discount_stack": stacked, "discount_distribution": distributed,
	"proration": prorated, "proration_ratio": proratedDays, "calendar_days": calendarDays,
	"proration_change": changed, "proration_change_cents": changed,
}

// priced bills usage by the price that the definition is of ours.
func priced(t *testing.T, v *vector) ([]decimal.Rat, string) {
	t.Helper()
	d := &v.Definition
	p, reason := d.price(v.Model)
	if reason != "" {
		return nil, reason
	}
	b := &billing{prices: []Price{p}, usage: once(v.Usage.Quantity)}
	switch {
	case v.Usage.Quantity != "":
		if reason := d.beyond(&p, dec(v.Usage.Quantity)); reason != "" {
			return nil, reason
		}
	case v.Usage.Seconds != "":
		b.usage = once(v.Usage.Seconds)
		b.each = &RoundEach{To: dec(d.Increment), Round: RoundUp}
	default: // a line for each
		b.prices[0].Per = []string{"window"}
		b.usage = windows(append(v.Usage.Buckets, v.Usage.Lines...))
	}
	return []decimal.Rat{b.cost(t, d.Scale)}, ""
}

// pricedUnits bills the usage of several meters by a price for each.
func pricedUnits(t *testing.T, v *vector) ([]decimal.Rat, string) {
	t.Helper()
	b := &billing{}
	for key, quantity := range map[string]string{"FOO": v.Usage.Foo, "BAR": v.Usage.Bar} {
		d := v.Definition
		d.Tiers = d.Units[key]
		p, reason := d.price("tier_blocks")
		if reason != "" {
			return nil, reason
		}
		p.Key, p.Meter = key, key
		b.prices = append(b.prices, p)
		b.usage = append(b.usage, billed{key, "", quantity})
	}
	return []decimal.Rat{b.cost(t, v.Definition.Scale)}, ""
}

// price is the definition as a price of ours, or why there is none.
func (d *vectorDefinition) price(model string) (p Price, reason string) {
	p = Price{Key: "p", Meter: "usage", Model: Unit, Free: decOr(d.FreeUnits, "0"),
		ZeroFree: d.ZeroFlat != nil && !*d.ZeroFlat}
	switch strings.TrimPrefix(model, "bucketed_") {
	case "per_unit":
		p.Unit = dec(d.Price)
	case "windowed_commitment":
		p.Unit = dec(d.Price)
		p.Commitment = &Commitment{dec(d.Commitment), dec(d.Overage)}
		if !d.TrueUp {
			reason = differentTrueUp
		}
	case "duration_rate":
		p.Unit = dec(d.Rate)
		p.Convert = &Convert{Multiply: dec("1"), Divide: dec(d.RateUnit)}
	case "round", "sum_of_rounded_lines":
		d.rounding(&p)
	case "package":
		reason = d.packages(&p)
	case "graduated":
		p.Model = Graduated
		reason = d.tiers(&p)
	case "volume":
		p.Model = Volume
		reason = d.tiers(&p)
	case "stairstep":
		p.Model, p.Tiers = Stairstep, d.steps()
	case "stairstep_cumulative":
		p.Model, p.Tiers = Graduated, d.steps()
	case "tier_blocks":
		reason = d.blocks(&p)
	default:
		panic("BUG: no such model: " + model)
	}
	return p, reason
}

// rounding: a line is rounded to the nearest; up or down, the quantity is.
func (d *vectorDefinition) rounding(p *Price) {
	p.Unit = dec("1")
	round := map[string]ConvertRound{"ceiling": RoundUp, "floor": RoundDown}[d.Rounding]
	if round == KeepFraction {
		return
	}
	p.Unit = dec("0." + strings.Repeat("0", *d.Scale-1) + "1")
	p.Convert = &Convert{Multiply: dec("1"), Divide: p.Unit, Round: round}
}

// packages: those that were begun are charged. A product that gives a remainder away counts whole
// packages.
func (d *vectorDefinition) packages(p *Price) (reason string) {
	if d.Rounding != "down" {
		p.Model, p.Size, p.Amount = Package, dec(d.PackageSize), dec(d.PackagePrice)
		return ""
	}
	if !p.Free.IsZero() {
		return differentRest
	}
	p.Unit = dec(d.PackagePrice)
	p.Convert = &Convert{Multiply: dec("1"), Divide: dec(d.PackageSize), Round: RoundDown}
	return ""
}

func (d *vectorDefinition) tiers(p *Price) (reason string) {
	if d.Boundary != "" && d.Boundary != "upper_inclusive" {
		return differentBound
	}
	list := append(d.Tiers, d.TiersFirstUnit...)
	for i, tier := range list {
		own := Tier{Unit: decOr(tier.Unit, "0"), Flat: decOr(tier.Flat, "0")}
		switch {
		case tier.FlatCap != "" && len(list) > 1:
			return differentCap
		case tier.FlatCap != "":
			p.Maximum = ptr(tier.FlatCap)
		}
		switch {
		case tier.UpTo != nil:
			own.UpTo = dec(*tier.UpTo)
		case i+1 < len(d.TiersFirstUnit):
			own.UpTo = dec(list[i+1].FirstUnit)
		default:
			own.Last = true
		}
		p.Tiers = append(p.Tiers, own)
	}
	return ""
}

// beyond returns why our tiers and those of the definition differ for the quantity.
func (d *vectorDefinition) beyond(p *Price, q decimal.Decimal) (reason string) {
	if n := len(d.Steps); n > 0 && d.Steps[n-1].UpTo != nil && q.Cmp(dec(*d.Steps[n-1].UpTo)) > 0 {
		return differentEnd
	}
	for _, tier := range d.TiersFirstUnit {
		if p.Model == Volume && q.Cmp(dec(tier.FirstUnit)) == 0 {
			return differentBound
		}
	}
	return ""
}

func (d *vectorDefinition) steps() (list []Tier) {
	for i, step := range d.Steps {
		own := Tier{Flat: dec(step.Price), Last: i+1 == len(d.Steps)}
		if !own.Last {
			own.UpTo = dec(*step.UpTo)
		}
		list = append(list, own)
	}
	return list
}

// blocks are packages in tiers whose bounds are numbers of packages. Each tier's part is priced by
// itself, or all by the tier that is reached: then the number of packages is the quantity.
func (d *vectorDefinition) blocks(p *Price) (reason string) {
	top := d.Policy == "top_tier"
	p.Model = Package
	if top {
		p.Model = Volume
		p.Convert = &Convert{Multiply: dec("1"), Divide: dec(d.Tiers[0].Size), Round: RoundUp}
	}
	end := decimal.Rat{}
	for i, tier := range d.Tiers {
		own := Tier{Last: i+1 == len(d.Tiers)}
		size := decimal.Int(1)
		if top {
			own.Unit = dec(tier.Amount)
		} else {
			own.Size, own.Amount = dec(tier.Size), dec(tier.Amount)
			size = own.Size.Rat()
		}
		if top && tier.Size != d.Tiers[0].Size {
			return differentSizes
		}
		if !own.Last {
			end = end.Add(dec(*tier.Most).Rat().Mul(size))
			own.UpTo = dec(end.String())
		}
		p.Tiers = append(p.Tiers, own)
	}
	return ""
}

// costOf bills a quantity by a unit price of 1 that is changed.
func costOf(t *testing.T, scale *int, quantity string, change func(p *Price)) decimal.Rat {
	t.Helper()
	p := Price{Key: "p", Model: Unit, Meter: "usage", Unit: dec("1")}
	if change != nil {
		change(&p)
	}
	b := &billing{prices: []Price{p}, usage: once(quantity)}
	return b.cost(t, scale)
}

// trueUp is what a minimum adds.
func trueUp(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	with := costOf(t, d.Scale, v.Usage.Billed, func(p *Price) { p.Minimum = ptr(d.MinAmount) })
	return []decimal.Rat{with.Sub(costOf(t, d.Scale, v.Usage.Billed, nil))}, ""
}

// discounted is what a discount takes off.
func discounted(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	with := costOf(t, d.Scale, v.Usage.Amount, func(p *Price) {
		p.Discount, p.Off = decOr(d.Percent, "0"), decOr(d.Off, "0")
	})
	return []decimal.Rat{costOf(t, d.Scale, v.Usage.Amount, nil).Sub(with)}, ""
}

// corrected is what usage costs now less what was booked.
func corrected(t *testing.T, v *vector) ([]decimal.Rat, string) {
	p, reason := v.Definition.price(v.Definition.BaseModel)
	var out []decimal.Rat
	for _, now := range v.Usage.Snapshots {
		b := &billing{prices: []Price{p}, usage: once(now)}
		out = append(out, b.cost(t, v.Definition.Scale).Sub(dec(v.Usage.Already).Rat()))
	}
	return out, reason
}

// flats are flat amounts, each with a tax code of its own.
func flats(amounts ...string) (list []Price) {
	for i, amount := range amounts {
		key := fmt.Sprint("p", i)
		list = append(list, Price{Key: key, Model: Flat, Amount: dec(amount), TaxCode: key})
	}
	return list
}

func taxedAmount(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	b := &billing{digits: *d.Scale, prices: flats(d.Amount)}
	b.rates = []TaxRate{{Percent: dec(d.RatePercent)}}
	inv, tax := b.invoice(t), decimal.Rat{}
	for i := range inv.Taxes {
		tax = tax.Add(inv.Taxes[i].Amount.Rat(b.digits))
	}
	return []decimal.Rat{tax}, ""
}

// stacked is what coupons take off a subtotal, in a currency whose minor unit is 1.
func stacked(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	b := &billing{prices: flats(d.SubtotalCents)}
	for i, c := range d.Discounts {
		b.coupon(fmt.Sprint("c", i), c.Percent, c.FixedCents)
	}
	left := b.invoice(t).Subtotal
	return []decimal.Rat{dec(d.SubtotalCents).Rat().Sub(left.Rat(0))}, ""
}

func (b *billing) coupon(id, percent, amount string) {
	c := Coupon{ID: id, Account: "acme", Percent: decOr(percent, "0"), Amount: decOr(amount, "0")}
	if amount != "" {
		c.Currency = "XTS"
	}
	b.coupons = append(b.coupons, c)
}

// distributed is what a coupon leaves of each line: what its tax is reckoned on.
func distributed(t *testing.T, v *vector) ([]decimal.Rat, string) {
	b := &billing{prices: flats(v.Usage.LinesCents...)}
	b.coupon("c", "", v.Definition.DiscountCents)
	for _, p := range b.prices {
		b.rates = append(b.rates, TaxRate{Code: p.TaxCode})
	}
	var out []decimal.Rat
	for _, tax := range b.invoice(t).Taxes {
		out = append(out, tax.Base.Rat(0))
	}
	return out, ""
}

// flatOver is a prorated flat amount over the days [from, to) of the period [first, end).
func flatOver(t *testing.T, amount string, scale *int, first, from, to, end Day) decimal.Rat {
	t.Helper()
	in := lineInput{Zone: &Zone{Name: "UTC"}, Digits: maxDigits, Until: Future}
	if scale != nil {
		in.Digits = *scale
	}
	in.Period = lineSpan{
		Prices: []Price{{Key: "p", Model: Flat, Amount: dec(amount), Prorate: true}},
		Start:  from.Start(), End: to.Start(), FullStart: first.Start(), FullEnd: end.Start(),
	}
	sum := decimal.Rat{}
	for _, l := range rateLines(in) {
		sum = sum.Add(l.Amount.Rat(in.Digits))
	}
	return sum
}

// prorated: so many days of a period.
func prorated(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	days, full := fraction(d.Prorate)
	return []decimal.Rat{flatOver(t, d.Amount, d.Scale, 0, full-days, full, full)}, ""
}

// fraction reads "17/31".
func fraction(text string) (days, full Day) {
	if _, err := fmt.Sscanf(text, "%d/%d", &days, &full); err != nil {
		panic(fmt.Sprintf("BUG: test value %q: %v", text, err))
	}
	return days, full
}

func dayOf(text string) Day {
	day, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(fmt.Sprintf("BUG: test value %q: %v", text, err))
	}
	return DayOf(Micros(day.UnixMicro()))
}

// proratedDays: a subscription from one day to another is billed the share of the month that ends
// on that day.
func proratedDays(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	if strings.Contains(d.Rule, "fixed 30-day months") {
		return nil, differentMonths
	}
	from, to := dayOf(v.Usage.From), dayOf(v.Usage.To)
	b := &billing{
		anchor: Anchor(civilOf(int64(to)).day), from: from.Start(), to: to.Start(),
		prices: []Price{{Key: "p", Model: Flat, Amount: dec("1"), Prorate: true}},
	}
	return []decimal.Rat{b.cost(t, d.Scale)}, ""
}

// changed: a flat amount that was billed for a whole period ends within it, and another begins.
func changed(t *testing.T, v *vector) ([]decimal.Rat, string) {
	d := &v.Definition
	old, new := d.OldCents, d.NewCents
	scale := 0
	if d.Old != nil {
		old = dec(d.Old.Price).Rat().Mul(dec(d.Old.Qty).Rat()).String()
		new = dec(d.New.Price).Rat().Mul(dec(d.New.Qty).Rat()).String()
		scale = *d.Scale
	}
	first, on := dayOf(d.Period[0]), dayOf(d.Change)
	days, full := fraction(d.Factor) // which say whether the period's last day counts
	end := first + full
	if on+days != end {
		t.Errorf("%s: from %s there are not %d days to %s", v.Source, on, days, end)
	}
	booked := flatOver(t, old, &scale, first, first, end, end)
	credit := flatOver(t, old, &scale, first, first, on, end).Sub(booked)
	charge := flatOver(t, new, &scale, first, on, end, end)
	return []decimal.Rat{credit, charge, credit.Add(charge)}, ""
}

func calendarDays(t *testing.T, v *vector) ([]decimal.Rat, string) {
	z := zoneNamed(t, v.Definition.Timezone)
	start := func(date string) Micros {
		c := civilOf(int64(dayOf(date)))
		return z.StartOfDay(c.year, c.month, c.day)
	}
	return []decimal.Rat{decimal.Int(z.days(start(v.Usage.From), start(v.Usage.To)))}, ""
}

// zoneNamed returns the zone's rules for the years 2023 to 2025, found by asking for every hour.
func zoneNamed(t *testing.T, name string) *Zone {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	offset := func(sec int64) int32 {
		_, offset := time.Unix(sec, 0).In(loc).Zone()
		return int32(offset)
	}
	first, last := at(2023, 1, 1, 0, 0), at(2026, 1, 1, 0, 0)
	z := &Zone{Name: name, Offset: offset(int64(first / Second))}
	before := z.Offset
	for sec := int64(first / Second); sec < int64(last/Second); sec += 3600 {
		if o := offset(sec); o != before {
			z.Transitions, before = append(z.Transitions, Transition{sec, o}), o
		}
	}
	return z
}
