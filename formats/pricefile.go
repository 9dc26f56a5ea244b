package formats

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// PriceFile is one price that somebody tries out, with what else its amount depends on
// (docs/formats/price.md).
type PriceFile struct {
	Price    engine.Price
	Meter    *engine.Meter // whose dimensions are those that the price names; nil: the price is flat
	Currency string
	Digits   int
	Rounding decimal.Rounding
}

// priceFileKeys are the keys that a price file has beside those of a price.
var priceFileKeys = []string{"currency", "digits", "rounding", "aggregate"}

// evalAggregates are those that need no period.
var evalAggregates = []string{"sum", "count", "min", "max", "avg"}

// ReadPriceFile reads one price in the language of the catalog. Its key and its meter may be left
// out. name is its path in fsys, where the file of a matrix lies beside it; it need not be there.
// It fails with Faults.
func ReadPriceFile(fsys fs.FS, name string, data []byte) (*PriceFile, error) {
	r := newCatalogReader()
	r.fsys = fsys
	doc := r.single(name, data)
	if doc == nil {
		return nil, r.faults.err()
	}
	r.beside = priceFileKeys
	own, price := splitPrice(doc)
	f := fieldsOf(r.faults, own, "a price file", append(modelKeysOf(doc), priceFileKeys...)...)
	out := &PriceFile{Currency: "USD", Digits: 2}
	out.currency(f)
	if word, ok := f.word(f.get("rounding"), "rounding", "half_away", "half_even"); ok &&
		word == "half_even" {
		out.Rounding = decimal.HalfEven
	}
	// The currency of the plan does not matter to the price.
	plan := &engine.Plan{Key: "price", Version: 1, Interval: engine.Month, Currency: "USD", Digits: 2}
	at := &planPlaces{plan: doc.at, currency: doc.at, prices: map[string]place{}}
	r.price(price, plan, at)
	if len(plan.Prices) == 0 {
		return nil, r.faults.err()
	}
	out.Price = plan.Prices[0]
	if out.Price.Meter != "" {
		out.Meter = evalMeter(f, &out.Price)
		r.c.Meters = append(r.c.Meters, *out.Meter)
	} else {
		f.refuse("a flat price counts nothing", "a flat price takes no %s", "aggregate")
	}
	r.c.Plans, r.c.planAt[planID{plan.Key, plan.Version}] = append(r.c.Plans, *plan), at
	if len(r.faults.list) == 0 { // what is at fault already would be judged twice
		r.finish()
	}
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	return out, nil
}

// single reads a file that has one mapping, or a list of one, as it stands in a plan; nil after a
// fault.
func (r *catalogReader) single(name string, data []byte) *node {
	src, fault := newSource(name, data)
	if fault != nil {
		r.faults.list = append(r.faults.list, fault)
		return nil
	}
	top := place{src, 1, 1, 1}
	if len(data) > MaxFile {
		r.faults.add(top, "", "the file has more than %d MiB", MaxFile>>20)
		return nil
	}
	docs := slices.DeleteFunc(parseYAML(src, r.faults), func(n *node) bool {
		return n == nil || n.kind == emptyNode
	})
	const example = `write a price as in a plan: {model: unit, unit: "0.05"}`
	switch {
	case len(r.faults.list) > 0:
		return nil
	case len(docs) == 0:
		r.faults.add(top, example, "the file has no price")
		return nil
	case len(docs) > 1:
		r.faults.add(docs[1].at, "write each into a file of its own", "the file has a second price")
		return nil
	}
	doc := docs[0]
	if doc.kind == listNode && len(doc.items) == 1 {
		doc = doc.items[0]
	}
	if doc.kind != mapNode {
		r.faults.add(doc.at, example, "a price must be a mapping, not %s", doc.what())
		return nil
	}
	return doc
}

// splitPrice cuts a price file into its own keys and the price. A key that is neither goes to those
// that it is nearer to, so that the hint is of use.
func splitPrice(doc *node) (own, price *node) {
	own, price = &node{kind: mapNode, at: doc.at}, &node{kind: mapNode, at: doc.at}
	known := modelKeys(0)
	for i, key := range doc.keys {
		to := price
		if contains(priceFileKeys, key.text) ||
			!contains(known, key.text) && nearest(key.text, priceFileKeys) != "" {
			to = own
		}
		to.keys, to.items = append(to.keys, key), append(to.items, doc.items[i])
	}
	add := func(key, value string) {
		price.keys = append(price.keys, &node{text: key, at: doc.at})
		price.items = append(price.items, &node{text: value, at: doc.at})
	}
	if price.child("key") == nil {
		add("key", "price")
	}
	model := price.child("model")
	if price.child("meter") == nil && model != nil && model.text != "flat" {
		add("meter", "usage")
	}
	return own, price
}

