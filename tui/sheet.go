package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// sheet is a part of a screen: headings, rows of figures under columns, and facts, which scroll
// under a cursor. Where the columns do not fit, each row becomes a card: its figures below one
// another with their names. So nothing is lost on a narrow terminal. Only what is seen is
// formatted.
type sheet struct {
	columns []sheetColumn
	items   []sheetItem
	cursor  int
	top     int  // the first line that is seen
	seek    bool // the first drawing chooses the first item that can be opened, if it is seen

	room int // lines of the last drawing
	seen int // lines of the last drawing that had an item
	kept int // the cursor's line in the last drawing
	laid layout
}

type sheetColumn struct {
	name  string
	right bool // figures end in one line: numbers
	flex  bool // it is cut, or a bar that grows, where the room asks for it
	below bool // it goes below the row before others are cut, the last one first
}

type sheetKind uint8

const (
	rowItem     sheetKind = iota
	titleItem             // label, and text behind it
	columnsItem           // the names of the columns
	factItem              // label and text, which is wrapped
	textItem              // a sentence, wrapped between words
	gapItem
)

type sheetItem struct {
	kind    sheetKind
	id      string // of the same thing in the next answer; "": nobody follows it
	figures []figure
	label   string
	text    string
	exact   bool // the text is from outside: it is broken anywhere and loses nothing
	indent  int
	ink     ink
	signed  bool          // the glyph stands before the text
	sign    glyph         // of a text
	of      string        // what it belongs to: a subscription
	opens   func() screen // what Enter opens; nil: nothing
}

// layout is what a width makes of the items.
type layout struct {
	w      int // 0: none was made yet
	ascii  bool
	cards  bool
	below  []bool // columns that stand below their row
	widths []int
	labels int // width of the labels of facts, and of columns in cards
	starts []int
	texts  [][]string // wrapped
	height int
}

const (
	flexLeast   = 14 // cells of a column that may be cut
	barMost     = 40 // cells of a bar
	labelsMost  = 24
	columnsGap  = 2 // the last of them is for the mark of what moved
	leastToWrap = 12
)

// replace takes the items of a new answer. The cursor stays on what it was on, and in its line of
// the screen, or on the first item if it was there. Figures that differ from before are marked.
func (s *sheet) replace(items []sheetItem) {
	s.swap(items, func(now, old *figure) bool { return now.text != old.text })
}

// renew takes the items of the same answer once more. What is marked stays marked.
func (s *sheet) renew(items []sheetItem) {
	s.swap(items, func(_, old *figure) bool { return old.moved })
}

func (s *sheet) swap(items []sheetItem, moved func(now, old *figure) bool) {
	old := s.items
	s.items = items
	s.laid.w = 0
	if len(old) == 0 {
		s.cursor = s.clampCursor(0, 1)
		return
	}
	before := make(map[string]int, len(old))
	for i := range old {
		if old[i].id != "" {
			before[old[i].id] = i
		}
	}
	chosen := ""
	if s.cursor < len(old) && s.cursor > s.first(old) {
		chosen = old[s.cursor].id
	}
	for i := range items {
		it := &items[i]
		if it.id == "" {
			continue
		}
		if it.id == chosen && chosen != "" {
			s.cursor = i
		}
		was, ok := before[it.id]
		for j := range it.figures {
			f := &it.figures[j]
			f.moved = ok && f.bar == nil && j < len(old[was].figures) &&
				moved(f, &old[was].figures[j])
		}
	}
	s.cursor = s.clampCursor(s.cursor, 1)
}

// first is the first item that the cursor may stand on.
func (s *sheet) first(items []sheetItem) int {
	for i := range items {
		if items[i].kind != gapItem && items[i].kind != columnsItem {
			return i
		}
	}
	return 0
}

// clampCursor returns the next item from i on in a direction that the cursor may stand on, or
// else in the other.
func (s *sheet) clampCursor(i, step int) int {
	i = min(max(i, 0), max(len(s.items)-1, 0))
	for _, d := range []int{step, -step} {
		for at := i; at >= 0 && at < len(s.items); at += d {
			if k := s.items[at].kind; k != gapItem && k != columnsItem {
				return at
			}
		}
	}
	return i
}

// chosen returns the item under the cursor, nil if there is none.
func (s *sheet) chosen() *sheetItem {
	if s.cursor >= len(s.items) {
		return nil
	}
	return &s.items[s.cursor]
}

// copied is what `y` copies of the item under the cursor.
func (s *sheet) copied() string {
	it := s.chosen()
	switch {
	case it == nil:
		return ""
	case it.kind == factItem || it.kind == textItem:
		return it.text
	case it.kind == rowItem:
		var parts []string
		for i := range it.figures {
			if text := it.figures[i].raw(); text != "" {
				parts = append(parts, text)
			}
		}
		return strings.Join(parts, "\t")
	}
	return strings.TrimSpace(it.label + " " + it.text)
}

