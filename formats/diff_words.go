package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// wordList gathers what differs between two things, field by field.
type wordList []string

// text adds a field whose texts differ.
func (w *wordList) text(name, old, now string) {
	if old != now {
		*w = append(*w, fmt.Sprintf("%s %s -> %s", name, orNone(old), orNone(now)))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// meterDiff says how a meter differs from the journaled one; nothing if it does not.
func meterDiff(old, m *engine.Meter) []string {
	var w wordList
	w.text("event", old.Event, m.Event)
	w.text("aggregate", AggregateWord(old.Aggregate), AggregateWord(m.Aggregate))
	w.text("value", old.Value, m.Value)
	w.text("group_by", dimensionWords(old.GroupBy), dimensionWords(m.GroupBy))
	w.text("where", filterWords(old.Where), filterWords(m.Where))
	w.text("unit", old.Unit, m.Unit)
	w.text("constant", boundWord(old.Constant), boundWord(m.Constant))
	w.text("round_each", roundEachWords(old.RoundEach), roundEachWords(m.RoundEach))
	w.optional("percentile", old.Percent, m.Percent)
	w.text("window", spanWord(old.Window), spanWord(m.Window))
	w.text("of", ofWord(old.Of), ofWord(m.Of))
	w.text("time_unit", timeUnitWord(old.Per), timeUnitWord(m.Per))
	w.text("correctable", fmt.Sprint(old.Correctable), fmt.Sprint(m.Correctable))
	return w
}

func braces(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return "{" + strings.Join(words, ", ") + "}"
}

// planDiff says how a plan differs from the journaled version, its prices aside.
func planDiff(old, p *engine.Plan) []string {
	var w wordList
	w.text("effective", old.Effective.String(), p.Effective.String())
	w.text("currency", old.Currency, p.Currency)
	w.text("digits", fmt.Sprint(old.Digits), fmt.Sprint(p.Digits))
	w.text("period", intervalWord(old.Interval), intervalWord(p.Interval))
	w.text("anchor", anchorWord(old), anchorWord(p))
	w.text("rounding", roundingWord(old.Rounding), roundingWord(p.Rounding))
	return w
}

func roundingWord(r decimal.Rounding) string {
	if r == decimal.HalfEven {
		return "half_even"
	}
	return "half_away"
}

// pricesDiff says what a new version changes of the prices of the one before.
func pricesDiff(before, p *engine.Plan) []string {
	var parts []string
	for i := range p.Prices {
		price := &p.Prices[i]
		was := priceOf(before, price.Key)
		if was == nil {
			parts = append(parts, "price "+price.Key+" is new")
			continue
		}
		for _, diff := range priceDiff(was, price) {
			parts = append(parts, price.Key+" "+diff)
		}
	}
	for i := range before.Prices {
		if priceOf(p, before.Prices[i].Key) == nil {
			parts = append(parts, "price "+before.Prices[i].Key+" is gone")
		}
	}
	return parts
}

// priceDiff says how a price differs; nothing if it does not.
func priceDiff(old, p *engine.Price) []string {
	var w wordList
	w.text("model", ModelWord(old.Model), ModelWord(p.Model))
	w.text("meter", old.Meter, p.Meter)
	w.text("match", matchWords(old.Match), matchWords(p.Match))
	w.text("per", braces(old.Per), braces(p.Per))
	w.number("amount", old.Amount, p.Amount)
	w.text("timing", timingWord(old.Advance), timingWord(p.Advance))
	w.text("prorate", fmt.Sprint(old.Prorate), fmt.Sprint(p.Prorate))
	w.number("unit", old.Unit, p.Unit)
	w.number("size", old.Size, p.Size)
	w.tiers(old.Tiers, p.Tiers)
	w.text("convert", convertWords(old.Convert), convertWords(p.Convert))
	w.number("free", old.Free, p.Free)
	w.number("discount", old.Discount, p.Discount)
	w.text("minimum", boundWord(old.Minimum), boundWord(p.Minimum))
	w.text("maximum", boundWord(old.Maximum), boundWord(p.Maximum))
	w.text("zero_usage", zeroWord(old.ZeroFree), zeroWord(p.ZeroFree))
	w.text("tax_code", old.TaxCode, p.TaxCode)
	w.optional("rate", old.Rate, p.Rate)
	w.optional("fixed", old.Fixed, p.Fixed)
	w.optional("free_events", decimal.FromInt(old.FreeEvents), decimal.FromInt(p.FreeEvents))
	w.optional("free_amount", old.FreeAmount, p.FreeAmount)
	w.text("min_per_event", boundWord(old.MinEach), boundWord(p.MinEach))
	w.text("max_per_event", boundWord(old.MaxEach), boundWord(p.MaxEach))
	w.optional("multiplier", old.Multiplier, p.Multiplier)
	w.optional("discount amount", old.Off, p.Off)
	w.text("commitment", commitmentWords(old.Commitment), commitmentWords(p.Commitment))
	w.matrix(old.Matrix, p.Matrix)
	return w
}

func (w *wordList) number(name string, old, now decimal.Decimal) {
	w.text(name, old.String(), now.String())
}

// optional is number of a field that is left out where it is 0.
func (w *wordList) optional(name string, old, now decimal.Decimal) {
	word := func(d decimal.Decimal) string {
		if d.IsZero() {
			return ""
		}
		return d.String()
	}
	w.text(name, word(old), word(now))
}

// tiers says which tiers differ.
func (w *wordList) tiers(old, now []engine.Tier) {
	for i := range max(len(old), len(now)) {
		name := fmt.Sprintf("tier %d", i+1)
		switch {
		case i >= len(old):
			*w = append(*w, name+" is new")
		case i >= len(now):
			*w = append(*w, name+" is gone")
		default:
			a, b := &old[i], &now[i]
			w.text(name+" up_to", upToWord(a), upToWord(b))
			w.number(name+" unit", a.Unit, b.Unit)
			w.number(name+" flat", a.Flat, b.Flat)
			w.number(name+" size", a.Size, b.Size)
			w.number(name+" amount", a.Amount, b.Amount)
		}
	}
}

func upToWord(t *engine.Tier) string {
	if t.Last {
		return "the rest"
	}
	return t.UpTo.String()
}

func matchWords(list []engine.Match) string {
	words := make([]string, len(list))
	for i, m := range list {
		words[i] = fmt.Sprintf("%s: %q", m.Dim, m.Values)
	}
	return braces(words)
}

func timingWord(advance bool) string {
	if advance {
		return "advance"
	}
	return "arrears"
}

func zeroWord(free bool) string {
	if free {
		return "free"
	}
	return ""
}

func boundWord(d *decimal.Decimal) string {
	if d == nil {
		return ""
	}
	return d.String()
}

func convertWords(c *engine.Convert) string {
	if c == nil {
		return ""
	}
	round := [...]string{"", " rounded up", " rounded down", " rounded"}
	return fmt.Sprintf("* %s / %s%s", c.Multiply, c.Divide, round[c.Round])
}

// subscriptionDiff says how a subscription differs from the journaled one, its end aside.
func subscriptionDiff(old, s *engine.Subscription, zone *engine.Zone) []string {
	var w wordList
	w.text("plan", old.Plan, s.Plan)
	w.text("pin", pinWord(old.Pin), pinWord(s.Pin))
	w.text("trial_until", trialWord(old.Trial, zone), trialWord(s.Trial, zone))
	for i := range s.Overrides {
		o := &s.Overrides[i]
		j := slices.IndexFunc(old.Overrides, func(x engine.Override) bool { return x.Price == o.Price })
		if j < 0 {
			w = append(w, "override of "+o.Price+" is new")
			continue
		}
		was := &old.Overrides[j]
		if was.Fields != o.Fields {
			w.text("override of "+o.Price, fieldWords(was.Fields), fieldWords(o.Fields))
			continue
		}
		for _, diff := range priceDiff(&was.Value, &o.Value) {
			w = append(w, "override of "+o.Price+" "+diff)
		}
	}
	for i := range old.Overrides {
		key := old.Overrides[i].Price
		if !slices.ContainsFunc(s.Overrides, func(x engine.Override) bool { return x.Price == key }) {
			w = append(w, "override of "+key+" is gone")
		}
	}
	return w
}

func trialWord(t engine.Micros, zone *engine.Zone) string {
	if t == 0 {
		return ""
	}
	return whenText(t, zone)
}

func pinWord(pin int) string {
	if pin == 0 {
		return ""
	}
	return fmt.Sprint(pin)
}

func fieldWords(fields engine.PriceFields) string {
	var words []string
	for _, f := range overrideFields {
		if fields&f.field != 0 {
			words = append(words, f.key)
		}
	}
	return braces(words)
}

// subscriptionWords describes a new subscription.
func subscriptionWords(account string, s *engine.Subscription, zone *engine.Zone) string {
	words := fmt.Sprintf("account %s subscribes to plan %s", account, s.Plan)
	if s.Key != "main" {
		words += " as " + s.Key
	}
	if s.Pin != 0 {
		words += fmt.Sprintf(" at version %d", s.Pin)
	}
	words += " from " + whenText(s.From, zone)
	if s.To != engine.Future {
		words += " to " + whenText(s.To, zone)
	}
	if s.Trial != 0 {
		words += ", free until " + whenText(s.Trial, zone)
	}
	for i := range s.Overrides {
		words += fmt.Sprintf(", with its own %s of %s", strings.Trim(fieldWords(s.Overrides[i].Fields),
			"{}"), s.Overrides[i].Price)
	}
	return words
}

func subjectWords(subjects []string) string {
	if len(subjects) == 1 {
		return "subject " + subjects[0]
	}
	return "subjects " + strings.Join(subjects, ", ")
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// whenText writes an instant for people: the date where a local day begins there (a UTC day
// without a zone), else RFC 3339.
func whenText(t engine.Micros, zone *engine.Zone) string {
	switch t {
	case engine.Past:
		return "the beginning"
	case engine.Future:
		return "no end"
	}
	if zone == nil {
		if t%engine.OneDay == 0 {
			return t.String()[:len("2006-01-02")]
		}
		return t.String()
	}
	if t < engine.MinTime || t >= engine.MaxTime {
		return t.String()
	}
	year, month, day := zone.Date(t)
	if zone.StartOfDay(year, month, day) == t {
		return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
	}
	return t.String()
}
