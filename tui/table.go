package tui

import (
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// column is a column of a table.
type column struct {
	title string
	least int    // cells; a title that is longer counts
	most  int    // cells, of a column that grows; 0: no bound
	fit   bool   // as wide as what it shows: amounts are not to be cut
	right bool   // its text ends at the same cell: numbers
	drop  int    // order in which columns leave a narrow terminal, the greatest first; 0: never
	grow  int    // its part of the room that is left; 0: none
	sort  string // what its screen sorts by; "": it can't
	find  bool   // what the filter found is marked here
}

// field is what a row has in a column.
type field struct {
	text  string // raw, not escaped
	shown string // what is drawn in its place: thousands grouped, an instant to the minute; "": text
	ink   ink
	moved bool // it differs from the answer before
	// picture, if set, draws the field in just w cells in place of text.
	picture func(w int, p *pen) string
}

// drawn returns the text as the terminal may have it.
func (f *field) drawn(p *pen) string {
	if f.shown != "" {
		return p.safe(f.shown)
	}
	return p.safe(f.text)
}

// Cells beside columns: the sign of the chosen row, and between two columns.
const (
	gutter = 2
	gap    = 2
)

// table shows a window of rows, of which one is chosen. It asks only for rows that are seen.
type table struct {
	columns []column
	count   int // rows there are
	// row returns the fields of a row, one for each column; nil: it is not known yet.
	row func(i int) []field
	// bare tables have no chosen row: they are looked at only.
	bare       bool
	cursor     int
	top        int // first row that is seen
	sorted     int // column; -1: none
	descending bool
	find       string // text to mark, lower case

	height int   // rows that the last draw had room for
	wide   []int // widest text so far, by column, so that columns don't jump
}

func newTable(columns ...column) *table {
	return &table{columns: columns, sorted: -1, height: 1, wide: make([]int, len(columns))}
}

// setCount says how many rows there are now. The cursor stays where it is, or goes to the last row.
func (t *table) setCount(n int) {
	t.count = n
	t.move(0)
}

// move moves the cursor by rows and keeps it seen.
func (t *table) move(by int) { t.moveTo(t.cursor + by) }

// moveTo puts the cursor on a row, or the nearest there is.
func (t *table) moveTo(row int) {
	t.cursor = max(0, min(row, t.count-1))
	switch {
	case t.cursor < t.top:
		t.top = t.cursor
	case t.cursor >= t.top+t.height:
		t.top = t.cursor - t.height + 1
	}
	t.top = max(0, min(t.top, t.count-t.height))
}

// seen returns the rows that are seen, half-open.
func (t *table) seen() (from, to int) { return t.top, min(t.top+t.height, t.count) }

// key moves the cursor. false: the key means nothing to a table.
func (t *table) key(k tea.KeyMsg) bool {
	page := max(1, t.height-1)
	switch k.String() {
	case "up", "k", "ctrl+p":
		t.move(-1)
	case "down", "j", "ctrl+n":
		t.move(1)
	case "pgup", "ctrl+b":
		t.move(-page)
	case "pgdown", "ctrl+f":
		t.move(page)
	case "ctrl+u":
		t.move(-max(1, page/2))
	case "ctrl+d":
		t.move(max(1, page/2))
	case "home", "g":
		t.moveTo(0)
	case "end", "G":
		t.moveTo(t.count - 1)
	default:
		return false
	}
	return true
}

// click takes a press or a turn of the wheel at a line of what draw returned, the heading is line
// 0. It reports whether the row that was chosen already was pressed: that opens it.
func (t *table) click(line, wheel int) (again bool) {
	if wheel != 0 {
		t.move(3 * wheel)
		return false
	}
	row := t.top + line - 1
	if from, to := t.seen(); line < 1 || row < from || row >= to {
		return false
	}
	again = row == t.cursor
	t.moveTo(row)
	return again
}

// draw returns a heading and at most h-1 rows.
func (t *table) draw(w, h int, p *pen) []string {
	if h <= 0 || w <= 0 {
		return nil
	}
	t.height = max(1, h-1)
	t.move(0)
	from, to := t.seen()
	rows := make([][]field, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, t.row(i))
	}
	widths := t.layout(w, rows, p)
	out := make([]string, 0, h)
	out = append(out, t.heading(widths, w, p))
	for i, fields := range rows {
		if len(out) < h {
			out = append(out, t.line(fields, widths, from+i == t.cursor && !t.bare, w, p))
		}
	}
	return out
}