// key moves the cursor. false: the key means nothing here.
func (s *sheet) key(k tea.KeyMsg) bool {
	page := max(s.room-1, 1)
	switch k.String() {
	case "up", "k":
		s.move(-1)
	case "down", "j":
		s.move(1)
	case "pgup", "ctrl+b":
		s.scroll(-page)
	case "pgdown", "ctrl+f":
		s.scroll(page)
	case "home", "g":
		s.cursor, s.top = s.clampCursor(0, 1), 0
	case "end", "G":
		s.cursor, s.top = s.clampCursor(len(s.items)-1, -1), s.laid.height
	default:
		return false
	}
	return true
}

// enter opens what the cursor is on.
func (s *sheet) enter() action {
	if it := s.chosen(); it != nil && it.opens != nil {
		return action{open: it.opens()}
	}
	return action{}
}

// click chooses the item at a line of the last drawing, and opens it if it was chosen before.
func (s *sheet) click(line, wheel int) action {
	if wheel != 0 {
		for range 3 {
			s.move(wheel)
		}
		return action{}
	}
	i, ok := s.at(s.top + line)
	if line < 0 || line >= s.seen || !ok {
		return action{}
	}
	if i == s.cursor {
		return s.enter()
	}
	if k := s.items[i].kind; k != gapItem && k != columnsItem {
		s.cursor = i
	}
	return action{}
}

// at returns the item that has a line.
func (s *sheet) at(line int) (int, bool) {
	if len(s.laid.starts) != len(s.items)+1 {
		return 0, false // nothing was drawn since the answer
	}
	for i := range s.items {
		if line >= s.laid.starts[i] && line < s.laid.starts[i+1] {
			return i, true
		}
	}
	return 0, false
}

// move goes to the next item, or within one that is higher than the screen.
func (s *sheet) move(step int) {
	if s.laid.w > 0 && s.cursor < len(s.items) && s.room > 0 {
		from, to := s.laid.starts[s.cursor], s.laid.starts[s.cursor+1]
		if step > 0 && to > s.top+s.room && from <= s.top+s.room {
			s.top++
			return
		}
		if step < 0 && from < s.top && to > s.top {
			s.top--
			return
		}
	}
	s.cursor = s.clampCursor(s.cursor+step, step)
}

// scroll goes by lines.
func (s *sheet) scroll(lines int) {
	if s.laid.w == 0 || len(s.items) == 0 {
		return
	}
	line := min(max(s.laid.starts[s.cursor]+lines, 0), max(s.laid.height-1, 0))
	s.top = min(max(s.top+lines, 0), max(s.laid.height-s.room, 0))
	if i, ok := s.at(line); ok {
		step := 1
		if lines < 0 {
			step = -1
		}
		s.cursor = s.clampCursor(i, step)
	}
}

// draw returns at most h lines of at most w cells. Without the focus no item is marked as chosen.
func (s *sheet) draw(w, h int, focus bool, p *pen) []string {
	if h <= 0 || w <= gutter || len(s.items) == 0 {
		s.room, s.seen = max(h, 0), 0
		return nil
	}
	begun := s.room > 0
	if s.laid.w != w-gutter || s.laid.ascii != p.ascii {
		fresh := s.laid.w == 0 && s.room > 0
		s.lay(w-gutter, p)
		if fresh && s.top > 0 && s.cursor > s.first(s.items) {
			s.top = s.laid.starts[s.cursor] - s.kept
		}
	}
	s.room = h
	if s.seek && !begun {
		for i := range s.items {
			if s.items[i].opens != nil && s.laid.starts[i+1] <= h {
				s.cursor = i
				break
			}
		}
	}
	from, to := s.laid.starts[s.cursor], s.laid.starts[s.cursor+1]
	switch tall := to-from > h; {
	case tall && from >= s.top+h, !tall && from < s.top:
		s.top = from
	case tall && to <= s.top, !tall && to > s.top+h:
		s.top = to - h
	}
	if s.cursor == s.first(s.items) && from < h && to-from < h {
		s.top = 0
	}
	s.top = min(max(s.top, 0), max(s.laid.height-h, 0))
	s.kept = min(max(from-s.top, 0), h-1)
	var out []string
	for i := range s.items {
		first, end := s.laid.starts[i], s.laid.starts[i+1]
		if end <= s.top || first >= s.top+h {
			continue
		}
		skip := max(s.top-first, 0)
		on := focus && i == s.cursor
		for n, line := range s.drawItem(i, skip, min(end, s.top+h)-first-skip, on, p) {
			sign := "  "
			if on && n == 0 {
				sign = p.ink(accent, p.glyph(separator)) + " "
			}
			out = append(out, sign+line)
		}
	}
	s.seen = len(out)
	return clip(out, w, h)
}
