package tui

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/NimbleMarkets/ntcharts/canvas/runes"
)

// curve is what a period had come to by the end of each of its days.
type curve struct {
	name     string   // "this period"
	currency string   // of the amounts
	dates    []string // 2026-09-01
	amounts  []string // as answered
	rows     []uint64 // accepted on each day
	span     int      // days of the whole period, at least as many as there are dates
}

// last returns the newest day and its amount, "" if there is none.
func (c *curve) last() (date, amount string) {
	if c == nil || len(c.dates) == 0 {
		return "", ""
	}
	return c.dates[len(c.dates)-1], c.amounts[len(c.amounts)-1]
}

// plot is a period's curve against that of the one before. It keeps heights, so that to draw it
// takes no arithmetic with amounts.
type plot struct {
	now, before *curve // before may be nil, or in another currency: then it is only named
	span        int
	heights     [2][]int // of now and before, in parts of plotParts from the lowest to the highest
	zero        int      // height of 0
	highest     string   // amount at plotParts, as answered; "": 0
}

const plotParts = 1 << 16

func newPlot(now, before *curve) *plot {
	g := &plot{now: now, before: before, span: now.span}
	curves := []*curve{now}
	if before != nil && before.currency == now.currency {
		curves = append(curves, before)
	}
	least, most := new(big.Rat), new(big.Rat)
	var values [2][]*big.Rat
	for i, c := range curves {
		g.span = max(g.span, c.span, len(c.dates))
		for _, text := range c.amounts {
			v, ok := new(big.Rat).SetString(text)
			if !ok {
				v = new(big.Rat)
			}
			values[i] = append(values[i], v)
			if v.Cmp(most) > 0 {
				most, g.highest = v, text
			}
			if v.Cmp(least) < 0 {
				least = v
			}
		}
	}
	height := func(v *big.Rat) int {
		all := new(big.Rat).Sub(most, least)
		if all.Sign() == 0 {
			return 0
		}
		part := new(big.Rat).Sub(v, least)
		part.Mul(part, big.NewRat(plotParts, 1)).Quo(part, all)
		return int(new(big.Int).Quo(part.Num(), part.Denom()).Int64())
	}
	g.zero = height(new(big.Rat))
	for i := range values {
		for _, v := range values[i] {
			g.heights[i] = append(g.heights[i], height(v))
		}
	}
	return g
}

const (
	plotLeast  = 12 // cells without labels
	plotHeight = 3  // lines without dates and legend
	plotRows   = 9  // lines of the whole from which on the rows of the days are drawn too
)

// draw returns at most h lines: the picture, its dates, and the legend with the amounts. Where
// there is no room for a picture the legend stays.
func (g *plot) draw(w, h int, p *pen) []string {
	legend := g.legend(w, p)
	rows := h - len(legend) - 1
	withRows := h >= plotRows && len(g.now.rows) > 0
	if withRows {
		rows--
	}
	if rows < plotHeight || w < plotLeast {
		return legend[:min(len(legend), max(h, 0))]
	}
	margin := 0
	n := max(width(p.safe(g.highest)), width(p.safe(g.now.currency)))
	if g.highest != "" && w-n-1 >= 2*plotLeast {
		margin = n + 1
	}
	picture := g.picture(w-margin, rows, p)
	out := make([]string, 0, h)
	for i, line := range picture {
		label := ""
		switch i {
		case 0:
			label = p.safe(g.highest)
		case 1:
			label = p.safe(g.now.currency)
		}
		if margin > 0 {
			line = p.ink(faint, p.right(label, margin-1)) + " " + line
		}
		out = append(out, line)
	}
	if withRows {
		label := ""
		if margin > 0 {
			label = p.right("uses", margin-1) + " "
		}
		out = append(out, p.ink(faint, label)+p.ink(accent, g.rowsByDay(w-margin, p)))
	}
	out = append(out, strings.Repeat(" ", margin)+g.axis(w-margin, p))
	return append(out, legend...)
}

// legend names the curves with their signs and newest amounts.
func (g *plot) legend(w int, p *pen) []string {
	signs := [2]string{"⠤⠤⠤", "⠄⠠⠠"}
	if p.ascii {
		signs = [2]string{"***", "..."}
	}
	inks := [2]ink{accent, faint}
	var out []string
	for i, c := range []*curve{g.now, g.before} {
		if c == nil {
			continue
		}
		date, amount := c.last()
		text := amount + " " + c.currency
		if date == "" {
			text = "no usage yet"
		} else if len(date) == len("2026-09-01") && w >= 48 {
			text += " on " + date
		}
		text = p.safe(text)
		room := max(0, w-len(" ")-3-len(" ")-width(text))
		line := p.ink(inks[i], signs[i]) + " " + p.left(c.name, min(len("this period"), room)) + " "
		if width(line)+width(text) > w {
			line = ""
		}
		out = append(out, line+p.ink(strong, p.cut(text, w-width(line))))
	}
	return out
}

// rowsByDay draws the rows of each day below where the day is.
func (g *plot) rowsByDay(w int, p *pen) string {
	var cells []uint64
	for x := range w {
		from := x * g.span / w
		to := min(max((x+1)*g.span/w, from+1), len(g.now.rows))
		if from >= to {
			break
		}
		cells = append(cells, slices.Max(g.now.rows[from:to]))
	}
	return sparkline(cells, len(cells), p)
}

