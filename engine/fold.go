package engine

import (
	"cmp"
	"slices"
	"strings"

	"billctl/engine/decimal"
)

// Fold is a mergeable aggregate of the rows of one meter and group in one period. It is the same
// whatever the order in which rows came.
type Fold struct {
	Rows    uint64
	Value   decimal.Sum // Total, Average: the sum; Least, Most: the extreme; otherwise 0
	Samples []Sample    // what else the aggregate keeps, by rising (Time, Text, Value)
	Carried *Sample     // TimeWeighted: the level at the start of the period; nil: none, so 0
}

// Sample is one thing that a fold remembers, and how many rows it stands for.
//
//   - TimeWeighted, Latest, and any aggregate of which a Percentage price rates each row: the Time
//     and Value of rows. Of a Latest that can't be taken back only the last.
//   - Unique: a Text. Percentile without windows, and Least and Most that are Correctable: a Value.
//   - Percentile with windows: a window, which starts at Time, and its sum (Average, Total) or its
//     greatest value (Most).
//
// What does not matter to the aggregate is zero.
type Sample struct {
	Time  Micros
	Text  string
	Value decimal.Sum
	Rows  uint64
}

// Quantity returns the quantity that the fold of the meter stands for. That of TimeWeighted depends
// on the period: see Level.
func (f *Fold) Quantity(m *Meter) decimal.Rat {
	switch m.Aggregate {
	case Count:
		return decimal.Int(int64(f.Rows))
	case Average:
		if f.Rows == 0 {
			return decimal.Rat{}
		}
		return mean(f.Value, f.Rows)
	case Unique:
		return decimal.Int(int64(len(f.Samples)))
	case Latest:
		if len(f.Samples) == 0 {
			return decimal.Rat{}
		}
		return f.Samples[len(f.Samples)-1].Value.Rat()
	case Percentile:
		return f.percentile(m)
	case TimeWeighted:
		panic("BUG: a level has no quantity without its period")
	}
	return f.Value.Rat()
}

// Level returns the quantity of a fold of a TimeWeighted meter: the level, integrated over
// [start, end) and divided by the meter's Per, or by the whole period where it has none.
func (f *Fold) Level(m *Meter, start, end, fullStart, fullEnd Micros) decimal.Rat {
	per := m.Per
	if per == 0 {
		per = fullEnd - fullStart
	}
	var area decimal.Rat
	var level decimal.Sum
	if f.Carried != nil {
		level = f.Carried.Value
	}
	at := start
	hold := func(to Micros) {
		if to > at && !level.IsZero() {
			area = area.Add(level.Rat().Mul(decimal.Int(int64(to - at))))
		}
		at = max(at, to)
	}
	for i := range f.Samples {
		s := &f.Samples[i]
		if s.Time >= end {
			break
		}
		hold(s.Time)
		level = s.Value // of equal times the greatest comes last
	}
	hold(end)
	return area.Quo(decimal.Int(int64(per)))
}

// Merge folds another fold of the same meter in; each is Usage.Each of both. Levels of different
// groups do not merge: their quantities are added. The samples of neither fold are written to.
func (f *Fold) Merge(m *Meter, each bool, o Fold) {
	t := tally{f.Rows, f.Value}
	t.merge(m.Aggregate, tally{o.Rows, o.Value})
	f.Rows, f.Value = t.Rows, t.Value
	if len(o.Samples) > 0 {
		f.Samples = compact(m, m.keeps(each), slices.Concat(f.Samples, o.Samples))
	}
	if f.Carried == nil {
		f.Carried = o.Carried
	}
}

// percentile returns the sample of the nearest rank. It is one of the samples: nothing is between.
func (f *Fold) percentile(m *Meter) decimal.Rat {
	list := slices.Clone(f.Samples)
	average := m.Window > 0 && m.Of == Average
	slices.SortFunc(list, func(a, b Sample) int {
		if average && a.Rows != b.Rows {
			return mean(a.Value, a.Rows).Cmp(mean(b.Value, b.Rows))
		}
		return a.Value.Cmp(b.Value)
	})
	weight := func(s *Sample) int64 {
		if m.Window > 0 {
			return 1
		}
		return int64(s.Rows)
	}
	n := int64(0)
	for i := range list {
		n += weight(&list[i])
	}
	// The rank is not rounded up: the first sample that reaches it is that of the next whole one.
	rank := m.Percent.Rat().Mul(decimal.Ratio(n, 100))
	n = 0
	for i := range list {
		s := &list[i]
		if n += weight(s); decimal.Int(n).Cmp(rank) < 0 {
			continue
		}
		if average {
			return mean(s.Value, s.Rows)
		}
		return s.Value.Rat()
	}
	return decimal.Rat{}
}

func mean(sum decimal.Sum, rows uint64) decimal.Rat {
	return sum.Rat().Quo(decimal.Int(int64(rows)))
}

// total is what the usage that a price covers adds up to.
type total struct {
	rows     uint64
	quantity decimal.Rat
	samples  []Sample // for Percentage: by rising (Time, Value)
}

