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
	{"unit", engine.Unit, []string{"unit", "matrix"}},
	{"graduated", engine.Graduated, []string{"tiers", "zero_usage"}},
	{"volume", engine.Volume, []string{"tiers", "zero_usage"}},
	{"package", engine.Package, []string{"size", "amount", "tiers"}},
	{"stairstep", engine.Stairstep, []string{"tiers", "zero_usage"}},
	{"percentage", engine.Percentage, []string{"rate", "fixed", "free_events", "free_amount",
		"min_per_event", "max_per_event"}},
	{"graduated_percentage", engine.GraduatedPercentage, []string{"tiers", "zero_usage"}},
	{"dynamic", engine.Dynamic, []string{"multiplier"}},
}

var (
	anyKeys   = []string{"key", "model", "discount", "minimum", "maximum", "tax_code"}
	usageKeys = []string{"meter", "match", "per", "commitment"}
	unitKeys  = []string{"convert", "free"} // of what is counted, not of each event's amount
)

// convertRounds are the words by engine.ConvertRound.
var convertRounds = [...]string{"", "up", "down", "nearest"}

// ModelWord returns the catalog's word for a charge model.
func ModelWord(m engine.Model) string {
	for _, known := range models {
		if known.model == m {
			return known.word
		}
	}
	return fmt.Sprintf("model %d", m)
}

func modelWords() []string {
	words := make([]string, len(models))
	for i, m := range models {
		words[i] = m.word
	}
	return words
}

// modelKeys returns the keys that a price of the model takes; every key for model 0.
func modelKeys(m engine.Model) []string {
	keys := slices.Clone(anyKeys)
	if m != engine.Flat {
		keys = append(keys, usageKeys...)
	}
	if m != engine.Flat && m != engine.Percentage {
		keys = append(keys, unitKeys...)
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
		words := modelWords()
		if w, ok := f.word(f.get("model"), "model", words...); ok {
			p.Model = models[slices.Index(words, w)].model
		}
	} else {
		f.need("model", "known here: "+strings.Join(modelWords(), ", "))
	}
	what := "a price"
	if p.Model != 0 {
		what = "a price of model " + ModelWord(p.Model)
	}
	f = fieldsOf(r.faults, n, what, append(modelKeys(p.Model), r.beside...)...)
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
	if p.Model == engine.Percentage {
		return // convert and free are of quantities; they are reported as keys it does not have
	}
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
		conv.Divide, _ = c.divisor(v, "divide")
	}
	if v := c.get("multiply"); v != nil {
		conv.Multiply, _ = c.divisor(v, "multiply")
	}
	if w, ok := c.word(c.get("round"), "round", convertRounds[1:]...); ok {
		conv.Round = engine.ConvertRound(slices.Index(convertRounds[:], w))
	}
	p.Convert = conv
}
