package tui

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

func testRows(from, n int, value string) []sheetItem {
	var items []sheetItem
	for i := from; i < from+n; i++ {
		items = append(items, sheetItem{id: fmt.Sprint(i), figures: []figure{
			{text: fmt.Sprintf("row %03d", i)}, {text: value},
		}})
	}
	return items
}

func pressed(name string) tea.KeyMsg {
	for k := tea.KeyType(-100); k < 256; k++ {
		if k.String() == name && k != tea.KeyRunes {
			return tea.KeyMsg{Type: k}
		}
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(name)}
}

// TestSheetKeepsItsPlace adds rows above the chosen one: it stays chosen, and where it was on the
// screen; but who looks at the first row sees what comes.
func TestSheetKeepsItsPlace(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	s := sheet{columns: []sheetColumn{{name: "a"}, {name: "b", right: true}}}
	s.replace(testRows(0, 100, "1"))
	s.draw(40, 10, true, p)
	for range 30 {
		s.key(pressed("down"))
		s.draw(40, 10, true, p)
	}
	for range 4 { // away from the edge
		s.key(pressed("up"))
	}
	before := s.draw(40, 10, true, p)
	s.replace(slices.Concat(testRows(200, 25, "1"), testRows(0, 100, "1")))
	if s.chosen().id != "26" {
		t.Errorf("the cursor went to %s", s.chosen().id)
	}
	if now := s.draw(40, 10, true, p); !slices.Equal(before, now) {
		t.Errorf("the screen moved:\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(now, "\n"))
	}
	s.key(pressed("home"))
	s.draw(40, 10, true, p)
	s.replace(slices.Concat(testRows(300, 5, "1"), testRows(0, 100, "1")))
	if line := s.draw(40, 10, true, p)[0]; !strings.Contains(line, "row 300") {
		t.Errorf("the first line is %q", line)
	}
}

// TestSheetMarks marks figures that differ, until the next answer, and not what is drawn once
// more.
func TestSheetMarks(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	s := sheet{columns: []sheetColumn{{name: "a"}, {name: "b", right: true}}}
	s.replace(testRows(0, 3, "1.00"))
	marked := func() bool { return strings.Contains(s.draw(40, 3, false, p)[1], "•") }
	if marked() {
		t.Error("the first answer is marked")
	}
	items := testRows(0, 3, "1.00")
	items[1].figures[1].text = "2.00"
	s.replace(items)
	if !marked() {
		t.Error("a figure that moved is not marked")
	}
	again := testRows(0, 3, "1.00")
	again[1].figures[1].text = "2.00"
	s.renew(again)
	if !marked() {
		t.Error("the mark is gone though no answer came")
	}
	again = testRows(0, 3, "1.00")
	again[1].figures[1].text = "2.00"
	s.replace(again)
	if marked() {
		t.Error("a figure that stayed is marked")
	}
}

// TestSheetShowsAll walks down sheets of everything at many sizes: every line is seen, and each
// step moves what is chosen or seen.
func TestSheetShowsAll(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	items := testRows(0, 20, strings.Repeat("9", 30)+".99")
	items = append(items, sheetItem{kind: gapItem}, sheetItem{kind: columnsItem},
		sheetItem{kind: titleItem, label: "head", text: strings.Repeat("word ", 40)},
		sheetItem{kind: factItem, label: "raw", text: strings.Repeat("abc 日本 ", 60) + "END"},
		sheetItem{kind: factItem, label: strings.Repeat("path.", 30) + "LAST", text: "x"},
		sheetItem{kind: textItem, text: strings.Repeat("sentence ", 50) + "STOP", indent: 2})
	for _, size := range [][2]int{{20, 1}, {20, 3}, {38, 4}, {60, 11}, {200, 5}, {300, 70}} {
		w, h := size[0], size[1]
		s := sheet{columns: []sheetColumn{{name: "a", flex: true}, {name: "b", right: true}}}
		s.replace(items)
		var all strings.Builder
		for range 600 {
			lines := s.draw(w, h, true, p)
			checkLines(t, "sheet", lines, w, h, false)
			for _, line := range lines {
				all.WriteString(strings.Join(strings.Fields(ansi.Strip(line)), ""))
			}
			s.key(pressed("down"))
		}
		for _, want := range []string{"row000", "row019", "head", "END", "LAST", "STOP"} {
			if !strings.Contains(all.String(), want) {
				t.Errorf("at %dx%d %q is never seen", w, h, want)
			}
		}
		for range 600 {
			s.key(pressed("up"))
			s.draw(w, h, true, p)
		}
		if s.top != 0 || s.cursor != 0 {
			t.Errorf("at %dx%d the way up ends at line %d, item %d", w, h, s.top, s.cursor)
		}
	}
}

// TestSheetFigures holds that no figure is ever cut, as columns, below a row, or as a card.
func TestSheetFigures(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	s := sheet{columns: []sheetColumn{
		{name: "line", flex: true}, {name: "quantity", right: true, below: true},
		{name: "so far", right: true}, {name: "note", below: true},
	}}
	want := []string{"a-line-with-a-long-name", "1,234,567token", "123456789.01EUR", "minimum"}
	s.replace([]sheetItem{{kind: columnsItem}, {id: "x", indent: 1, figures: []figure{
		{text: want[0]}, {text: "1234567", unit: "token", count: true},
		{text: "123456789.01", unit: "EUR"}, {text: want[3]},
	}}})
	shapes := map[int]bool{}
	for w := 6; w < 100; w++ {
		lines := s.draw(w, 40, false, p)
		shapes[len(lines)] = true
		all := strings.Join(strings.Fields(ansi.Strip(strings.Join(lines, " "))), "")
		for _, text := range want {
			if !strings.Contains(all, text) {
				t.Errorf("%q is cut at %d:\n%s", text, w, strings.Join(lines, "\n"))
			}
		}
	}
	if len(shapes) < 4 {
		t.Errorf("only %d shapes", len(shapes))
	}
}

func TestPages(t *testing.T) {
	page := func(from, to int) (rows []int) { // falling
		for i := from; i >= to; i-- {
			rows = append(rows, i)
		}
		return rows
	}
	g := pages[int]{id: func(i *int) string { return fmt.Sprint(*i) }}
	g.newest(page(100, 91), "91")
	g.older("91", page(90, 81), "81")
	g.newest(page(103, 94), "94") // three more came
	if want := page(103, 81); !slices.Equal(g.rows, want) || g.next != "81" {
		t.Fatalf("rows %v, next %s", g.rows, g.next)
	}
	g.older("91", page(90, 81), "81") // an answer from before
	if want := page(103, 81); !slices.Equal(g.rows, want) {
		t.Fatalf("a late page was taken: %v", g.rows)
	}
	g.older("81", page(80, 79), "")
	if g.next != "" || g.rows[len(g.rows)-1] != 79 {
		t.Fatalf("rows %v, next %q", g.rows, g.next)
	}
	g.newest(page(200, 191), "191") // more than a page came: what is between is not known
	if want := page(200, 191); !slices.Equal(g.rows, want) || g.next != "191" {
		t.Fatalf("rows %v, next %s", g.rows, g.next)
	}
	g.newest(nil, "")
	if len(g.rows) != 0 {
		t.Fatalf("rows %v of an empty answer", g.rows)
	}
}
