package formats

import (
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
)

// budgetPlaces are where the parts of a budget stand.
type budgetPlaces struct{ key, plan, meter, currency place }

// budget reads a budget. What it names is checked when all files are read.
func (r *catalogReader) budget(n *node) {
	f := fieldsOf(r.faults, n, "a budget",
		"key", "account", "plan", "meter", "currency", "limit", "at")
	if f == nil {
		return
	}
	key, ok := f.key(f.need("key", "name it: key: spend"), "budget key")
	if !ok {
		return
	}
	b := engine.Budget{Key: key}
	at := &budgetPlaces{key: f.get("key").at}
	f.what = "budget " + key
	if first, twice := r.c.budgetAt[key]; twice {
		r.faults.add(at.key, "the first is in "+first.key.String(), "budget %q is given twice", key)
		return
	}
	r.c.budgetAt[key] = at
	for _, part := range []struct {
		key string
		dst *string
		at  *place
	}{
		{"account", &b.Account, &place{}}, {"plan", &b.Plan, &at.plan}, {"meter", &b.Meter, &at.meter},
	} {
		if v := f.get(part.key); v != nil {
			*part.dst, _ = f.key(v, part.key)
			*part.at = v.at
		}
	}
	if v := f.get("currency"); v != nil {
		b.Currency, _ = f.scalar(v, "currency")
		at.currency = v.at
	}
	b.Limit, ok = f.quantity(f.need("limit", `write limit: "1000"; limit: 0 ends the budget`), "limit")
	switch ended := ok && b.Limit.IsZero(); {
	case f.has("meter"):
		f.refuse("a budget is of a quantity or of money; write two",
			"a budget of a meter takes no %s", "currency")
	case !f.has("currency") && !ended && !contains(f.meant, "currency") && !contains(f.meant, "meter"):
		r.faults.add(n.at, "write currency: EUR for money, or meter: tokens_out for a quantity",
			"%s needs currency or meter", f.what)
	}
	b.At = r.alertAt(f)
	r.c.Budgets = append(r.c.Budgets, b)
}

// alertAt reads at which percents of the limit somebody is told; none where that is 100 alone.
func (r *catalogReader) alertAt(f *fields) []decimal.Decimal {
	n := f.get("at")
	items := f.list(n, "at")
	if n != nil && n.kind == listNode && len(items) == 0 {
		r.faults.add(n.at, "write at: [80, 100], or leave it out for 100", "at lists no percentage")
	}
	var list []decimal.Decimal
	for _, item := range items {
		d, ok := f.positive(item, "percent")
		if !ok {
			continue
		}
		if slices.Contains(list, d) {
			r.faults.add(item.at, "", "at names %s twice", d)
		}
		list = append(list, d)
	}
	slices.SortFunc(list, decimal.Decimal.Cmp)
	if len(list) == 1 && list[0] == decimal.FromInt(100) {
		return nil
	}
	return list
}

// checkBudgets checks what budgets name. A budget that can never be reached is a mistake.
func (r *catalogReader) checkBudgets() {
	for i := range r.c.Budgets {
		b := &r.c.Budgets[i]
		at := r.c.budgetAt[b.Key]
		plans := r.c.Plans
		if b.Plan != "" {
			if plans = r.c.plansOf(b.Plan); len(plans) == 0 {
				r.faults.add(at.plan, known(b.Plan, r.c.planKeys()), "there is no plan %q", b.Plan)
				continue
			}
		}
		if b.Meter != "" && r.c.meterByKey(b.Meter) == nil {
			r.faults.add(at.meter, known(b.Meter, r.c.meterKeys()), "there is no meter %q", b.Meter)
			continue
		}
		if b.Currency != "" {
			if _, ok := r.knownCurrency(b.Currency, at.currency); !ok {
				continue
			}
		}
		if !b.Limit.IsZero() {
			r.checkReach(b, at, plans)
		}
	}
}

// checkReach checks that one of the plans has what the budget measures.
func (r *catalogReader) checkReach(b *engine.Budget, at *budgetPlaces, plans []engine.Plan) {
	whose, which := "no plan", ""
	if b.Plan != "" {
		whose, which = "plan "+b.Plan, " not"
	}
	switch {
	case b.Meter != "" && !slices.ContainsFunc(plans, func(p engine.Plan) bool {
		return slices.ContainsFunc(p.Prices, func(x engine.Price) bool { return x.Meter == b.Meter })
	}):
		does := " has a price on meter "
		if which != "" {
			does = " has no price on meter "
		}
		r.faults.add(at.meter, "usage counts for plans that price it", "%s%s%s", whose, does, b.Meter)
	case b.Currency != "" && !slices.ContainsFunc(plans, func(p engine.Plan) bool {
		return p.Currency == b.Currency || p.Currency == ""
	}):
		r.faults.add(at.currency, "a budget of money is in the currency of its plans",
			"%s is%s in %s", whose, which, b.Currency)
	}
}