// totalOf adds up the usage of a meter that a price covers in a span. Levels are integrated up to
// until, and no further than to the span's end.
func totalOf(m *Meter, usage []*Usage, span *lineSpan, until Micros) total {
	if m.Aggregate == TimeWeighted {
		return totalLevel(m, usage, span, until)
	}
	var t tally
	each, samples := false, 0
	for _, u := range usage {
		t.merge(m.Aggregate, tally{u.Fold.Rows, u.Fold.Value})
		each = each || u.Each
		samples += len(u.Fold.Samples)
	}
	all := Fold{Rows: t.Rows, Value: t.Value}
	if samples > 0 {
		all.Samples = make([]Sample, 0, samples)
		for _, u := range usage {
			all.Samples = append(all.Samples, u.Fold.Samples...)
		}
		all.Samples = compact(m, m.keeps(each), all.Samples)
	}
	out := total{rows: t.Rows, quantity: all.Quantity(m)}
	if each {
		out.samples = all.Samples
	}
	return out
}

// totalLevel adds up the quantities of the groups; the parts of one group are one level.
func totalLevel(m *Meter, usage []*Usage, span *lineSpan, until Micros) total {
	end := max(span.Start, min(span.End, until))
	usage = slices.Clone(usage)
	slices.SortStableFunc(usage, func(a, b *Usage) int { return compareUsage(*a, *b) })
	var out total
	for len(usage) > 0 {
		level, n := usage[0].Fold, 1
		for n < len(usage) && compareUsage(*usage[0], *usage[n]) == 0 {
			level.Merge(m, usage[n].Each, usage[n].Fold)
			n++
		}
		out.rows += level.Rows
		out.quantity = out.quantity.Add(
			level.Level(m, span.Start, end, span.FullStart, span.FullEnd))
		usage = usage[n:]
	}
	return out
}

// tally is the part of a fold that has one size.
type tally struct {
	Rows  uint64
	Value decimal.Sum
}

// add folds one value in.
func (t *tally) add(how Aggregate, v decimal.Decimal) {
	t.Rows++
	switch how {
	case Total, Average:
		t.Value.Add(v)
	case Least:
		if s := decimal.SumOf(v); t.Rows == 1 || s.Cmp(t.Value) < 0 {
			t.Value = s
		}
	case Most:
		if s := decimal.SumOf(v); t.Rows == 1 || s.Cmp(t.Value) > 0 {
			t.Value = s
		}
	}
}

// sub takes one value back. Of extremes it leaves the value: only who has all of them knows the
// next.
func (t *tally) sub(how Aggregate, v decimal.Decimal) {
	t.Rows--
	if how == Total || how == Average {
		t.Value.Sub(v)
	}
}

func (t *tally) merge(how Aggregate, o tally) {
	if o.Rows == 0 {
		return
	}
	take := t.Rows == 0
	t.Rows += o.Rows
	switch how {
	case Total, Average:
		t.Value.AddSum(o.Value)
	case Least:
		if take || o.Value.Cmp(t.Value) < 0 {
			t.Value = o.Value
		}
	case Most:
		if take || o.Value.Cmp(t.Value) > 0 {
			t.Value = o.Value
		}
	}
}

// keeping is what a fold remembers beside its tally.
type keeping uint8

const (
	keepNothing keeping = iota
	keepValues          // values
	keepRows            // times and values
	keepLast            // the greatest time and value
	keepTexts           // texts
	keepWindows         // sums or greatest values of windows of time
)

// keeps returns what folds of the meter remember; each: a Percentage price rates every row.
func (m *Meter) keeps(each bool) keeping {
	switch {
	case m.Aggregate == Unique:
		return keepTexts
	case m.Aggregate == Percentile && m.Window > 0:
		return keepWindows
	case each, m.Aggregate == TimeWeighted, m.Aggregate == Latest && m.Correctable:
		return keepRows
	case m.Aggregate == Latest:
		return keepLast
	case m.Aggregate == Percentile, m.Correctable && (m.Aggregate == Least || m.Aggregate == Most):
		return keepValues
	}
	return keepNothing
}

// correctable reports whether a row can be taken out of folds of the meter again.
func correctable(m *Meter, each bool) bool {
	switch m.Aggregate {
	case Percentile:
		return false
	case Least, Most, Latest:
		return m.Correctable || each
	}
	return true
}

// compact sorts samples that are the caller's own, and joins those of one kind.
func compact(m *Meter, keep keeping, list []Sample) []Sample {
	slices.SortFunc(list, compareSamples)
	n := 0
	for i := range list {
		s := list[i]
		if n > 0 && sameSample(keep, &list[n-1], &s) {
			last := &list[n-1]
			last.Value = joined(m, keep, last.Value, s.Value)
			last.Rows += s.Rows
			continue
		}
		list[n] = s
		n++
	}
	if keep == keepLast && n > 1 {
		return list[n-1 : n]
	}
	return list[:n]
}

// sameSample reports whether two samples are one of which there are several rows.
func sameSample(keep keeping, a, b *Sample) bool {
	return a.Time == b.Time && a.Text == b.Text && (keep == keepWindows || a.Value == b.Value)
}

// joined returns the value of two parts of one sample.
func joined(m *Meter, keep keeping, a, b decimal.Sum) decimal.Sum {
	switch {
	case keep != keepWindows:
	case m.Of != Most:
		a.AddSum(b)
	case b.Cmp(a) > 0:
		a = b
	}
	return a
}

// compareSamples orders samples as folds have them.
func compareSamples(a, b Sample) int {
	if a.Time != b.Time {
		return cmp.Compare(a.Time, b.Time)
	}
	if c := strings.Compare(a.Text, b.Text); c != 0 {
		return c
	}
	return a.Value.Cmp(b.Value)
}
