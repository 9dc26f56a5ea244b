package engine

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"billctl/engine/decimal"
)

// rowOf is a row of the tests of aggregations, in the order of its arrival.
type rowOf struct {
	at    Micros
	value decimal.Decimal
	kind  ColumnKind // of value: TextColumn or NumberColumn
	tag   any        // the value of Unique: a string, a bool, or a decimal.Decimal
	group string     // "": absent
}

// everyMeter returns meters of every aggregation; those by group have a key that ends in "@".
func everyMeter(correctable bool) []Meter {
	value := func(key string, how Aggregate) Meter {
		return Meter{Key: key, Event: "use", Aggregate: how, Value: "data.v"}
	}
	constant := decimal.FromInt(7)
	of := func(m Meter, change func(*Meter)) Meter {
		change(&m)
		return m
	}
	list := []Meter{
		{Key: "count", Event: "use", Aggregate: Count},
		value("sum", Total), value("sum@", Total), value("avg", Average), value("avg@", Average),
		value("rated", Total), value("rated@", Total),
		of(value("fixed", Total), func(m *Meter) { m.Value, m.Constant = "", &constant }),
		of(value("max-fix", Most), func(m *Meter) { m.Correctable = true }),
		of(value("min-fix@", Least), func(m *Meter) { m.Correctable = true }),
		of(value("last-fix@", Latest), func(m *Meter) { m.Correctable = true }),
		{Key: "tags", Event: "use", Aggregate: Unique, Value: "data.tag"},
		{Key: "tags@", Event: "use", Aggregate: Unique, Value: "data.tag"},
		value("level", TimeWeighted),
		of(value("level@", TimeWeighted), func(m *Meter) { m.Per = Hour }),
	}
	for _, how := range []ConvertRound{RoundUp, RoundDown, RoundNearest} {
		list = append(list, of(value(fmt.Sprint("begun-", how), Total), func(m *Meter) {
			m.RoundEach = &RoundEach{To: decimal.FromInt(3), Round: how}
		}))
	}
	if !correctable {
		list = append(list, value("min", Least), value("max@", Most), value("last", Latest),
			of(value("p95@", Percentile), func(m *Meter) { m.Percent = decimal.FromInt(95) }),
			of(value("p50", Percentile), func(m *Meter) { m.Percent = decimal.FromInt(50) }))
		for _, how := range []Aggregate{Average, Most, Total} {
			list = append(list, of(value(fmt.Sprintf("p90-%d@", how), Percentile), func(m *Meter) {
				m.Percent, m.Window, m.Of = decimal.FromInt(90), 5*Hour, how
			}))
		}
	}
	for i := range list {
		if m := &list[i]; m.Key[len(m.Key)-1] == '@' {
			m.GroupBy = []Dimension{{"k", "data.k"}}
		}
	}
	return list
}

// everyPlan is a plan with a price on each of the meters.
func everyPlan(meters []Meter) Plan {
	p := Plan{Key: "all", Version: 1, Currency: "EUR", Digits: 2, Interval: Month}
	for i := range meters {
		price := Price{Key: meters[i].Key, Model: Unit, Meter: meters[i].Key, Unit: decimal.FromInt(1)}
		if m := &meters[i]; m.Key == "rated" || m.Key == "rated@" {
			price.Model, price.Unit, price.Rate = Percentage, decimal.Decimal{}, decimal.FromInt(2)
		}
		p.Prices = append(p.Prices, price)
	}
	return p
}

// randomRows returns rows of the days from 0 to days with few different times, values and texts, so
// that equal ones are common.
func randomRows(r *rand.Rand, n, days int) []rowOf {
	var rows []rowOf
	for range n {
		row := rowOf{
			at:    Micros(r.IntN(days))*OneDay + Micros(r.IntN(4))*Hour + Micros(r.IntN(2)),
			value: decimal.FromScaled(int64(r.IntN(41)-10), r.IntN(3)),
			kind:  []ColumnKind{TextColumn, NumberColumn}[r.IntN(2)],
			group: []string{"", "a", "b", "c"}[r.IntN(4)],
		}
		switch r.IntN(3) {
		case 0:
			row.tag = fmt.Sprint(r.IntN(12)) // some are the texts of numbers
		case 1:
			row.tag = decimal.FromScaled(int64(r.IntN(40)), 1)
		case 2:
			row.tag = r.IntN(2) == 0
		}
		rows = append(rows, row)
	}
	return rows
}

