package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// periodWords describes the periods of a plan.
func periodWords(p *engine.Plan) string {
	words := "periods of a " + intervalWord(p.Interval)
	if p.Anchor != engine.CalendarAnchor {
		words += ", anchor " + anchorWord(p)
	}
	return words
}

func intervalWord(i engine.Interval) string {
	if i == 0 || int(i) >= len(intervals) {
		return fmt.Sprintf("interval %d", i)
	}
	return intervals[i]
}

// anchorWord returns the catalog's word for where the periods of a plan begin.
func anchorWord(p *engine.Plan) string {
	switch {
	case p.Anchor == engine.CalendarAnchor:
		return "calendar"
	case p.Anchor == engine.StartAnchor:
		return "start"
	case p.Interval == engine.Week && int(p.Anchor) < len(weekdays):
		return weekdays[p.Anchor]
	}
	return fmt.Sprint(p.Anchor)
}

func commitmentWords(c *engine.Commitment) string {
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s (beyond it * %s)", c.Amount, c.Overage)
}

// mostRows is how many rows of a matrix differ one by one; more are counted.
const mostRows = 10

// matrix says which rows of a matrix differ.
func (w *wordList) matrix(old, now *engine.Matrix) {
	if old == nil || now == nil || !slices.Equal(old.Dims, now.Dims) {
		w.text("matrix", matrixWords(old), matrixWords(now))
		return
	}
	var rows wordList
	var fresh, gone, other int
	i, j := 0, 0
	for i < len(old.Rows) || j < len(now.Rows) {
		order := 0
		switch {
		case i == len(old.Rows):
			order = 1
		case j == len(now.Rows):
			order = -1
		default:
			order = slices.Compare(old.Rows[i].Values, now.Rows[j].Values)
		}
		switch {
		case order < 0:
			rows = append(rows, "matrix "+strings.Join(old.Rows[i].Values, "/")+" is gone")
			gone++
			i++
		case order > 0:
			rows = append(rows, "matrix "+strings.Join(now.Rows[j].Values, "/")+" is new")
			fresh++
			j++
		default:
			before := len(rows)
			rows.number("matrix "+strings.Join(now.Rows[j].Values, "/"), old.Rows[i].Unit, now.Rows[j].Unit)
			other += len(rows) - before
			i++
			j++
		}
	}
	if len(rows) > mostRows {
		rows = wordList{fmt.Sprintf("matrix: of %s %d %s, %d %s new, %d %s gone",
			plural(len(old.Rows), "row"), other, one(other, "changes", "change"),
			fresh, one(fresh, "is", "are"), gone, one(gone, "is", "are"))}
	}
	*w = append(*w, rows...)
}

func matrixWords(m *engine.Matrix) string {
	if m == nil {
		return ""
	}
	return plural(len(m.Rows), "row") + " by " + strings.Join(m.Dims, ", ")
}

// one returns the word for one thing or for several.
func one(n int, single, several string) string {
	if n == 1 {
		return single
	}
	return several
}
