package formats

import (
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
)

// overrideFields are the keys of an override and the fields that they replace. Of a discount, what
// is written is replaced.
var overrideFields = []struct {
	key   string
	field engine.PriceFields
}{
	{"amount", engine.OverrideAmount}, {"unit", engine.OverrideUnit}, {"size", engine.OverrideSize},
	{"tiers", engine.OverrideTiers}, {"free", engine.OverrideFree},
	{"discount", engine.OverrideDiscount}, {"minimum", engine.OverrideMinimum},
	{"maximum", engine.OverrideMaximum}, {"zero_usage", engine.OverrideZeroUsage},
	{"rate", engine.OverrideRate}, {"fixed", engine.OverrideFixed},
	{"free_events", engine.OverrideFreeEvents}, {"free_amount", engine.OverrideFreeAmount},
	{"min_per_event", engine.OverrideMinEach}, {"max_per_event", engine.OverrideMaxEach},
	{"multiplier", engine.OverrideMultiplier}, {"discount amount", engine.OverrideOff},
	{"commitment", engine.OverrideCommitment}, {"matrix", engine.OverrideMatrix},
}

// overrides reads what a subscription changes of the prices of the versions that may rate it.
func (r *catalogReader) overrides(s *engine.Subscription, n *node, versions []engine.Plan) {
	if n.kind != mapNode {
		r.faults.add(n.at, `write overrides: {output: {minimum: "0"}}`,
			"overrides must be a mapping, not %s", n.what())
		return
	}
	for i, key := range n.keys {
		if slices.ContainsFunc(s.Overrides, func(o engine.Override) bool { return o.Price == key.text }) {
			r.faults.add(key.at, "put all fields into one mapping",
				"price %q is overridden twice", clip(key.text))
			continue
		}
		if o := r.override(key, n.items[i], versions); o != nil {
			s.Overrides = append(s.Overrides, *o)
		}
	}
	slices.SortFunc(s.Overrides, func(a, b engine.Override) int {
		if a.Price < b.Price {
			return -1
		}
		return 1
	})
}

// override reads the override of one price; nil after a fault.
func (r *catalogReader) override(key, n *node, versions []engine.Plan) *engine.Override {
	var bases []*engine.Price
	var keys []string
	for i := range versions {
		for j := range versions[i].Prices {
			p := &versions[i].Prices[j]
			keys = append(keys, p.Key)
			if p.Key == key.text {
				bases = append(bases, p)
			}
		}
	}
	if len(bases) == 0 {
		r.faults.add(key.at, known(key.text, sortedSet(keys)),
			"plan %s has no price %q", versions[0].Key, clip(key.text))
		return nil
	}
	model := bases[0].Model
	for _, b := range bases {
		if b.Model != model {
			r.faults.add(key.at, "pin a version of the plan",
				"price %s is %s in one version of plan %s and %s in another",
				key.text, ModelWord(model), versions[0].Key, ModelWord(b.Model))
			return nil
		}
	}
	f := fieldsOf(r.faults, n, "an override of a "+ModelWord(model)+" price", overrideKeys(model)...)
	if f == nil {
		return nil
	}
	if len(n.keys) == 0 {
		r.faults.add(n.at, "leave it out", "the override of %s changes nothing", key.text)
		return nil
	}
	o := &engine.Override{Price: key.text, Value: engine.Price{Model: model}}
	before := len(r.faults.list)
	r.overrideValue(f, o)
	for _, b := range bases {
		if len(r.faults.list) > before {
			return nil
		}
		r.checkOverride(f, o, b)
	}
	o.Value.Model = 0
	return o
}

// overrideKeys returns the keys that an override of a price of the model takes.
func overrideKeys(m engine.Model) []string {
	allowed := modelKeys(m)
	var keys []string
	for _, o := range overrideFields {
		if contains(allowed, o.key) {
			keys = append(keys, o.key)
		}
	}
	return keys
}

// overrideValue reads the fields that the override names.
func (r *catalogReader) overrideValue(f *fields, o *engine.Override) {
	v := &o.Value
	for _, field := range overrideFields {
		if f.has(field.key) {
			o.Fields |= field.field
		}
	}
	if d := f.node.child("discount"); d != nil {
		if d.child("amount") != nil {
			o.Fields |= engine.OverrideOff
		}
		if d.child("percent") == nil {
			o.Fields &^= engine.OverrideDiscount
		}
	}
	v.Amount, _ = f.amount(f.get("amount"), "amount")
	v.Unit, _ = f.amount(f.get("unit"), "price")
	if n := f.get("size"); n != nil {
		v.Size, _ = f.size(n)
	}
	if n := f.get("tiers"); n != nil {
		r.tiers(f, n, v)
	}
	if n := f.get("free"); n != nil {
		v.Free, _ = f.quantity(n, "free")
	}
	if _, ok := f.word(f.get("zero_usage"), "zero_usage", "free"); ok {
		v.ZeroFree = true
	}
	r.percentage(f, v)
	r.multiplier(f, v)
	if n := f.get("matrix"); n != nil {
		v.Matrix = r.matrix(n)
	}
	r.bounds(f, v)
}

// checkOverride checks that the override and the price it changes make sense together.
func (r *catalogReader) checkOverride(f *fields, o *engine.Override, base *engine.Price) {
	if o.Value.Model == engine.Package {
		const single = engine.OverrideAmount | engine.OverrideSize
		if len(base.Tiers) > 0 && o.Fields&single != 0 {
			f.refuse("override tiers", "price "+base.Key+" has tiers, so %s has no effect",
				"size", "amount")
			return
		}
		if len(base.Tiers) == 0 && o.Fields&engine.OverrideTiers != 0 {
			f.refuse("override size and amount", "price "+base.Key+" has no %s", "tiers")
			return
		}
	}
	const units = engine.OverrideUnit | engine.OverrideMatrix
	if o.Value.Model == engine.Unit && o.Fields&units != 0 {
		if base.Matrix != nil {
			f.refuse("override matrix", "price "+base.Key+" has a matrix, so %s has no effect", "unit")
		} else {
			f.refuse("override unit", "price "+base.Key+" has no %s", "matrix")
		}
		if m := r.c.meterByKey(base.Meter); m != nil && f.has("matrix") {
			r.checkMatrix(m, f.node.child("matrix"))
		}
	}
	r.checkBounds(f, base, "minimum", "maximum",
		overridden(o, engine.OverrideMinimum, o.Value.Minimum, base.Minimum),
		overridden(o, engine.OverrideMaximum, o.Value.Maximum, base.Maximum))
	r.checkBounds(f, base, "min_per_event", "max_per_event",
		overridden(o, engine.OverrideMinEach, o.Value.MinEach, base.MinEach),
		overridden(o, engine.OverrideMaxEach, o.Value.MaxEach, base.MaxEach))
}

// overridden returns the value of a field that the override may replace.
func overridden(o *engine.Override, field engine.PriceFields,
	own, base *decimal.Decimal) *decimal.Decimal {
	if o.Fields&field != 0 {
		return own
	}
	return base
}

// checkBounds checks that the bounds of an overridden price hold something.
func (r *catalogReader) checkBounds(f *fields, base *engine.Price, lower, upper string,
	low, high *decimal.Decimal) {
	if low != nil && high != nil && low.Cmp(*high) > 0 {
		r.faults.add(f.node.at, "override both", "%s %s is above %s %s of price %s", lower, low, upper,
			high, base.Key)
	}
}
