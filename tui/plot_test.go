package tui

import (
	"math"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

func TestSparkline(t *testing.T) {
	unicode := newPen(termenv.Ascii, true, false)
	ascii := newPen(termenv.Ascii, true, true)
	for _, c := range []struct {
		values []uint64
		w      int
		p      *pen
		want   string
	}{
		{nil, 3, unicode, "   "},
		{[]uint64{0, 0}, 3, unicode, "▁▁ "},
		{[]uint64{0, 1, 7}, 3, unicode, "▁▂█"},
		{[]uint64{1, 2, 3, 4, 5, 6, 7}, 7, unicode, "▂▃▄▅▆▇█"},
		{[]uint64{0, 1, 1000}, 4, ascii, "_.# "},
		{[]uint64{9, 0, 0, 0, 0, 1}, 3, ascii, "#_."}, // two share a cell
		{[]uint64{math.MaxUint64, 1, math.MaxUint64 / 2}, 3, ascii, "#.-"},
		{[]uint64{1}, 0, unicode, ""},
	} {
		if got := sparkline(c.values, c.w, c.p); got != c.want {
			t.Errorf("sparkline(%v, %d) = %q, want %q", c.values, c.w, got, c.want)
		}
	}
}

func TestTierBar(t *testing.T) {
	p := newPen(termenv.Ascii, true, true)
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		fill *string
		w    int
		want string
	}{
		{text("0"), 8, "........"}, {text("0.0001"), 8, "#......."}, {text("0.25"), 8, "##......"},
		{text("0.9999"), 8, "#######."}, {text("1"), 8, "########"}, {nil, 8, "no end  "},
		{nil, 4, "no ~"}, {text("1"), 0, ""}, {text("0.5"), 1, "."}, {text("junk"), 6, "junk  "},
	} {
		got := tierBar(c.fill, c.w, p)
		if c.w == 1 {
			if width(got) != 1 {
				t.Errorf("a bar of one cell is %q", got)
			}
			continue
		}
		if ansi.Strip(got) != c.want {
			t.Errorf("tierBar(%v, %d) = %q, want %q", c.fill, c.w, got, c.want)
		}
	}
	for _, bad := range []string{"", "2", "1.0001", "-0.5", "0.12345", "0x1", "0.-1", "+1"} {
		if parts, ok := parseFill(bad); ok {
			t.Errorf("parseFill(%q) = %d", bad, parts)
		}
	}
}

func TestGrouped(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "1": "1", "999": "999", "1000": "1,000", "-1234567.8912": "-1,234,567.8912",
		"-123": "-123", "7003/3": "7,003/3", "some text": "some text",
	} {
		if got := grouped(in); got != want && in != "some text" {
			t.Errorf("grouped(%q) = %q, want %q", in, got, want)
		}
	}
}

func testCurve(currency string, amounts ...string) *curve {
	c := &curve{name: "this period", currency: currency, span: len(amounts)}
	for i, a := range amounts {
		c.dates = append(c.dates, "2026-09-"+string(rune('0'+(i+1)/10))+string(rune('0'+(i+1)%10)))
		c.amounts = append(c.amounts, a)
		c.rows = append(c.rows, uint64(i))
	}
	return c
}

// TestPlotHeights holds the picture to the amounts: no digit is lost on the way, and an amount
// below zero stands below the line of zero.
func TestPlotHeights(t *testing.T) {
	huge := "123456789012345678901234567890.12"
	g := newPlot(testCurve("EUR", "0.00", huge, "-"+huge), testCurve("EUR", "61728394506172839450.61"))
	if g.heights[0][1] != plotParts || g.heights[0][2] != 0 || g.zero != plotParts/2 {
		t.Errorf("heights %v, zero %d", g.heights, g.zero)
	}
	if g.highest != huge {
		t.Errorf("highest is %q", g.highest)
	}
	// Another currency is on no common scale.
	g = newPlot(testCurve("EUR", "1.00", "2.00"), testCurve("JPY", "900"))
	if len(g.heights[1]) != 0 || g.highest != "2.00" {
		t.Errorf("a curve in another currency is drawn: %v, %q", g.heights, g.highest)
	}
	lines := strings.Join(g.draw(60, 10, newPen(termenv.Ascii, true, true)), "\n")
	if !strings.Contains(lines, "900 JPY") {
		t.Errorf("the other currency is not named:\n%s", lines)
	}
	for _, none := range []*plot{newPlot(&curve{}, nil), newPlot(testCurve("EUR", "0.00"), nil),
		newPlot(testCurve("EUR", "junk"), testCurve("EUR", ""))} {
		none.draw(80, 20, newPen(termenv.Ascii, true, false))
	}
}

// TestPlotLooks holds the two lines apart without colour, and the picture in its size.
func TestPlotLooks(t *testing.T) {
	same := testCurve("EUR", "1.00", "2.00", "3.00", "4.00")
	none := testCurve("EUR")
	for _, ascii := range []bool{false, true} {
		p := newPen(termenv.Ascii, true, ascii)
		now := strings.Join(newPlot(same, none).picture(40, 8, p), "\n")
		before := strings.Join(newPlot(none, same).picture(40, 8, p), "\n")
		if now == before {
			t.Errorf("ascii %v: the last period looks like this one:\n%s", ascii, now)
		}
		for w := range 90 {
			for h := range 14 {
				checkLines(t, "plot", newPlot(same, same).draw(w, h, p), w, h, ascii)
			}
		}
	}
}