// modelKeysOf returns the keys that a price takes by the model that it says.
func modelKeysOf(price *node) []string {
	word := price.child("model")
	for _, known := range models {
		if word != nil && word.text == known.word {
			return modelKeys(known.model)
		}
	}
	return modelKeys(0)
}

// currency reads the currency, and how many digits its minor unit has.
func (p *PriceFile) currency(f *fields) {
	n, known := f.get("currency"), true
	if s, ok := f.scalar(n, "currency"); ok {
		p.Currency = s
		p.Digits, known = currencyDigits(s)
	}
	if d := f.get("digits"); d != nil {
		p.Digits, _ = f.whole(d, "digits", 0, maxDigits)
		if !isCode(p.Currency) {
			f.faults.add(n.at, "use 1 to 12 of the characters A-Z a-z 0-9, a letter first",
				"currency %q is not a code", clip(p.Currency))
		}
		return
	}
	if !known {
		hint := "use a code of ISO 4217, or say how many digits amounts have: digits: 2"
		if _, upper := currencyDigits(strings.ToUpper(p.Currency)); upper {
			hint = "write it in capitals: " + strings.ToUpper(p.Currency)
		}
		f.faults.add(n.at, hint, "currency %q is not known", clip(p.Currency))
	}
}

// evalMeter makes the meter of a price: the sum of the events' values, or what aggregate says.
func evalMeter(f *fields, p *engine.Price) *engine.Meter {
	m := &engine.Meter{Key: p.Meter, Event: "usage", Aggregate: engine.Total, Value: "data.value"}
	n := f.get("aggregate")
	if word, ok := f.word(n, "aggregate", evalAggregates...); ok {
		for _, a := range aggregates {
			if a.word == word {
				m.Aggregate = a.how
			}
		}
		if p.Model == engine.Percentage && m.Aggregate != engine.Total {
			f.faults.add(n.at, "leave it out", "a percentage is of each event's amount, so it takes no %s",
				"aggregate")
		}
	}
	if m.Aggregate == engine.Count {
		m.Value = ""
	}
	var dims []string
	for i := range p.Match {
		dims = append(dims, p.Match[i].Dim)
	}
	dims = append(dims, p.Per...)
	if p.Matrix != nil {
		dims = append(dims, p.Matrix.Dims...)
	}
	for _, dim := range sortedSet(dims) {
		m.GroupBy = append(m.GroupBy, engine.Dimension{Name: dim, Path: "data." + dim})
	}
	return m
}

// GroupError is a group that a price can't be asked for: what is wrong, and the way out.
type GroupError struct{ Message, Hint string }

// Error returns the message.
func (e *GroupError) Error() string { return e.Message }

// UseOf returns the use of one quantity in a group, for a price file whose price has a meter. It
// fails with a GroupError where the group names what the price does not keep apart, or lacks what
// it does.
func (p *PriceFile) UseOf(q decimal.Decimal, group map[string]string) (engine.Use, error) {
	u := engine.Use{Seq: 1, Meter: p.Meter, Value: q}
	dims := dimensionNames(p.Meter)
	if len(dims) == 0 && len(group) > 0 {
		return u, &GroupError{"the price goes by no dimension", "leave --group out"}
	}
	for _, name := range slices.Sorted(maps.Keys(group)) {
		if !contains(dims, name) {
			return u, &GroupError{
				fmt.Sprintf("%q is no dimension of the price", clip(name)), known(name, dims),
			}
		}
	}
	for _, dim := range dims {
		v, ok := group[dim]
		if !ok {
			return u, &GroupError{
				"the price goes by " + dim + ", so the quantity needs its value",
				"say it by --group " + dim + "=value",
			}
		}
		u.Group = append(u.Group, engine.GroupValue{Dim: dim, Value: v})
	}
	return u, nil
}
