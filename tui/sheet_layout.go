package tui

import "strings"

// lay works out where every item stands in a width.
func (s *sheet) lay(w int, p *pen) {
	l := layout{w: w, ascii: p.ascii}
	l.widths = make([]int, len(s.columns))
	for i, c := range s.columns {
		l.widths[i] = width(c.name)
	}
	for i := range s.items {
		it := &s.items[i]
		switch it.kind {
		case rowItem:
			for j := range it.figures {
				l.widths[j] = max(l.widths[j], it.figures[j].width(p)+indentOf(it, j))
			}
		case factItem:
			l.labels = max(l.labels, it.indent+shownWidth(it.label, p))
		}
	}
	l.labels = min(l.labels, labelsMost, w*2/5)
	s.fit(&l)
	l.starts = make([]int, len(s.items)+1)
	l.texts = make([][]string, len(s.items))
	for i := range s.items {
		l.starts[i] = l.height
		l.texts[i] = s.items[i].lines(&l, p)
		l.height += s.heightOf(i, &l, p)
	}
	l.starts[len(s.items)] = l.height
	s.laid = l
}

func indentOf(it *sheetItem, column int) int {
	if column == 0 {
		return it.indent
	}
	return 0
}

func (f *figure) width(p *pen) int {
	if f.bar != nil {
		return flexLeast
	}
	return width(f.shown(p))
}

// fit gives the columns the room that there is, or says that there is too little for columns.
func (s *sheet) fit(l *layout) {
	total := -columnsGap
	for _, n := range l.widths {
		total += n + columnsGap
	}
	l.below = make([]bool, len(s.columns))
	for i := len(s.columns) - 1; i >= 0; i-- {
		if s.columns[i].below && total > l.w {
			l.below[i] = true
			total -= l.widths[i] + columnsGap
		}
	}
	for i, c := range s.columns {
		if c.flex && total > l.w {
			n := max(min(l.widths[i], flexLeast), l.widths[i]-(total-l.w))
			total -= l.widths[i] - n
			l.widths[i] = n
		}
	}
	for i, c := range s.columns {
		if c.flex && c.name == barColumn && total < l.w {
			n := min(barMost, l.widths[i]+l.w-total)
			total += n - l.widths[i]
			l.widths[i] = n
		}
	}
	l.cards = total > l.w
}

// barColumn is the heading of columns of bars, which grow.
const barColumn = "used"

// lines are the wrapped texts of an item.
func (it *sheetItem) lines(l *layout, p *pen) []string {
	switch it.kind {
	case factItem:
		broken := wordWrapped
		if it.exact {
			broken = wrapped
		}
		if it.beside(l, p) {
			return broken(p.safe(it.text), l.w-l.labels-1)
		}
		return broken(p.safe(it.text), max(l.w-2, 1))
	case textItem:
		text := p.safe(it.text)
		if it.signed {
			text = p.glyph(it.sign) + " " + text
		}
		return wordWrapped(text, max(l.w-it.indent, 1))
	case titleItem:
		text := p.safe(it.label)
		if it.text != "" {
			text += "  " + p.safe(it.text)
		}
		return wordWrapped(text, l.w)
	}
	return nil
}

func (s *sheet) heightOf(i int, l *layout, p *pen) int {
	it := &s.items[i]
	switch it.kind {
	case rowItem:
		if l.cards {
			return len(s.card(it, l, false, p))
		}
		return len(s.name(it, l, false, p)) + 1 + len(s.under(it, l, p))
	case columnsItem:
		if l.cards {
			return 0
		}
		return 1
	case factItem:
		if it.beside(l, p) {
			return len(l.texts[i])
		}
		return len(wrapped(p.safe(it.label), max(l.w-it.indent, 1))) + len(l.texts[i])
	case gapItem:
		return 1
	}
	return len(l.texts[i])
}

// drawItem returns n lines of an item, from one on.
func (s *sheet) drawItem(i, from, n int, on bool, p *pen) []string {
	it, l := &s.items[i], &s.laid
	if n <= 0 {
		return nil
	}
	switch it.kind {
	case rowItem:
		if l.cards {
			return s.card(it, l, on, p)[from : from+n]
		}
		name := s.name(it, l, on, p)
		lines := append(name, s.row(it, l, on, len(name) > 0, p))
		return append(lines, s.under(it, l, p)...)[from : from+n]
	case columnsItem:
		return []string{s.heading(l, p)}
	case factItem:
		return it.fact(l, l.texts[i], from, n, on, p)
	case gapItem:
		return []string{""}
	}
	var out []string
	for at, line := range l.texts[i][from : from+n] {
		indent := strings.Repeat(" ", it.indent)
		label := p.safe(it.label)
		switch {
		case it.kind == titleItem && from+at == 0 && strings.HasPrefix(line, label):
			line = p.ink(chosenInk(strong, on), label) + p.ink(it.ink, line[len(label):])
		default:
			line = p.ink(chosenInk(it.ink, on && from+at == 0), line)
		}
		out = append(out, indent+line)
	}
	return out
}

// chosenInk is the ink of what stands first in the chosen item.
func chosenInk(i ink, on bool) ink {
	if on {
		return selected
	}
	return i
}

func (s *sheet) heading(l *layout, p *pen) string {
	var b strings.Builder
	for i, c := range s.columns {
		if l.below[i] {
			continue
		}
		if i > 0 {
			b.WriteString(strings.Repeat(" ", columnsGap))
		}
		if c.right {
			b.WriteString(p.right(c.name, l.widths[i]))
		} else {
			b.WriteString(p.left(c.name, l.widths[i]))
		}
	}
	return p.ink(faint, b.String())
}