// axis is the line of dates: where the period begins, its newest day, and its last.
func (g *plot) axis(w int, p *pen) string {
	if len(g.now.dates) == 0 {
		return p.ink(faint, strings.Repeat(p.glyph(rule), w))
	}
	cells := []rune(strings.Repeat(" ", w))
	put := func(at int, text string) {
		at = min(max(at, 0), w-len(text))
		for i := max(at-1, 0); i < min(at+len(text)+1, w); i++ {
			if cells[i] != ' ' {
				return // another date is there
			}
		}
		copy(cells[at:], []rune(text))
	}
	put(0, shortDate(g.now.dates[0]))
	newest := len(g.now.dates) - 1
	put(g.column(newest+1, w)-2, shortDate(g.now.dates[newest]))
	if first, err := time.Parse(time.DateOnly, g.now.dates[0]); err == nil && g.now.span > 0 {
		last := first.AddDate(0, 0, g.now.span-1).Format(time.DateOnly)
		put(g.column(g.now.span, w)-2, shortDate(last))
	}
	return p.ink(faint, string(cells))
}

// shortDate returns the month and day of a date.
func shortDate(s string) string {
	for _, r := range s {
		if r != '-' && (r < '0' || r > '9') {
			return "?"
		}
	}
	if len(s) != len("2026-09-01") {
		return "?"
	}
	return s[len("2026-"):]
}

// column is where the end of the n-th day stands in w dots.
func (g *plot) column(n, w int) int { return n * (w - 1) / max(g.span, 1) }

// picture draws the curves in w cells and h lines.
func (g *plot) picture(w, h int, p *pen) []string {
	if p.ascii {
		return g.signs(w, h, p)
	}
	var dots [2][][]rune
	for i := range dots {
		grid := runes.NewPatternDotsGrid(2*w, 4*h)
		n := 0
		g.trace(i, 2*w, 4*h, func(x, y int) {
			// The line of before is dotted, so that no colour is needed to tell them apart.
			if n++; i == 0 || n%3 == 1 {
				grid.Set(x, y)
			}
		})
		dots[i] = grid.BraillePatterns()
	}
	base := (plotParts - g.zero) * (h - 1) / plotParts
	out := make([]string, h)
	for y := range out {
		cells := make([]cell, w)
		for x := range cells {
			now, before := dots[0][y][x], dots[1][y][x]
			switch {
			case now != runes.BrailleBlockOffset:
				cells[x] = cell{runes.CombineBraillePatterns(now, before), accent}
			case before != runes.BrailleBlockOffset:
				cells[x] = cell{before, faint}
			case y == base:
				cells[x] = cell{'─', faint}
			default:
				cells[x] = cell{' ', plain}
			}
		}
		out[y] = drawCells(cells, p)
	}
	return out
}

// signs draws the curves in ASCII.
func (g *plot) signs(w, h int, p *pen) []string {
	rows := make([][]cell, h)
	base := (plotParts - g.zero) * (h - 1) / plotParts
	for y := range rows {
		rows[y] = make([]cell, w)
		for x := range rows[y] {
			rows[y][x] = cell{' ', plain}
			if y == base {
				rows[y][x] = cell{'_', faint}
			}
		}
	}
	g.trace(1, w, h, func(x, y int) { rows[y][x] = cell{'.', faint} })
	g.trace(0, w, h, func(x, y int) { rows[y][x] = cell{'*', accent} })
	out := make([]string, h)
	for y := range out {
		out[y] = drawCells(rows[y], p)
	}
	return out
}

// trace walks along a curve in w times h dots, from 0 at the period's start.
func (g *plot) trace(i, w, h int, dot func(x, y int)) {
	if len(g.heights[i]) == 0 {
		return
	}
	row := func(height int) int { return (plotParts - height) * (h - 1) / plotParts }
	x, y := 0, row(g.zero)
	for day, height := range g.heights[i] {
		toX, toY := g.column(day+1, w), row(height)
		walk(x, y, toX, toY, dot)
		x, y = toX, toY
	}
}

// walk visits the dots of a straight line, both ends too.
func walk(x, y, toX, toY int, dot func(x, y int)) {
	dx, dy := toX-x, toY-y
	n := max(dx, -dx, dy, -dy)
	for i := range n + 1 {
		if n == 0 {
			dot(x, y)
			return
		}
		dot(x+roundQuo(dx*i, n), y+roundQuo(dy*i, n))
	}
}

// roundQuo returns a/b rounded, for b above 0.
func roundQuo(a, b int) int {
	if a < 0 {
		return -((-a + b/2) / b)
	}
	return (a + b/2) / b
}

// cell is one cell of a picture.
type cell struct {
	sign rune
	ink  ink
}

// drawCells writes runs of the same ink at once.
func drawCells(cells []cell, p *pen) string {
	var b, run strings.Builder
	for i, c := range cells {
		run.WriteRune(c.sign)
		if i == len(cells)-1 || cells[i+1].ink != c.ink {
			b.WriteString(p.ink(c.ink, run.String()))
			run.Reset()
		}
	}
	return b.String()
}
