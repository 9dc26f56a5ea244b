package formats

import (
	"fmt"
	"slices"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

const maxVersion = 1_000_000

// plan reads one version of a plan.
func (r *catalogReader) plan(n *node) {
	f := fieldsOf(r.faults, n, "a plan",
		"key", "version", "effective", "currency", "period", "anchor", "rounding", "prices")
	if f == nil {
		return
	}
	p := engine.Plan{Version: 1, Effective: engine.Always, Interval: engine.Month}
	key, ok := f.key(f.need("key", "name it: key: pro"), "plan key")
	if !ok {
		return
	}
	p.Key, f.what = key, "plan "+key
	at := &planPlaces{plan: f.get("key").at, prices: map[string]place{}}
	at.version, at.effective, at.currency, at.anchor = at.plan, at.plan, at.plan, at.plan
	if v := f.get("version"); v != nil {
		at.version = v.at
		if p.Version, ok = f.whole(v, "version", 1, maxVersion); !ok {
			return
		}
	}
	id := planID{key, p.Version}
	if first, twice := r.c.planAt[id]; twice {
		r.faults.add(at.version, "the first is in "+first.plan.String()+"; give this one a version",
			"%s is defined twice", id)
		return
	}
	r.c.planAt[id] = at
	r.effective(f, &p, at)
	r.currency(f, &p, at)
	r.period(f, &p, at)
	if n := f.get("rounding"); n != nil {
		word, _ := f.word(n, "rounding", "half_away", "half_even")
		if word == "half_even" {
			p.Rounding = decimal.HalfEven
		}
	}
	prices := f.need("prices", "list at least one price")
	items := f.list(prices, "prices")
	if prices != nil && prices.kind == listNode && len(items) == 0 {
		r.faults.add(prices.at, "list at least one price", "plan %s has no price", key)
	}
	for _, item := range items {
		r.price(item, &p, at)
	}
	r.c.Plans = append(r.c.Plans, p)
}

// effective reads from when periods are rated by the version.
func (r *catalogReader) effective(f *fields, p *engine.Plan, at *planPlaces) {
	n := f.get("effective")
	if n == nil {
		if p.Version > 1 && !f.has("effective") {
			r.faults.add(at.version, "add the day of its first periods: effective: 2026-12-01",
				"version %d needs effective", p.Version)
		}
		return
	}
	at.effective = n.at
	if s, ok := f.scalar(n, "effective"); ok {
		day, ok := parseDay(s)
		if !ok {
			r.faults.add(n.at, "write a date: effective: 2026-12-01", "effective %q is not a date", clip(s))
		}
		p.Effective = day
	}
}

// currency reads the plan's currency. Its digits are known when all files are read.
func (r *catalogReader) currency(f *fields, p *engine.Plan, at *planPlaces) {
	n := f.need("currency", "name an ISO 4217 currency: currency: EUR")
	if s, ok := f.scalar(n, "currency"); ok {
		p.Currency, at.currency = s, n.at
	}
}

const whenHint = "write a date, 2026-12-01, or an instant, 2026-12-01T00:00:00Z"

// parseWhen reads a date or an RFC 3339 instant. A date is the start of the local day in the
// zone, or of the UTC day where zone is nil. On failure it says what is wrong.
func parseWhen(s string, zone *engine.Zone) (engine.Micros, string) {
	var at engine.Micros
	if len(s) == len("2006-01-02") {
		t, err := time.Parse("2006-01-02", s)
		if err != nil {
			return 0, "is not a date"
		}
		if t.Year() < 1970 || t.Year() > 2199 {
			return 0, "is not in the years 1970 to 2199"
		}
		if zone != nil {
			return zone.StartOfDay(t.Year(), int(t.Month()), t.Day()), ""
		}
		at = engine.Micros(t.UnixMicro())
	} else {
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return 0, "is not a date or an instant"
		}
		if t.Nanosecond()%1000 != 0 {
			return 0, "is finer than a microsecond"
		}
		at = engine.Micros(t.UnixMicro())
	}
	if at < engine.MinTime || at >= engine.MaxTime {
		return 0, "is not in the years 1970 to 2199"
	}
	return at, ""
}