// layout returns the width of every column, -1 for one that is left out.
func (t *table) layout(w int, rows [][]field, p *pen) []int {
	widths := make([]int, len(t.columns))
	room := w - gutter + gap
	for i, c := range t.columns {
		widths[i] = max(c.least, width(t.title(i, p)), 1)
		for _, fields := range rows {
			if fields != nil && fields[i].picture == nil {
				t.wide[i] = max(t.wide[i], width(fields[i].drawn(p)))
			}
		}
		if c.fit {
			widths[i] = max(widths[i], t.wide[i])
		}
		room -= widths[i] + gap
	}
	for room < 0 {
		at := -1
		for i, c := range t.columns {
			if c.drop > 0 && widths[i] >= 0 && (at < 0 || c.drop > t.columns[at].drop) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		room += widths[at] + gap
		widths[at] = -1
	}
	for room < 0 { // the widest gives way
		at := 0
		for i := range widths {
			if widths[i] > widths[at] {
				at = i
			}
		}
		if widths[at] <= 1 {
			break
		}
		widths[at]--
		room++
	}
	room = t.share(widths, room, func(i int) int { return t.wide[i] }) // first to who needs it
	t.share(widths, room, func(i int) int { return t.columns[i].most })
	return widths
}

// share gives the room that is left to the columns that grow, up to what a column may have; 0 is no
// bound. It returns what is still left.
func (t *table) share(widths []int, room int, most func(i int) int) int {
	full := func(i int) bool {
		c := &t.columns[i]
		return c.grow == 0 || widths[i] < 0 || c.most > 0 && widths[i] >= c.most ||
			most(i) > 0 && widths[i] >= most(i)
	}
	for room > 0 {
		given, all := 0, 0
		for i, c := range t.columns {
			if !full(i) {
				all += c.grow
			}
		}
		for i, c := range t.columns {
			if full(i) {
				continue
			}
			part := min(max(1, room*c.grow/all), room-given)
			for _, bound := range []int{c.most, most(i)} {
				if bound > 0 {
					part = min(part, bound-widths[i])
				}
			}
			widths[i] += part
			given += part
		}
		if given == 0 {
			break
		}
		room -= given
	}
	return room
}

func (t *table) title(i int, p *pen) string {
	if i == t.sorted {
		sign := arrowUp
		if t.descending {
			sign = arrowDown
		}
		return t.columns[i].title + p.glyph(sign)
	}
	return t.columns[i].title
}

func (t *table) heading(widths []int, w int, p *pen) string {
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", gutter))
	first := true
	for i, c := range t.columns {
		if widths[i] < 0 {
			continue
		}
		if !first {
			b.WriteString(strings.Repeat(" ", gap))
		}
		first = false
		ink := faint
		if i == t.sorted {
			ink = strong
		}
		text := p.left(t.title(i, p), widths[i])
		if c.right {
			text = p.right(t.title(i, p), widths[i])
		}
		b.WriteString(p.ink(ink, text))
	}
	return p.cut(b.String(), w)
}

func (t *table) line(fields []field, widths []int, chosen bool, w int, p *pen) string {
	var b strings.Builder
	sign := " "
	if chosen {
		sign = p.ink(accent, p.glyph(separator))
	}
	b.WriteString(sign)
	first := true
	for i := range t.columns {
		if widths[i] < 0 {
			continue
		}
		if !first {
			b.WriteString(strings.Repeat(" ", gap-1))
		}
		switch {
		case fields != nil:
			t.field(&b, &fields[i], i, widths[i], chosen && first, p)
		case first:
			b.WriteString(" " + p.ink(faint, p.left(p.glyph(ellipsis), widths[i])))
		default:
			b.WriteString(strings.Repeat(" ", widths[i]+1))
		}
		first = false
	}
	return p.cut(strings.TrimRight(b.String(), " "), w)
}

// field writes a field in w cells and the one before them, where the sign of a change may stand.
func (t *table) field(b *strings.Builder, f *field, i, w int, chosen bool, p *pen) {
	if f.picture != nil {
		b.WriteString(" " + f.picture(w, p))
		return
	}
	ink, text := f.ink, p.cut(f.drawn(p), w)
	space := strings.Repeat(" ", max(0, w-width(text)))
	sign := " "
	if f.moved {
		ink, sign = changed, p.ink(changed, p.glyph(moved))
	}
	if chosen {
		ink = selected
	}
	switch {
	case t.columns[i].right:
		b.WriteString(space + sign + p.ink(ink, text))
	case t.columns[i].find && t.find != "" && !chosen:
		b.WriteString(sign + t.mark(text, ink, p) + space)
	default:
		b.WriteString(sign + p.ink(ink, text) + space)
	}
}

// mark writes a text with what the filter found in it underlined.
func (t *table) mark(text string, in ink, p *pen) string {
	lower := strings.ToLower(text)
	at := strings.Index(lower, t.find)
	if at < 0 || len(lower) != len(text) {
		return p.ink(in, text)
	}
	end := at + len(t.find)
	return p.ink(in, text[:at]) + p.ink(matched, text[at:end]) + p.ink(in, text[end:])
}
