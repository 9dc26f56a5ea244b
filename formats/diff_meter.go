package formats

import (
	"fmt"
	"strings"

	"billctl/engine"
)

// meterWords describes a meter.
func meterWords(m *engine.Meter) string {
	words := AggregateWord(m.Aggregate)
	switch {
	case m.Aggregate == engine.Unique:
		words += " values"
	case m.Aggregate == engine.Percentile:
		words += " " + m.Percent.String()
		if m.Window != 0 {
			words += fmt.Sprintf(" of the %s of each %s", ofWord(m.Of), spanWord(m.Window))
		}
	}
	switch {
	case m.Constant != nil:
		words += " of the constant " + m.Constant.String()
	case m.Value != "":
		words += " of " + m.Value
	}
	if m.RoundEach != nil {
		words += ", each " + roundEachWords(m.RoundEach) + ","
	}
	if m.Aggregate == engine.TimeWeighted {
		words += " per " + timeUnitWord(m.Per)
	}
	words += " of events " + m.Event
	if len(m.GroupBy) > 0 {
		words += " by " + strings.Join(dimensionNames(m), ", ")
	}
	if m.Correctable {
		words += ", correctable"
	}
	return words
}

// AggregateWord returns the catalog's word for an aggregation.
func AggregateWord(a engine.Aggregate) string {
	for _, known := range aggregates {
		if known.how == a {
			return known.word
		}
	}
	return fmt.Sprintf("aggregate %d", a)
}

// ofWord is AggregateWord of what a window has, "" without windows.
func ofWord(a engine.Aggregate) string {
	if a == 0 {
		return ""
	}
	return AggregateWord(a)
}

func dimensionWords(list []engine.Dimension) string {
	words := make([]string, len(list))
	for i, d := range list {
		words[i] = d.Name + ": " + d.Path
	}
	return braces(words)
}

func filterWords(list []engine.Filter) string {
	words := make([]string, len(list))
	for i, f := range list {
		words[i] = fmt.Sprintf("%s: %q", f.Path, f.Values)
	}
	return braces(words)
}

func roundEachWords(r *engine.RoundEach) string {
	if r == nil {
		return ""
	}
	round := [...]string{"not rounded", "rounded up", "rounded down", "rounded"}
	return round[r.Round] + " to a multiple of " + r.To.String()
}

// spanWord writes a length of time by its greatest whole unit, "" for none.
func spanWord(t engine.Micros) string {
	if t == 0 {
		return ""
	}
	for _, u := range []struct {
		unit engine.Micros
		word string
	}{{engine.OneDay, "d"}, {engine.Hour, "h"}, {engine.Minute, "m"}, {engine.Second, "s"}} {
		if t%u.unit == 0 {
			return fmt.Sprintf("%d%s", t/u.unit, u.word)
		}
	}
	return fmt.Sprintf("%dus", t)
}

// timeUnitWord returns the catalog's word for what a level is measured by.
func timeUnitWord(per engine.Micros) string {
	switch per {
	case 0:
		return "period"
	case engine.Second:
		return "second"
	case engine.Minute:
		return "minute"
	case engine.Hour:
		return "hour"
	case engine.OneDay:
		return "day"
	}
	return spanWord(per)
}