// batchOfRows returns the rows in columns; ids count on from first.
func batchOfRows(rows []rowOf, first int) *Batch {
	b := emptyBatch(len(rows))
	b.Type.Values, b.Source.Values = []string{"use"}, []string{"app"}
	b.Subject.Values = []string{"acme"}
	b.Origin.Source = "usage"
	b.Origin.Partition.Values, b.Origin.Resume = []string{"file"}, []int64{1}
	absent := func() Dict { return Dict{Index: fill(make([]uint32, 0), len(rows), Absent)} }
	text := Column{Path: "data.v", Kind: TextColumn, Text: absent()}
	number := Column{Path: "data.v", Kind: NumberColumn, Numbers: make([]decimal.Decimal, len(rows))}
	tag := Column{Path: "data.tag", Kind: TextColumn, Text: absent()}
	tagNumber := Column{
		Path: "data.tag", Kind: NumberColumn, Numbers: make([]decimal.Decimal, len(rows)),
	}
	tagBool := Column{Path: "data.tag", Kind: BoolColumn}
	group := Column{Path: "data.k", Kind: TextColumn, Text: absent()}
	set := func(d *Dict, row int, s string) {
		at := slices.Index(d.Values, s)
		if at < 0 {
			at = len(d.Values)
			d.Values = append(d.Values, s)
		}
		d.Index[row] = uint32(at)
	}
	for i := range rows {
		row := &rows[i]
		b.Type.Index[i], b.Source.Index[i], b.Subject.Index[i] = 0, 0, 0
		b.Origin.Partition.Index[i] = 0
		b.Time[i], b.Digest[i] = row.at, uint64(first+i)
		b.ID.Bytes = fmt.Append(b.ID.Bytes, first+i)
		b.ID.End[i] = uint32(len(b.ID.Bytes))
		if row.kind == TextColumn {
			set(&text.Text, i, row.value.String())
		} else {
			number.Numbers[i] = row.value
			number.Present.Set(i)
		}
		switch v := row.tag.(type) {
		case string:
			set(&tag.Text, i, v)
		case decimal.Decimal:
			tagNumber.Numbers[i] = v
			tagNumber.Present.Set(i)
		case bool:
			tagBool.Present.Set(i)
			if v {
				tagBool.Bools.Set(i)
			}
		}
		if row.group != "" {
			set(&group.Text, i, row.group)
		}
	}
	b.Props = []Column{group, tag, tagNumber, tagBool, text, number}
	return b
}

// counting is an engine with one account that counts rows with every meter.
type counting struct {
	*Engine
	fx     Effects
	meters []Meter
}

func newCounting(meters []Meter, subs ...Subscription) *counting {
	if subs == nil {
		subs = []Subscription{{Key: "main", Plan: "all", To: Future}}
	}
	c := &counting{Engine: New(0, 1, freshKeys{}), meters: meters}
	c.put(0, &Genesis{})
	c.put(0, &Source{Name: "usage"})
	c.put(0, &Change{
		Meters: meters, Plans: []Plan{everyPlan(meters)},
		Accounts: []AccountChange{{
			ID: "acme", Zone: "UTC", Attach: []Ownership{{"acme", "acme", Past, Future}},
			Subscriptions: subs,
		}},
	})
	if len(c.fx.Refusals) > 0 {
		panic("BUG: " + c.fx.Refusals[0].What)
	}
	return c
}

func (c *counting) put(at Micros, body Body) {
	entry := &Entry{Seq: c.Seq() + 1, At: max(at, c.at), Body: body}
	for more := c.Apply(entry, &c.fx); more; {
		more = c.Resume(&c.fx)
	}
}

// count applies rows in random cuts.
func (c *counting) count(r *rand.Rand, rows []rowOf, after func()) {
	for len(rows) > 0 {
		n := 1 + r.IntN(len(rows))
		if r.IntN(2) == 0 {
			n = min(n, 20)
		}
		c.put(200*OneDay, batchOfRows(rows[:n], int(c.Seq())))
		rows = rows[n:]
		if after != nil {
			after()
		}
	}
}

func (c *counting) record() string { return string(c.appendAccount(nil, 0)) }

