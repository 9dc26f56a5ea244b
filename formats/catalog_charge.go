package formats

import (
	"fmt"

	"billctl/engine"
	"billctl/engine/decimal"
)

// maxFreeEvents is more events than a period has.
const maxFreeEvents = 1_000_000_000_000

const boundsHint = "lower the one, raise the other, or leave one out"

// charge reads the fields that belong to the price's model.
func (r *catalogReader) charge(f *fields, p *engine.Price) {
	switch p.Model {
	case engine.Flat:
		p.Amount, _ = f.amount(f.need("amount", `write amount: "29.00"`), "amount")
		if w, ok := f.word(f.get("timing"), "timing", "advance", "arrears"); ok {
			p.Advance = w == "advance"
		}
		p.Prorate = f.flag(f.get("prorate"), "prorate")
	case engine.Unit:
		if f.has("matrix") {
			f.refuse("the matrix has a unit price and a line for each of its rows",
				"a price with a matrix takes no %s", "unit", "per")
			if p.Matrix = r.matrix(f.get("matrix")); p.Matrix == nil {
				p.Matrix = &engine.Matrix{} // at fault, but the price has one: overrides go by it
			}
			return
		}
		p.Unit, _ = f.amount(f.need("unit", `write the price of one: unit: "0.05"`), "price")
	case engine.Graduated, engine.Volume, engine.Stairstep, engine.GraduatedPercentage:
		r.tiers(f, f.need("tiers", "write tiers: ["+tierOf(p.Model).example+"]"), p)
		if _, ok := f.word(f.get("zero_usage"), "zero_usage", "free"); ok {
			p.ZeroFree = true
		}
	case engine.Package:
		if f.has("tiers") {
			f.refuse("the tiers have sizes and amounts of their own",
				"a price with tiers takes no %s", "size", "amount")
			r.tiers(f, f.get("tiers"), p)
			return
		}
		const example = `write size: 1000 and amount: "5.00"`
		p.Size, _ = f.size(f.need("size", example))
		p.Amount, _ = f.amount(f.need("amount", example), "amount")
	case engine.Percentage:
		f.need("rate", `write the percent of each event's amount: rate: "1.5"`)
		r.percentage(f, p)
	case engine.Dynamic:
		p.Multiplier = decimal.FromInt(1)
		r.multiplier(f, p)
	}
}

// percentage reads what each event pays.
func (r *catalogReader) percentage(f *fields, p *engine.Price) {
	p.Rate, _ = f.percent(f.get("rate"), "rate")
	p.Fixed, _ = f.amount(f.get("fixed"), "fixed")
	if n := f.get("free_events"); n != nil {
		events, _ := f.whole(n, "free_events", 0, maxFreeEvents)
		p.FreeEvents = int64(events)
	}
	p.FreeAmount, _ = f.amount(f.get("free_amount"), "free_amount")
	p.MinEach = f.optional("min_per_event")
	p.MaxEach = f.optional("max_per_event")
	if p.MinEach != nil && p.MaxEach != nil && p.MinEach.Cmp(*p.MaxEach) > 0 {
		r.faults.add(f.get("min_per_event").at, boundsHint,
			"min_per_event %s is above max_per_event %s", p.MinEach, p.MaxEach)
	}
}

// multiplier reads by what the amounts of events are multiplied.
func (r *catalogReader) multiplier(f *fields, p *engine.Price) {
	if n := f.get("multiplier"); n != nil {
		d, ok := f.positive(n, "multiplier")
		p.Multiplier, _ = f.within(n, "multiplier", d, ok, "", mostFactor)
	}
}

// optional returns an amount that may be left out, nil where it is.
func (f *fields) optional(key string) *decimal.Decimal {
	n := f.get(key)
	if n == nil {
		return nil
	}
	d, ok := f.amount(n, key)
	if !ok {
		return nil
	}
	return &d
}

// tierKeys are the keys of the tiers of a model.
type tierKeys struct {
	unit, flat string // "" where it has none
	example    string
}

func tierOf(m engine.Model) tierKeys {
	switch m {
	case engine.Stairstep:
		return tierKeys{"", "flat", `{up_to: 10, flat: "50"}, {flat: "90"}`}
	case engine.GraduatedPercentage:
		return tierKeys{"rate", "flat", `{up_to: 1000, rate: "2"}, {rate: "1"}`}
	case engine.Package:
		return tierKeys{"size", "amount", `{up_to: 1000, size: 100, amount: "5.00"}`}
	}
	return tierKeys{"unit", "flat", `{up_to: 1000, unit: "0.02"}, {unit: "0.01"}`}
}

