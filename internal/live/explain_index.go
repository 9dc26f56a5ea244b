package live

import (
	"slices"

	"billctl/engine"
)

// seriesIndex finds what counts for a line. A period may have as many lines as it has groups, so
// none of them looks at all of the rows or at all of the series.
type seriesIndex struct {
	folds   []engine.Usage                // of each series
	rows    [][]int32                     // of each series: indices in usedPeriod.rows, rising
	byGroup map[string]map[string][]int32 // series, by price and dimensions, then by line key
	lineAt  map[string]int                // index in rerated.lines, by line key
}

// index makes the index of a period, whose series fold so.
func (p *rerated) index(folds []engine.Usage) {
	x := &seriesIndex{
		folds: folds, rows: make([][]int32, len(folds)),
		byGroup: map[string]map[string][]int32{}, lineAt: map[string]int{},
	}
	for i := range p.used.rows {
		if s := p.used.rows[i].series; s >= 0 {
			x.rows[s] = append(x.rows[s], int32(i))
		}
	}
	for i := range p.lines {
		key := engine.LineKey(p.lines[i].Price, p.lines[i].Group)
		if _, found := x.lineAt[key]; !found {
			x.lineAt[key] = i
		}
	}
	p.seriesIndex = x
}

// countFor returns which series count for the line of a price and of a group of its dimensions.
func (p *rerated) countFor(price *engine.Price, group []engine.GroupValue) []int32 {
	all := make([]engine.GroupValue, len(group)) // the dimensions alone
	for i, g := range group {
		all[i] = engine.GroupValue{Dim: g.Dim, Absent: true}
	}
	name := engine.LineKey(price.Key, all)
	lines, found := p.byGroup[name]
	if !found {
		lines = map[string][]int32{}
		p.byGroup[name] = lines
		for i := range p.folds {
			s := &p.used.series[i]
			if price.Covers(&engine.Usage{Meter: s.Meter, Group: s.Group}) {
				key := engine.LineKey(price.Key, valuesOf(s.Group, all))
				lines[key] = append(lines[key], int32(i))
			}
		}
	}
	return lines[engine.LineKey(price.Key, group)]
}

// valuesOf returns the values that a group has in some dimensions; absent ones where it has none.
func valuesOf(group, dims []engine.GroupValue) []engine.GroupValue {
	out := slices.Clone(dims)
	for i := range out {
		for _, g := range group {
			if g.Dim == out[i].Dim && !g.Absent {
				out[i] = g
			}
		}
	}
	return out
}

// rowsOf returns the first rows of some series, by Seq: at most so many, all for 0.
func (p *rerated) rowsOf(series []int32, most int) []int32 {
	var out []int32
	for _, s := range series {
		rows := p.rows[s]
		if most > 0 {
			rows = rows[:min(most, len(rows))]
		}
		out = append(out, rows...)
	}
	slices.Sort(out)
	if most > 0 {
		out = out[:min(most, len(out))]
	}
	return out
}
