package formats

import (
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// aggregates are the aggregations, their words, and the keys that only some of them take.
var aggregates = []struct {
	word string
	how  engine.Aggregate
	keys []string
}{
	{"count", engine.Count, nil},
	{"sum", engine.Total, []string{"value", "constant", "round_each"}},
	{"min", engine.Least, []string{"value", "constant", "round_each", "correctable"}},
	{"max", engine.Most, []string{"value", "constant", "round_each", "correctable"}},
	{"avg", engine.Average, []string{"value", "constant", "round_each"}},
	{"unique", engine.Unique, []string{"value"}},
	{"latest", engine.Latest, []string{"value", "round_each", "correctable"}},
	{"time_weighted", engine.TimeWeighted, []string{"value", "round_each", "time_unit"}},
	{"percentile", engine.Percentile, []string{"value", "constant", "round_each", "percentile",
		"window", "of"}},
}

// aggregate reads how the meter folds its values, and which.
func (r *catalogReader) aggregate(f *fields, m *engine.Meter) {
	words := make([]string, len(aggregates))
	for i, a := range aggregates {
		words[i] = a.word
	}
	hint := "known here: " + strings.Join(words, ", ")
	word, ok := f.word(f.need("aggregate", hint), "aggregate", words...)
	if !ok {
		return
	}
	known := &aggregates[slices.Index(words, word)]
	m.Aggregate = known.how
	r.misplaced(f, word, known.keys)
	if m.Aggregate == engine.Count {
		return
	}
	switch {
	case f.has("constant") && contains(known.keys, "constant"):
		f.refuse("the constant takes its place", "a meter with a constant takes no %s",
			"value", "round_each")
		if d, ok := f.decimal(f.get("constant"), "constant"); ok {
			m.Constant = &d
		}
	default:
		example := "name the number to fold: value: data.output_tokens"
		if m.Aggregate == engine.Unique {
			example = "name what is counted once: value: data.user"
		}
		m.Value, _ = r.path(f, f.need("value", example), "value")
	}
	r.roundEach(f, m)
	switch m.Aggregate {
	case engine.TimeWeighted:
		r.timeUnit(f, m)
	case engine.Percentile:
		r.percentile(f, m)
	case engine.Least, engine.Most, engine.Latest:
		m.Correctable = f.flag(f.get("correctable"), "correctable")
	}
}

// misplaced reports the keys that belong to other aggregations.
func (r *catalogReader) misplaced(f *fields, word string, takes []string) {
	own := "leave it out: name the path of what varies as value"
	switch word {
	case "count":
		own = "leave it out: count counts events"
	case "unique":
		own = "leave it out: unique counts texts"
	}
	const ranks = "it belongs to aggregate percentile"
	for _, k := range []struct{ key, hint string }{
		{"value", own}, {"constant", own}, {"round_each", own},
		{"time_unit", "it belongs to aggregate time_weighted"},
		{"percentile", ranks}, {"window", ranks}, {"of", ranks},
		{"correctable", "min, max and latest take it; percentile can't be corrected, all others can"},
	} {
		if !contains(takes, k.key) {
			f.refuse(k.hint, "aggregate "+word+" takes no %s", k.key)
		}
	}
}

// roundEach reads how the number of each event is rounded.
func (r *catalogReader) roundEach(f *fields, m *engine.Meter) {
	if m.Constant != nil || m.Aggregate == engine.Unique {
		return
	}
	c := fieldsOf(r.faults, f.get("round_each"), "round_each", "to", "round")
	if c == nil {
		return
	}
	const example = "write round_each: {to: 60, round: up}"
	each := &engine.RoundEach{}
	if n := c.need("to", example); n != nil {
		each.To, _ = c.positive(n, "to")
	}
	if w, ok := c.word(c.need("round", example), "round", convertRounds[1:]...); ok {
		each.Round = engine.ConvertRound(slices.Index(convertRounds[:], w))
	}
	m.RoundEach = each
}

// timeUnit reads by what a level's time is divided.
func (r *catalogReader) timeUnit(f *fields, m *engine.Meter) {
	units := map[string]engine.Micros{
		"second": engine.Second, "minute": engine.Minute, "hour": engine.Hour, "day": engine.OneDay,
		"period": 0,
	}
	w, _ := f.word(f.get("time_unit"), "time_unit", "second", "minute", "hour", "day", "period")
	m.Per = units[w]
}

// percentile reads which sample counts, and of what the samples are.
func (r *catalogReader) percentile(f *fields, m *engine.Meter) {
	n := f.need("percentile", "write percentile: 95")
	if d, ok := f.decimal(n, "percentile"); ok {
		if m.Percent = d; d.Sign() <= 0 || d.Cmp(decimal.FromInt(100)) > 0 {
			r.faults.add(n.at, "95 is the sample that 95 % of all do not exceed",
				"percentile %s is not above 0 and up to 100", n.text)
		}
	}
	if !f.has("window") {
		f.refuse("write window: 5m too, or leave it out", "without a window there is no %s", "of")
		return
	}
	window := f.get("window")
	if s, ok := f.scalar(window, "window"); ok {
		d, fault := parseDuration(s)
		switch {
		case fault == "" && d == 0:
			fault = "is not above 0"
		case fault == "" && d%engine.Second != 0:
			fault = "is not a whole number of seconds"
		}
		if m.Window = d; fault != "" {
			r.faults.add(window.at, "write whole numbers and units: 5m, 1h, 30s", "window %q %s",
				clip(s), fault)
		}
	}
	const hint = "say what a window has: of: avg, of: max or of: sum"
	words := map[string]engine.Aggregate{
		"avg": engine.Average, "max": engine.Most, "sum": engine.Total,
	}
	w, _ := f.word(f.need("of", hint), "of", "avg", "max", "sum")
	m.Of = words[w]
}