// naive is a second way to the quantity of rows of one group: the definitions, word by word.
func naive(m *Meter, rows []rowOf, full Micros) *big.Rat {
	values := []*big.Rat{}
	for i := range rows {
		values = append(values, naiveValue(m, &rows[i]))
	}
	sum := new(big.Rat)
	for _, v := range values {
		sum.Add(sum, v)
	}
	n := int64(len(rows))
	sorted := slices.SortedFunc(slices.Values(values), (*big.Rat).Cmp)
	switch m.Aggregate {
	case Count:
		return big.NewRat(n, 1)
	case Total:
		return sum
	case Average:
		if n > 0 {
			sum.Quo(sum, big.NewRat(n, 1))
		}
		return sum
	case Least:
		return sorted[0]
	case Most:
		return sorted[n-1]
	case Unique:
		texts := map[string]bool{}
		for i := range rows {
			texts[fmt.Sprint(rows[i].tag)] = true
		}
		return big.NewRat(int64(len(texts)), 1)
	case Latest:
		last := 0
		for i := range rows {
			if rows[i].at > rows[last].at ||
				rows[i].at == rows[last].at && values[i].Cmp(values[last]) > 0 {
				last = i
			}
		}
		return values[last]
	}
	if m.Window > 0 {
		sorted = naiveWindows(m, rows, values, full)
	}
	rank, _ := new(big.Rat).SetString(m.Percent.String())
	rank.Mul(rank, big.NewRat(int64(len(sorted)), 100))
	for i := range sorted {
		if big.NewRat(int64(i+1), 1).Cmp(rank) >= 0 {
			return sorted[i]
		}
	}
	panic("BUG: no rank")
}

func naiveWindows(m *Meter, rows []rowOf, values []*big.Rat, full Micros) []*big.Rat {
	windows := map[Micros][]*big.Rat{}
	for i := range rows {
		k := (rows[i].at - full) / m.Window
		windows[k] = append(windows[k], values[i])
	}
	var out []*big.Rat
	for _, list := range windows {
		v := new(big.Rat)
		for _, x := range list {
			v.Add(v, x)
		}
		switch m.Of {
		case Average:
			v.Quo(v, big.NewRat(int64(len(list)), 1))
		case Most:
			v = slices.MaxFunc(list, (*big.Rat).Cmp)
		}
		out = append(out, v)
	}
	slices.SortFunc(out, (*big.Rat).Cmp)
	return out
}

func naiveValue(m *Meter, row *rowOf) *big.Rat {
	v, _ := new(big.Rat).SetString(row.value.String())
	if m.Constant != nil {
		v, _ = new(big.Rat).SetString(m.Constant.String())
	}
	if m.RoundEach == nil {
		return v
	}
	to, _ := new(big.Rat).SetString(m.RoundEach.To.String())
	v.Quo(v, to)
	floor := new(big.Int).Div(v.Num(), v.Denom()) // Euclidean: down, as denominators are positive
	rest := new(big.Rat).Sub(v, new(big.Rat).SetInt(floor))
	up := map[ConvertRound]bool{
		RoundUp: rest.Sign() > 0,
		RoundNearest: rest.Cmp(big.NewRat(1, 2)) > 0 ||
			rest.Cmp(big.NewRat(1, 2)) == 0 && v.Sign() > 0,
	}[m.RoundEach.Round]
	if up {
		floor.Add(floor, big.NewInt(1))
	}
	return to.Mul(to, new(big.Rat).SetInt(floor))
}

// naiveLevel integrates the rows of one group over [start, end).
func naiveLevel(m *Meter, rows []rowOf, start, end, whole Micros) *big.Rat {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b rowOf) int {
		if a.at != b.at {
			return int(a.at - b.at)
		}
		return a.value.Cmp(b.value)
	})
	area := new(big.Rat)
	for i := range rows {
		to := end
		if i+1 < len(rows) {
			to = min(to, rows[i+1].at)
		}
		if from := max(start, rows[i].at); from < to {
			v := naiveValue(m, &rows[i])
			area.Add(area, v.Mul(v, big.NewRat(int64(to-from), 1)))
		}
	}
	per := m.Per
	if per == 0 {
		per = whole
	}
	return area.Quo(area, big.NewRat(int64(per), 1))
}

// groupsWithin returns the rows in [start, end) by the meter's groups; all in one if whole.
func groupsWithin(m *Meter, rows []rowOf, start, end Micros, whole bool) map[string][]rowOf {
	out := map[string][]rowOf{}
	for _, row := range rows {
		if row.at < start || row.at >= end {
			continue
		}
		key := ""
		if len(m.GroupBy) > 0 && !whole {
			key = "group " + row.group
		}
		out[key] = append(out[key], row)
	}
	return out
}

