package tui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// list is a screen of one question whose rows are all held: it filters and sorts them itself.
type list struct {
	changes
	view  view
	table *table
	words string

	items   []item // as they were answered
	shown   []int  // indexes of those that the filter lets pass, in the order that is shown
	more    bool
	limit   int
	body    []byte
	summary []line
}

// view is what makes a list of an answer.
type view struct {
	name    string
	path    string
	params  url.Values
	every   int // ticks between two questions
	pages   int // rows that are asked for at first; 0: the answer has no limit
	columns []column
	// read returns the rows of an answer, lines to show above them, and whether there are more.
	read func(body []byte) ([]item, []line, bool, error)
	// open is what Enter does on a row; nil: nothing.
	open  func(it *item) action
	empty [2]string // what to say if there are no rows: what is, and what to do
}

// item is a row of a list.
type item struct {
	id     string
	fields []field
	of     any // what open needs
}

// line is a sentence above a list.
type line struct {
	text string
	ink  ink
}

// maxRows is how many rows a list asks for at most.
const maxRows = 10_000

func newList(v view) *list {
	l := &list{view: v, table: newTable(v.columns...), limit: v.pages}
	l.table.row = func(i int) []field { return l.fieldsOf(&l.items[l.shown[i]]) }
	return l
}

func (l *list) crumb() string { return l.view.name }

func (l *list) wants() []want {
	params := url.Values{}
	for name, values := range l.view.params { // into another map
		params[name] = values
	}
	if l.limit > 0 {
		params.Set("limit", strconv.Itoa(l.limit))
	}
	return []want{{id: "rows", path: l.view.path, params: params, every: l.view.every}}
}

func (l *list) take(_ string, body []byte) error {
	items, summary, more, err := l.view.read(body)
	if err != nil {
		return err
	}
	id := l.chosen()
	l.items, l.summary, l.more, l.body = items, summary, more, body
	for i := range items {
		texts := make([]string, len(items[i].fields))
		for j := range texts {
			texts[j] = items[i].fields[j].text
		}
		l.see(items[i].id, texts...)
	}
	l.forget()
	l.arrange(id)
	return nil
}

// fieldsOf returns the fields of a row with what has moved.
func (l *list) fieldsOf(it *item) []field {
	out := slices.Clone(it.fields)
	for i := range out {
		out[i].moved = l.moved(it.id, i)
	}
	return out
}

// arrange filters and sorts, and puts the cursor on a row again.
func (l *list) arrange(id string) {
	with, without := filterWords(l.words)
	l.shown = l.shown[:0]
	for i := range l.items {
		if l.items[i].passes(with, without) {
			l.shown = append(l.shown, i)
		}
	}
	if at := l.table.sorted; at >= 0 {
		slices.SortStableFunc(l.shown, func(a, b int) int {
			c := compareTexts(l.items[a].fields[at].text, l.items[b].fields[at].text)
			if l.table.descending {
				return -c
			}
			return c
		})
	}
	l.table.setCount(len(l.shown))
	if id == "" {
		return
	}
	for i, at := range l.shown {
		if l.items[at].id == id {
			l.table.moveTo(i)
			return
		}
	}
}

func (it *item) passes(with, without []string) bool {
	if len(with)+len(without) == 0 {
		return true
	}
	var all strings.Builder
	for _, f := range it.fields {
		all.WriteString(strings.ToLower(f.text))
		all.WriteByte('\n')
	}
	has := func(word string) bool { return strings.Contains(all.String(), word) }
	return !slices.ContainsFunc(without, has) &&
		!slices.ContainsFunc(with, func(word string) bool { return !has(word) })
}

