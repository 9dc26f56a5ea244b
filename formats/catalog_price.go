package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// models are the charge models, their words, and the keys that only some models take.
var models = []struct {
	word  string
	model engine.Model
	keys  []string
}{
	{"flat", engine.Flat, []string{"amount", "timing", "prorate"}},
	{"unit", engine.Unit, []string{"unit"}},
	{"graduated", engine.Graduated, []string{"tiers", "zero_usage"}},
	{"volume", engine.Volume, []string{"tiers", "zero_usage"}},
	{"package", engine.Package, []string{"size", "amount", "tiers"}},
}

var (
	anyKeys   = []string{"key", "model", "discount", "minimum", "maximum", "tax_code"}
	usageKeys = []string{"meter", "match", "per", "convert", "free"}
)

// ModelWord returns the catalog's word for a charge model.
func ModelWord(m engine.Model) string {
	for _, known := range models {
		if known.model == m {
			return known.word
		}
	}
	return fmt.Sprintf("model %d", m)
}

// modelKeys returns the keys that a price of the model takes; every key for model 0.
func modelKeys(m engine.Model) []string {
	keys := slices.Clone(anyKeys)
	if m != engine.Flat {
		keys = append(keys, usageKeys...)
	}
	for _, known := range models {
		if m == known.model || m == 0 {
			keys = append(keys, known.keys...)
		}
	}
	return sortedSet(keys)
}

// price reads one price of a plan.
func (r *catalogReader) price(n *node, plan *engine.Plan, at *planPlaces) {
	if n.kind != mapNode {
		r.faults.add(n.at, "", "a price must be a mapping, not %s", n.what())
		return
	}
	f := &fields{faults: r.faults, node: n, what: "a price"}
	p := engine.Price{}
	if word := n.child("model"); word != nil {
		words := make([]string, len(models))
		for i, m := range models {
			words[i] = m.word
		}
		if w, ok := f.word(f.get("model"), "model", words...); ok {
			p.Model = models[slices.Index(words, w)].model
		}
	} else {
		f.need("model", "known here: flat, unit, graduated, volume, package")
	}
	what := "a price"
	if p.Model != 0 {
		what = "a price of model " + ModelWord(p.Model)
	}
	f = fieldsOf(r.faults, n, what, modelKeys(p.Model)...)
	if key, ok := f.key(f.need("key", "name it; the name stands on invoices"), "price key"); ok {
		p.Key = key
		if first, twice := at.prices[key]; twice {
			r.faults.add(f.get("key").at, "the first is in "+first.String(),
				"price %q is given twice", key)
		} else {
			at.prices[key] = f.get("key").at
		}
	}
	id := planID{plan.Key, plan.Version}
	r.priceNodes[id] = append(r.priceNodes[id], n)
	if p.Model != 0 {
		if p.Model != engine.Flat {
			r.usage(f, &p)
		}
		r.charge(f, &p)
	}
	r.bounds(f, &p)
	if code := f.get("tax_code"); code != nil {
		p.TaxCode, _ = f.key(code, "tax_code")
	}
	plan.Prices = append(plan.Prices, p)
}

// usage reads what a price counts.
func (r *catalogReader) usage(f *fields, p *engine.Price) {
	p.Meter, _ = f.key(f.need("meter", "name the meter that is charged"), "meter")
	if match := f.get("match"); match != nil && match.kind != mapNode {
		r.faults.add(match.at, "write match: {model: [large]}",
			"match must be a mapping, not %s", match.what())
	} else if match != nil {
		for i, key := range match.keys {
			values := f.values(match.items[i], "match "+clip(key.text))
			if slices.ContainsFunc(p.Match, func(m engine.Match) bool { return m.Dim == key.text }) {
				r.faults.add(key.at, "put all values into one list", "match names %q twice", key.text)
			}
			p.Match = append(p.Match, engine.Match{Dim: key.text, Values: values})
		}
		slices.SortFunc(p.Match, func(a, b engine.Match) int { return strings.Compare(a.Dim, b.Dim) })
	}
	for _, item := range f.list(f.get("per"), "per") {
		dim, ok := f.key(item, "dimension")
		if ok && contains(p.Per, dim) {
			r.faults.add(item.at, "", "per names %q twice", dim)
		} else if ok {
			p.Per = append(p.Per, dim)
		}
	}
	slices.Sort(p.Per)
	r.convert(f, p)
	if free := f.get("free"); free != nil {
		p.Free, _ = f.quantity(free, "free")
	}
}

