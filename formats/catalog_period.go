package formats

import (
	"fmt"
	"slices"
	"strconv"

	"billctl/engine"
)

// The words of periods and weekdays, by their number.
var (
	intervals = [...]string{
		engine.OfDay: "day", engine.Week: "week", engine.Month: "month", engine.Quarter: "quarter",
		engine.Year: "year",
	}
	weekdays = [...]string{
		1: "monday", 2: "tuesday", 3: "wednesday", 4: "thursday", 5: "friday", 6: "saturday",
		7: "sunday",
	}
)

// period reads how long the plan's periods are and where they begin. What begins where the
// calendar's periods do is CalendarAnchor, however it is written.
func (r *catalogReader) period(f *fields, p *engine.Plan, at *planPlaces) {
	if n := f.get("period"); n != nil {
		at.anchor = n.at
		word, ok := f.word(n, "period", intervals[1:]...)
		if !ok {
			p.Interval = 0
			return
		}
		p.Interval = engine.Interval(slices.Index(intervals[:], word))
	}
	n := f.get("anchor")
	s, ok := f.scalar(n, "anchor")
	if !ok {
		return
	}
	at.anchor = n.at
	day, err := strconv.Atoi(s)
	weekday := slices.Index(weekdays[:], s)
	switch {
	case s == "calendar":
	case s == "start":
		if p.Interval != engine.OfDay { // a day begins at midnight in any case
			p.Anchor = engine.StartAnchor
		}
	case p.Interval == engine.OfDay:
		r.faults.add(n.at, "leave it out: days begin at midnight", "a day has no anchor %q", clip(s))
	case p.Interval == engine.Week && weekday > 0:
		day = weekday
		fallthrough
	case p.Interval != engine.Week && err == nil && strconv.Itoa(day) == s && day >= 1 && day <= 31:
		if day > 1 {
			p.Anchor = engine.Anchor(day)
		}
	case p.Interval == engine.Week:
		words := append([]string{"calendar", "start"}, weekdays[1:]...)
		r.faults.add(n.at, known(s, words), "anchor %q is not known", clip(s))
	default:
		hint := "write calendar, start, or a day of the month from 1 to 31"
		if near := nearest(s, []string{"calendar", "start"}); near != "" {
			hint = fmt.Sprintf("did you mean %q? Otherwise %s", near, hint)
		}
		r.faults.add(n.at, hint, "anchor %q is not known", clip(s))
	}
}