// name is a row's first figure where it is too wide for its column: in lines of its own, so that
// names which differ at their end can be told apart.
func (s *sheet) name(it *sheetItem, l *layout, on bool, p *pen) []string {
	f := &it.figures[0]
	if it.indent+f.width(p) <= l.widths[0] {
		return nil
	}
	var out []string
	for _, line := range wrapped(f.shown(p), max(l.w-it.indent, 1)) {
		out = append(out, strings.Repeat(" ", it.indent)+p.ink(chosenInk(f.ink, on), line))
	}
	return out
}

// row draws the figures under their columns; the first one is left out where it stands above.
func (s *sheet) row(it *sheetItem, l *layout, on, named bool, p *pen) string {
	var b strings.Builder
	for i := range it.figures {
		f, w := &it.figures[i], l.widths[i]
		if l.below[i] {
			continue
		}
		indent := min(indentOf(it, i), w)
		b.WriteString(strings.Repeat(" ", indent))
		w -= indent
		color, sign := f.ink, " "
		if f.moved {
			color, sign = changed, p.ink(changed, p.glyph(moved))
		}
		if i > 0 {
			b.WriteString(strings.Repeat(" ", columnsGap-1))
		} else {
			color, sign = chosenInk(color, on), ""
		}
		if f.bar != nil {
			b.WriteString(sign + f.bar(w, p))
			continue
		}
		text := p.cut(f.shown(p), w)
		if i == 0 && named {
			text = ""
		}
		space := strings.Repeat(" ", max(0, w-width(text)))
		if s.columns[i].right {
			b.WriteString(space + sign + p.ink(color, text))
		} else {
			b.WriteString(sign + p.ink(color, text) + space)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// under are the figures that stand below a row.
func (s *sheet) under(it *sheetItem, l *layout, p *pen) []string {
	var some []int
	for i := range it.figures {
		if l.below[i] {
			some = append(some, i)
		}
	}
	return s.flow(it, some, l, p)
}

// card is a row where the columns do not fit: the first figure, and the others below it with the
// names of their columns.
func (s *sheet) card(it *sheetItem, l *layout, on bool, p *pen) []string {
	var out []string
	indent, first := strings.Repeat(" ", it.indent), &it.figures[0]
	for _, line := range wrapped(first.shown(p), max(l.w-it.indent, 1)) {
		out = append(out, indent+p.ink(chosenInk(first.ink, on), line))
	}
	var rest []int
	for i := range it.figures[1:] {
		rest = append(rest, i+1)
	}
	return append(out, s.flow(it, rest, l, p)...)
}

// flow sets figures with their names one behind another, in as many lines as they need. What is
// wider than a line is broken.
func (s *sheet) flow(it *sheetItem, some []int, l *layout, p *pen) []string {
	if len(some) == 0 {
		return nil
	}
	indent := strings.Repeat(" ", min(it.indent+2, l.w/2))
	room := max(l.w-len(indent), 1)
	var out []string
	line, used := "", 0
	put := func(text string, n int) {
		if used > 0 && used+columnsGap+n > room {
			out = append(out, indent+line)
			line, used = "", 0
		}
		if used > 0 {
			line, used = line+strings.Repeat(" ", columnsGap), used+columnsGap
		}
		line, used = line+text, used+n
	}
	for _, i := range some {
		f, name := &it.figures[i], s.columns[i].name
		text, color, sign := f.shown(p), f.ink, ""
		if f.moved {
			color, sign = changed, p.ink(changed, p.glyph(moved))
		}
		if name != "" && !s.columns[i].plainBelow() {
			name += " "
		} else {
			name = ""
		}
		switch n := width(name) + width(text) + width(sign); {
		case f.bar != nil:
			if wide := min(barMost, room-width(name)); wide > 0 {
				put(p.ink(faint, name)+f.bar(wide, p), width(name)+wide)
			}
		case text == "":
		case n <= room:
			put(p.ink(faint, name)+sign+p.ink(color, text), n)
		default:
			for _, part := range wrapped(name+text, room) {
				put(p.ink(color, part), room)
			}
		}
	}
	if used > 0 {
		out = append(out, indent+line)
	}
	return out
}

// plainBelow reports whether a column's figures say themselves what they are.
func (c *sheetColumn) plainBelow() bool { return c.below && !c.right }

// beside reports whether a fact's text stands beside its label, and not below it.
func (it *sheetItem) beside(l *layout, p *pen) bool {
	return l.w-l.labels-1 >= leastToWrap && it.indent+shownWidth(it.label, p) <= l.labels
}

// fact draws n lines of a label and its wrapped text.
func (it *sheetItem) fact(
	l *layout, texts []string, from, n int, on bool, p *pen,
) []string {
	indent := strings.Repeat(" ", it.indent)
	beside := it.beside(l, p)
	var above []string
	if !beside {
		above = wrapped(p.safe(it.label), max(l.w-it.indent, 1))
	}
	out := make([]string, 0, n)
	for at := from; at < from+n; at++ {
		switch {
		case at < len(above):
			out = append(out, indent+p.ink(chosenInk(faint, on && at == 0), above[at]))
		case !beside:
			out = append(out, "  "+p.ink(it.ink, texts[at-len(above)]))
		case at == 0:
			label := p.safe(it.label)
			space := strings.Repeat(" ", max(l.labels-it.indent-width(label), 0)+1)
			label = indent + p.ink(chosenInk(faint, on), label) + space
			out = append(out, label+p.ink(it.ink, texts[0]))
		default:
			out = append(out, strings.Repeat(" ", l.labels+1)+p.ink(it.ink, texts[at]))
		}
	}
	return out
}