// tiers reads the tiers of a price; bounds rise and only the last has none.
func (r *catalogReader) tiers(f *fields, n *node, p *engine.Price) {
	items := f.list(n, "tiers")
	if n != nil && n.kind == listNode && len(items) == 0 {
		r.faults.add(n.at, "the last tier has no up_to", "tiers lists no tier")
	}
	p.Tiers = nil
	takes := tierOf(p.Model)
	keys := []string{"up_to", takes.unit, takes.flat}
	if takes.unit == "" {
		keys = []string{"up_to", takes.flat}
	}
	var before decimal.Decimal
	for i, item := range items {
		t := fieldsOf(r.faults, item, fmt.Sprintf("tier %d", i+1), keys...)
		if t == nil {
			continue
		}
		tier := engine.Tier{Last: i == len(items)-1}
		r.upTo(t, &tier, before)
		before = tier.UpTo
		r.tierPrice(t, p.Model, &tier)
		p.Tiers = append(p.Tiers, tier)
	}
}

// tierPrice reads what a tier costs.
func (r *catalogReader) tierPrice(t *fields, m engine.Model, tier *engine.Tier) {
	takes := tierOf(m)
	switch {
	case m == engine.Package:
		tier.Size, _ = t.size(t.need("size", "write "+takes.example))
		tier.Amount, _ = t.amount(t.need("amount", "write "+takes.example), "amount")
		return
	case takes.unit == "":
		t.need("flat", `write flat: "50", or flat: 0`)
	case !t.has(takes.unit) && !t.has("flat"):
		r.faults.add(t.node.at, "write "+takes.unit+", flat or both; what is left out is 0",
			"%s has no price", t.what)
	case takes.unit == "rate":
		tier.Unit, _ = t.percent(t.get("rate"), "rate")
	default:
		tier.Unit, _ = t.amount(t.get("unit"), "price")
	}
	tier.Flat, _ = t.amount(t.get("flat"), "flat")
}

// upTo reads a tier's inclusive upper bound.
func (r *catalogReader) upTo(t *fields, tier *engine.Tier, before decimal.Decimal) {
	if tier.Last {
		t.refuse("leave it out: the last tier is open", "the last tier has %s", "up_to")
		return
	}
	n := t.need("up_to", "only the last tier has no up_to")
	d, ok := t.positive(n, "up_to")
	if ok && d.Cmp(before) <= 0 {
		r.faults.add(n.at, "give each tier a greater bound than the one before",
			"up_to %s is not above %s", n.text, before)
		return
	}
	tier.UpTo = d
}

// bounds reads what changes an amount once the model has rated it: discount, commitment, minimum
// and maximum.
func (r *catalogReader) bounds(f *fields, p *engine.Price) {
	r.discount(f.get("discount"), p)
	r.commitment(f.get("commitment"), p)
	p.Minimum, p.Maximum = f.optional("minimum"), f.optional("maximum")
	if p.Minimum != nil && p.Maximum != nil && p.Minimum.Cmp(*p.Maximum) > 0 {
		r.faults.add(f.get("minimum").at, boundsHint, "minimum %s is above maximum %s", p.Minimum,
			p.Maximum)
	}
}

// discount reads a percentage, an amount, or both.
func (r *catalogReader) discount(n *node, p *engine.Price) {
	d := fieldsOf(r.faults, n, "discount", "percent", "amount")
	if d == nil {
		return
	}
	if !d.has("percent") && !d.has("amount") && len(d.meant) == 0 {
		r.faults.add(n.at, `write discount: {percent: 10} or discount: {amount: "5.00"}`,
			"discount needs percent or amount")
	}
	p.Discount, _ = d.percent(d.get("percent"), "percent")
	p.Off, _ = d.amount(d.get("amount"), "amount")
}

// commitment reads the amount that is due in any case.
func (r *catalogReader) commitment(n *node, p *engine.Price) {
	c := fieldsOf(r.faults, n, "commitment", "amount", "overage")
	if c == nil {
		return
	}
	com := &engine.Commitment{Overage: decimal.FromInt(1)}
	com.Amount, _ = c.amount(c.need("amount", `write commitment: {amount: "100"}`), "amount")
	if v := c.get("overage"); v != nil {
		d, ok := c.quantity(v, "overage")
		com.Overage, _ = c.within(v, "overage", d, ok, "", mostFactor)
	}
	p.Commitment = com
}