// checkPlans checks every plan against its meters and its other versions.
func (r *catalogReader) checkPlans() {
	for i := range r.c.Plans {
		p := &r.c.Plans[i]
		at := r.c.planAt[planID{p.Key, p.Version}]
		r.checkPrices(p)
		if p.Currency != "" {
			digits, ok := r.knownCurrency(p.Currency, at.currency)
			if p.Digits = digits; !ok {
				p.Currency = "" // nothing else is to be said of it
			}
		}
		if i == 0 || r.c.Plans[i-1].Key != p.Key {
			continue
		}
		before := &r.c.Plans[i-1]
		if p.Effective <= before.Effective && at.effective != at.plan {
			r.faults.add(at.effective, "a later version takes effect later",
				"version %d takes effect no later than version %d", p.Version, before.Version)
		}
		if p.Currency != "" && before.Currency != "" && p.Currency != before.Currency {
			r.faults.add(at.currency, "use another plan key for another currency",
				"version %d is in %s, version %d in %s",
				p.Version, p.Currency, before.Version, before.Currency)
		}
		if old, now := periodWords(before), periodWords(p); old != now && p.Interval != 0 &&
			before.Interval != 0 {
			r.faults.add(at.anchor, "use another plan key for other periods",
				"version %d has %s, version %d %s", p.Version, now, before.Version, old)
		}
	}
}

// checkDefaults checks that the plans of defaults exist.
func (r *catalogReader) checkDefaults() {
	for _, d := range r.c.Defaults {
		if d.Plan != "" && len(r.c.plansOf(d.Plan)) == 0 {
			r.faults.add(r.c.defaultAt[d.Event], known(d.Plan, r.c.planKeys()),
				"there is no plan %q", clip(d.Plan))
		}
	}
}

// checkPrices checks that the meters and dimensions that prices name exist.
func (r *catalogReader) checkPrices(p *engine.Plan) {
	for _, n := range r.priceNodes[planID{p.Key, p.Version}] {
		meterNode := n.child("meter")
		if meterNode == nil || meterNode.kind != scalarNode {
			continue
		}
		m := r.c.meterByKey(meterNode.text)
		if m == nil {
			r.faults.add(meterNode.at, known(meterNode.text, r.c.meterKeys()),
				"there is no meter %q", clip(meterNode.text))
			continue
		}
		if match := n.child("match"); match != nil && match.kind == mapNode {
			for _, key := range match.keys {
				r.checkDimension(m, key)
			}
		}
		if m.Aggregate != engine.Total && isPercentage(n) {
			r.faults.add(meterNode.at, "use a meter that sums the amounts of the events",
				"a percentage is of amounts, but meter %s has aggregate %s",
				m.Key, AggregateWord(m.Aggregate))
		}
		if matrix := n.child("matrix"); matrix != nil {
			r.checkMatrix(m, matrix)
		}
		if per := n.child("per"); per != nil && per.kind == listNode {
			for _, item := range per.items {
				r.checkDimension(m, item)
			}
		}
	}
}

// isPercentage reports whether the price is of each event's amount.
func isPercentage(price *node) bool {
	model := price.child("model")
	return model != nil && model.text == ModelWord(engine.Percentage)
}

// checkDimension checks that the meter is grouped by what the node names.
func (r *catalogReader) checkDimension(m *engine.Meter, n *node) {
	if n.kind != scalarNode || hasDimension(m, n.text) {
		return
	}
	hint := fmt.Sprintf("meter %s has no group_by", m.Key)
	if len(m.GroupBy) > 0 {
		hint = known(n.text, dimensionNames(m))
	}
	r.faults.add(n.at, hint, "meter %s is not grouped by %q", m.Key, clip(n.text))
}

// priceOf returns the plan's price with that key, or nil.
func priceOf(p *engine.Plan, key string) *engine.Price {
	i := slices.IndexFunc(p.Prices, func(x engine.Price) bool { return x.Key == key })
	if i < 0 {
		return nil
	}
	return &p.Prices[i]
}

// parseDay reads a date, in the years 1970 to 2199.
func parseDay(s string) (engine.Day, bool) {
	at, fault := parseWhen(s, nil)
	if fault != "" || len(s) != len("2006-01-02") {
		return engine.Always, false
	}
	return engine.DayOf(at), true
}