// convert reads how a quantity is changed before it is priced.
func (r *catalogReader) convert(f *fields, p *engine.Price) {
	n := f.get("convert")
	c := fieldsOf(r.faults, n, "convert", "divide", "multiply", "round")
	if c == nil {
		return
	}
	if len(n.keys) == 0 {
		r.faults.add(n.at, "write convert: {divide: 1000, round: up}", "convert says nothing")
	}
	conv := &engine.Convert{Multiply: decimal.FromInt(1), Divide: decimal.FromInt(1)}
	if v := c.get("divide"); v != nil {
		conv.Divide, _ = c.positive(v, "divide")
	}
	if v := c.get("multiply"); v != nil {
		conv.Multiply, _ = c.positive(v, "multiply")
	}
	words := []string{"", "up", "down", "nearest"} // by engine.ConvertRound
	if w, ok := c.word(c.get("round"), "round", words[1:]...); ok {
		conv.Round = engine.ConvertRound(slices.Index(words, w))
	}
	p.Convert = conv
}

// charge reads the fields that belong to the price's model.
func (r *catalogReader) charge(f *fields, p *engine.Price) {
	const tierExample = "write tiers: [{up_to: 1000, unit: \"0.02\"}, {unit: \"0.01\"}]"
	switch p.Model {
	case engine.Flat:
		p.Amount, _ = f.amount(f.need("amount", `write amount: "29.00"`), "amount")
		if w, ok := f.word(f.get("timing"), "timing", "advance", "arrears"); ok {
			p.Advance = w == "advance"
		}
		p.Prorate = f.flag(f.get("prorate"), "prorate")
	case engine.Unit:
		p.Unit, _ = f.amount(f.need("unit", `write the price of one: unit: "0.05"`), "price")
	case engine.Graduated, engine.Volume:
		r.tiers(f, f.need("tiers", tierExample), p)
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
		p.Size, _ = f.positive(f.need("size", example), "size")
		p.Amount, _ = f.amount(f.need("amount", example), "amount")
	}
}

// tiers reads the tiers of a price; bounds rise and only the last has none.
func (r *catalogReader) tiers(f *fields, n *node, p *engine.Price) {
	items := f.list(n, "tiers")
	if n != nil && n.kind == listNode && len(items) == 0 {
		r.faults.add(n.at, "the last tier has no up_to", "tiers lists no tier")
	}
	p.Tiers = nil
	var before decimal.Decimal
	for i, item := range items {
		keys := []string{"up_to", "unit", "flat"}
		if p.Model == engine.Package {
			keys = []string{"up_to", "size", "amount"}
		}
		t := fieldsOf(r.faults, item, fmt.Sprintf("tier %d", i+1), keys...)
		if t == nil {
			continue
		}
		tier := engine.Tier{Last: i == len(items)-1}
		r.upTo(t, &tier, before)
		before = tier.UpTo
		if p.Model == engine.Package {
			const example = `write {up_to: 1000, size: 100, amount: "5.00"}`
			tier.Size, _ = t.positive(t.need("size", example), "size")
			tier.Amount, _ = t.amount(t.need("amount", example), "amount")
		} else {
			if !t.has("unit") && !t.has("flat") {
				r.faults.add(item.at, "write unit, flat or both; what is left out is 0",
					"tier %d has no price", i+1)
			}
			tier.Unit, _ = t.amount(t.get("unit"), "price")
			tier.Flat, _ = t.amount(t.get("flat"), "flat")
		}
		p.Tiers = append(p.Tiers, tier)
	}
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

// bounds reads discount, minimum and maximum.
func (r *catalogReader) bounds(f *fields, p *engine.Price) {
	if n := f.get("discount"); n != nil {
		if d := fieldsOf(r.faults, n, "discount", "percent"); d != nil {
			r.percent(d, d.need("percent", "write discount: {percent: 10}"), p)
		}
	}
	if n := f.get("minimum"); n != nil {
		if d, ok := f.amount(n, "minimum"); ok {
			p.Minimum = &d
		}
	}
	if n := f.get("maximum"); n != nil {
		if d, ok := f.amount(n, "maximum"); ok {
			p.Maximum = &d
		}
	}
	if p.Minimum != nil && p.Maximum != nil && p.Minimum.Cmp(*p.Maximum) > 0 {
		n := f.get("minimum")
		if n == nil {
			n = f.get("maximum")
		}
		if n != nil {
			r.faults.add(n.at, "", "minimum %s is above maximum %s", p.Minimum, p.Maximum)
		}
	}
}

// percent reads a discount.
func (r *catalogReader) percent(d *fields, n *node, p *engine.Price) {
	v, ok := d.decimal(n, "percent")
	if !ok {
		return
	}
	if v.Sign() < 0 || v.Cmp(decimal.FromInt(100)) > 0 {
		r.faults.add(n.at, "10 is ten percent", "percent %s is not from 0 to 100", n.text)
		return
	}
	p.Discount = v
}
