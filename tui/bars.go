package tui

import (
	"math/bits"
	"strconv"
	"strings"
)

const (
	unicodeSteps = "▁▂▃▄▅▆▇█"
	asciiSteps   = "_.:-=+*#"
)

// sparkline draws values as columns of one line, in just w cells. The lowest sign is 0 and
// nothing else is; the highest is the greatest value. Where there are more values than cells, a
// cell shows the greatest of those that share it.
func sparkline(values []uint64, w int, p *pen) string {
	if w <= 0 {
		return ""
	}
	n := min(len(values), w)
	var most uint64
	for _, v := range values {
		most = max(most, v)
	}
	steps := []rune(unicodeSteps)
	if p.ascii {
		steps = []rune(asciiSteps)
	}
	var b strings.Builder
	for cell := range n {
		var v uint64
		for _, each := range values[cell*len(values)/n : (cell+1)*len(values)/n] {
			v = max(v, each)
		}
		b.WriteRune(steps[step(v, most, len(steps))])
	}
	return b.String() + strings.Repeat(" ", w-n)
}

// step returns 0 for 0, and 1 to n-1 for what is more.
func step(v, most uint64, n int) int {
	if v == 0 {
		return 0
	}
	hi, lo := bits.Mul64(v, uint64(n-2))
	q, _ := bits.Div64(hi, lo, most) // v <= most, so hi < most
	return 1 + int(q)
}

// fillParts is what a fill of 1 comes to.
const fillParts = 10_000

// parseFill reads the used part of a tier, "0.25", in parts of 10,000. false: it is no such part.
func parseFill(s string) (parts int, ok bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) > 4 || whole != "0" && whole != "1" {
		return 0, false
	}
	n, err := strconv.Atoi(whole + fraction + strings.Repeat("0", 4-len(fraction)))
	if err != nil || n < 0 || n > fillParts {
		return 0, false
	}
	return n, true
}

// tierBar draws how much of a tier is used, in just w cells. A tier that has begun shows at least
// one cell, and one that is not full never shows all. nil: the tier has no end, so there is no
// part.
func tierBar(fill *string, w int, p *pen) string {
	if w <= 0 {
		return ""
	}
	if fill == nil {
		return p.ink(faint, p.left("no end", w))
	}
	parts, ok := parseFill(*fill)
	if !ok {
		return p.ink(faint, p.left(p.safe(*fill), w))
	}
	full := parts * w / fillParts
	if parts > 0 {
		full = max(full, 1)
	}
	if parts < fillParts && w > 1 {
		full = min(full, w-1)
	}
	ink := accent
	if parts == fillParts {
		ink = strong
	}
	return p.ink(ink, strings.Repeat(p.glyph(barFull), full)) +
		p.ink(faint, strings.Repeat(p.glyph(barEmpty), w-full))
}
