package tui

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

// TestTable draws a table at every width: columns leave by their order and come back, those that
// stay are all seen, nothing acts on the terminal, and the cursor is always in sight.
func TestTable(t *testing.T) {
	tab := newTable(
		column{title: "id", least: 6, grow: 1, find: true},
		column{title: "name", least: 8, most: 20, grow: 2, drop: 2},
		column{title: "amount", least: 6, fit: true, right: true},
		column{title: "rows", least: 4, right: true, drop: 1},
	)
	tab.row = func(i int) []field {
		if i%7 == 5 {
			return nil
		}
		return []field{
			{text: fmt.Sprintf("a\x1b[2J%d", i)}, {text: "株式会社\x07", shown: "株\x1b]0;式会社"},
			{text: "1234567.89", moved: i%2 == 0}, number(uint64(i)*1000, plain),
		}
	}
	tab.setCount(100)
	tab.find = "a\\x1b"
	for _, ascii := range []bool{false, true} {
		p := newPen(termenv.ANSI256, true, ascii)
		for w := range 90 {
			for _, h := range []int{0, 1, 2, 7, 20} {
				tab.moveTo(w * 3 % 100)
				lines := tab.draw(w, h, p)
				checkLines(t, "table", lines, w, h, ascii)
				all := ansi.Strip(strings.Join(lines, "\n"))
				if from, to := tab.seen(); w > 2 && h > 1 && (tab.cursor < from || tab.cursor >= to ||
					!strings.Contains(all, p.glyph(separator))) {
					t.Fatalf("%dx%d: the cursor %d is not in sight\n%s", w, h, tab.cursor, all)
				}
				for _, c := range []struct {
					text string
					from int
				}{{"1234567.89", 20}, {"am", 9}, {"rows", 26}, {"name", 36}} {
					if h == 20 && strings.Contains(all, c.text) != (w >= c.from) {
						t.Fatalf("width %d: %q from %d on\n%s", w, c.text, c.from, all)
					}
				}
			}
		}
	}
}