// checkQuantities compares every quantity of the account's periods with the naive one.
func (c *counting) checkQuantities(rows []rowOf) error {
	b := c.subs.at(0)
	for p := b.newest; p >= 0; p = c.periods.at(p).older {
		period := c.periods.at(p)
		terms := c.terms[period.terms]
		span := c.span(b, terms, period.start)
		usage := c.usage(b, terms, period.start)
		for i := range c.meters {
			if err := checkMeter(&c.meters[i], usage, rows, &span); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMeter(m *Meter, usage []Usage, rows []rowOf, span *lineSpan) error {
	var covered []*Usage
	got := map[string]string{}
	for i := range usage {
		u := &usage[i]
		if u.Meter.Key != m.Key {
			continue
		}
		covered = append(covered, u)
		key := ""
		if len(u.Group) > 0 {
			key = "group " + u.Group[0].Value
		}
		one := totalOf(m, []*Usage{u}, span, Future)
		got[key] = one.quantity.String()
	}
	want := map[string]string{}
	sum := new(big.Rat)
	from := span.Start
	if m.Aggregate == TimeWeighted {
		from = Past
	}
	for key, list := range groupsWithin(m, rows, from, span.End, false) {
		if m.Aggregate != TimeWeighted {
			want[key] = text(naive(m, list, span.FullStart))
			continue
		}
		q := naiveLevel(m, list, span.Start, span.End, span.FullEnd-span.FullStart)
		sum.Add(sum, q)
		if q.Sign() != 0 || got[key] != "" {
			want[key] = text(q)
		}
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("%s from %s: quantities %v, want %v", m.Key, span.Start, got, want)
	}
	if m.Aggregate != TimeWeighted {
		sum = naive(m, groupsWithin(m, rows, span.Start, span.End, true)[""], span.FullStart)
	}
	t := totalOf(m, covered, span, Future)
	if q := t.quantity.String(); q != text(sum) {
		return fmt.Errorf("%s from %s: %s in all, want %s", m.Key, span.Start, q, text(sum))
	}
	return nil
}

// text writes a number as decimal.Rat does.
func text(r *big.Rat) string {
	if n, exact := r.FloatPrec(); exact {
		return r.FloatString(n)
	}
	return r.RatString()
}

// TestFoldsAgainstDefinitions counts random rows with every aggregation and compares quantities of
// groups and of all groups with a naive computation.
func TestFoldsAgainstDefinitions(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		rows := randomRows(r, 1+r.IntN(300), 85)
		c := newCounting(everyMeter(false))
		c.count(r, rows, nil)
		if err := c.checkQuantities(rows); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestUsesFoldAndMerge folds the uses of rows again, in one part and in two that are merged: all
// are the usage of the state.
func TestUsesFoldAndMerge(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := newCounting(everyMeter(false))
		c.Watch("acme")
		c.count(r, randomRows(r, 1+r.IntN(200), 28), nil)
		b := c.subs.at(0)
		want := c.foldsBy(b.newest, c.terms[c.periods.at(b.newest).terms], nil, c.foldOf)
		if got := UsageOf(c.fx.Uses); !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: uses fold to\n%v, want\n%v", seed, got, want)
		}
		var parts [2][]Use
		for _, u := range c.fx.Uses {
			i := r.IntN(2)
			parts[i] = append(parts[i], u)
		}
		merged, other := UsageOf(parts[0]), UsageOf(parts[1])
		before := fmt.Sprint(merged, other)
		kept := slices.Clone(merged)
		for _, u := range other {
			at := slices.IndexFunc(merged, func(o Usage) bool { return compareUsage(o, u) == 0 })
			if at < 0 {
				merged = append(merged, u)
			} else {
				merged[at].Fold.Merge(u.Meter, u.Each, u.Fold)
			}
		}
		slices.SortFunc(merged, compareUsage)
		if !reflect.DeepEqual(merged, want) {
			t.Fatalf("seed %d: parts merge to\n%v, want\n%v", seed, merged, want)
		}
		if fmt.Sprint(kept, other) != before {
			t.Fatalf("seed %d: a merge wrote to a part", seed)
		}
	}
}

// TestUsesCarryLevels folds the uses of a second month: with the levels that the state carries over
// they are its usage.
func TestUsesCarryLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8))
	c := newCounting(everyMeter(false))
	c.Watch("acme")
	c.count(r, randomRows(r, 40, 40), nil)
	b := c.subs.at(0)
	february := 31 * OneDay
	want := c.usage(b, c.terms[c.periods.at(b.newest).terms], february)
	uses := slices.DeleteFunc(c.fx.Uses, func(u Use) bool { return u.Start != february })
	got := UsageOf(uses)
	if reflect.DeepEqual(got, want) {
		t.Fatal("no level goes on")
	}
	if got := Carry(got, want); !reflect.DeepEqual(got, want) {
		t.Errorf("uses fold to\n%v, want\n%v", got, want)
	}
}