// compareTexts compares numbers by size and other texts as texts.
func compareTexts(a, b string) int {
	if signOf(a) > -2 && signOf(b) > -2 {
		return compareNumbers(a, b)
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

func (l *list) fail(string, *Failure) {}

func (l *list) key(k tea.KeyMsg) (action, bool) {
	if l.table.key(k) {
		l.extend()
		return action{}, true
	}
	switch k.String() {
	case "enter", "right", "l":
		return l.open(), true
	case "s", ">":
		l.sortBy(1)
	case "<":
		l.sortBy(-1)
	case "S":
		l.table.descending = !l.table.descending
		l.arrange(l.chosen())
	default:
		return action{}, false
	}
	return action{}, true
}

// extend asks for more rows when the cursor comes near the last one.
func (l *list) extend() {
	if l.more && l.limit > 0 && l.limit < maxRows && l.table.cursor+l.table.height >= l.table.count {
		l.limit = min(2*l.limit, maxRows)
	}
}

// sortBy goes on to the next column; behind the last one comes the order of the answer.
func (l *list) sortBy(step int) {
	n := len(l.view.columns) + 1
	l.table.sorted = (l.table.sorted+1+step+n)%n - 1
	l.table.descending = false
	l.arrange(l.chosen())
}

func (l *list) open() action {
	if it := l.at(); it != nil && l.view.open != nil {
		return l.view.open(it)
	}
	return action{}
}

// at returns the row that is chosen, nil if there is none.
func (l *list) at() *item {
	if l.table.cursor >= len(l.shown) {
		return nil
	}
	return &l.items[l.shown[l.table.cursor]]
}

func (l *list) click(line, wheel int) action {
	again := l.table.click(line-len(l.summary), wheel)
	l.extend()
	if again {
		return l.open()
	}
	return action{}
}

func (l *list) filter() string { return l.words }

func (l *list) setFilter(words string) {
	id := l.chosen()
	l.words, l.table.find = words, marked(words)
	l.arrange(id)
}

func (l *list) note() string {
	text := count(uint64(len(l.items)))
	if l.more {
		text = "the first " + text
	}
	if l.words != "" {
		text = fmt.Sprintf("%s of %s match %q", count(uint64(len(l.shown))), text, l.words)
	}
	return text
}

func (l *list) draw(w, h int, p *pen) []string {
	var out []string
	for _, s := range l.summary[:min(len(l.summary), max(0, h-2))] {
		out = append(out, p.ink(s.ink, p.cut(p.safe(s.text), w)))
	}
	h -= len(out)
	switch {
	case len(l.items) == 0:
		return append(out, notice(w, h, p, l.view.empty[0], l.view.empty[1])...)
	case len(l.shown) == 0:
		return append(out, notice(w, h, p, fmt.Sprintf("nothing here matches %q", l.words),
			"esc takes the filter away")...)
	}
	return append(out, l.table.draw(w, h, p)...)
}

// notice is a body that says why it is empty, and what to do.
func notice(w, h int, p *pen, what, then string) []string {
	lines := []string{""}
	for _, s := range wordWrapped(p.safe(what), max(1, w-4)) {
		lines = append(lines, "  "+p.ink(strong, s))
	}
	for _, s := range wordWrapped(p.safe(then), max(1, w-4)) {
		lines = append(lines, "  "+p.ink(faint, s))
	}
	return clip(lines, w, h)
}

func (l *list) help() []binding {
	var out []binding
	if l.view.open != nil {
		out = append(out, binding{"enter", "open"})
	}
	return append(out, binding{"s", "sort by the next column (< the one before)"},
		binding{"S", "reverse the order"}, binding{"up down", "choose a row"},
		binding{"g G", "first row, last row"})
}

func (l *list) chosen() string {
	if it := l.at(); it != nil {
		return it.id
	}
	return ""
}

func (l *list) export() (heading []string, rows [][]string, answer []byte) {
	for _, c := range l.view.columns {
		heading = append(heading, strings.ReplaceAll(c.title, " ", "_"))
	}
	for _, at := range l.shown {
		var record []string
		for _, f := range l.items[at].fields {
			record = append(record, f.text)
		}
		rows = append(rows, record)
	}
	return heading, rows, l.body
}

// number is a count whose thousands are grouped where it is drawn.
func number(n uint64, in ink) field {
	return field{text: strconv.FormatUint(n, 10), shown: count(n), ink: in}
}

// instant is a time, drawn to the second.
func instant(s *string) field {
	if s == nil {
		return field{}
	}
	shown := *s
	if len(shown) >= len("2026-09-01T10:00:00") {
		shown = strings.Replace(shown[:len("2026-09-01T10:00:00")], "T", " ", 1)
	}
	return field{text: *s, shown: shown, ink: faint}
}
