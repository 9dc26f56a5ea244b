package api

import (
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/internal/live"
)

// stepParts is how many single values, levels or events the steps of a line show.
const stepParts = 20

// quantitySteps say how a quantity comes from the events of a line.
func quantitySteps(l *live.ExplainedLine) []string {
	m := l.Meter
	text := strings.TrimSpace(number(l.Line.Quantity)+" "+m.Unit) + " from " +
		counted(uint64(l.Count), "event")
	var more []string
	switch m.Aggregate {
	case engine.Total:
		text += ": the sum of their values"
	case engine.Least:
		text += ": the least of their values"
	case engine.Most:
		text += ": the greatest of their values"
	case engine.Average:
		if l.Count > 0 {
			fold := engine.FoldOf(m, l.Usage)
			text += fmt.Sprintf(": their sum %s over %s rows", number(fold.Value.Rat()), grouped(fold.Rows))
		}
	case engine.Unique:
		text += ": the different values"
		more = uniqueSteps(l)
	case engine.Latest:
		text += latestText(l)
	case engine.Percentile:
		text, more = percentileText(l, text)
	case engine.TimeWeighted:
		text += ": levels x the time that they held / " + perText(l)
		more = levelSteps(l)
	}
	if m.Constant != nil && m.Aggregate != engine.Count && m.Aggregate != engine.Unique {
		text += ", each " + m.Constant.String()
	}
	if r := m.RoundEach; r != nil {
		text += fmt.Sprintf(", each rounded %sto a multiple of %s", roundWord(r.Round), r.To)
	}
	return append([]string{text}, more...)
}

func roundWord(r engine.ConvertRound) string {
	switch r {
	case engine.RoundUp:
		return "up "
	case engine.RoundDown:
		return "down "
	}
	return ""
}

// uniqueSteps name the first values, by their bytes.
func uniqueSteps(l *live.ExplainedLine) []string {
	samples := engine.FoldOf(l.Meter, l.Usage).Samples
	if len(samples) == 0 {
		return nil
	}
	var names []string
	for i := range samples[:min(len(samples), stepParts)] {
		names = append(names, fmt.Sprintf("%q", samples[i].Text))
	}
	text := "values: " + strings.Join(names, ", ")
	if more := len(samples) - stepParts; more > 0 {
		text += ", and " + grouped(uint64(more)) + " more"
	}
	return []string{text}
}

func latestText(l *live.ExplainedLine) string {
	samples := engine.FoldOf(l.Meter, l.Usage).Samples
	if len(samples) == 0 {
		return ""
	}
	return ": the value of the last, at " + samples[len(samples)-1].Time.String()
}

// percentileText says which of the sorted samples is the quantity.
func percentileText(l *live.ExplainedLine, text string) (string, []string) {
	m, fold := l.Meter, engine.FoldOf(l.Meter, l.Usage)
	n, of := fold.Rows, "values"
	var more []string
	if m.Window > 0 {
		n, of = uint64(len(fold.Samples)), "windows"
		how := map[engine.Aggregate]string{
			engine.Average: "the average", engine.Most: "the greatest", engine.Total: "the sum",
		}
		more = append(more, fmt.Sprintf("%s of %s with events; each counts with %s of its events",
			counted(n, "window"), spanText(m.Window), how[m.Of]))
	}
	if n == 0 {
		return text, nil
	}
	exact := m.Percent.Rat().Mul(decimal.Ratio(int64(n), 100))
	rank := decimal.Max(exact.Ceil(), decimal.Int(1))
	text += fmt.Sprintf(": rank %s of %s %s by size", number(rank), grouped(n), of)
	step := fmt.Sprintf("rank: %s %% of %s = %s", m.Percent, grouped(n), number(exact))
	if exact.Cmp(rank) != 0 {
		step += ", rounded up"
	}
	return text, append(more, step)
}

// perText says by what the area under the levels is divided.
func perText(l *live.ExplainedLine) string {
	per := l.Meter.Per
	if per == 0 {
		per = l.Terms.FullEnd - l.Terms.FullStart
		return "the whole period of " + seconds(per) + " s"
	}
	return seconds(per) + " s"
}

// levelSteps say which levels held for how long, of each group.
func levelSteps(l *live.ExplainedLine) []string {
	var steps []string
	var area decimal.Rat
	left := 0
	add := func(text string) {
		if len(steps) < stepParts {
			steps = append(steps, text)
		} else {
			left++
		}
	}
	for i := range l.Usage {
		u := &l.Usage[i]
		who := ""
		if len(u.Group) > 0 {
			who = groupText(u.Group) + ": "
		}
		if c := u.Fold.Carried; c != nil {
			add(fmt.Sprintf("%slevel %s goes on from before, since %s", who, number(c.Value.Rat()), c.Time))
		}
		for _, s := range u.Fold.Levels(l.Terms.Start, l.Terms.End) {
			part := s.Level.Rat().Mul(decimal.Int(int64(s.To - s.From)))
			area = area.Add(part)
			add(fmt.Sprintf("%slevel %s from %s to %s, %s s = %s", who, number(s.Level.Rat()), s.From,
				s.To, seconds(s.To-s.From), number(perSecond(part))))
		}
	}
	if left > 0 {
		steps = append(steps, "... "+counted(uint64(left), "level")+" more")
	}
	return append(steps, fmt.Sprintf("together %s / %s = %s", number(perSecond(area)), perText(l),
		number(l.Line.Quantity)))
}

func perSecond(area decimal.Rat) decimal.Rat {
	return area.Quo(decimal.Int(int64(engine.Second)))
}

// seconds writes a length of time.
func seconds(t engine.Micros) string {
	return number(decimal.Ratio(int64(t), int64(engine.Second)))
}

// spanText writes a length of time by its greatest whole unit.
func spanText(t engine.Micros) string {
	for _, u := range []struct {
		unit engine.Micros
		word string
	}{{engine.OneDay, "day"}, {engine.Hour, "hour"}, {engine.Minute, "minute"}} {
		if t >= u.unit && t%u.unit == 0 {
			return counted(uint64(t/u.unit), u.word)
		}
	}
	return seconds(t) + " s"
}
