package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// figure is one text of a row. What it says is raw; it is escaped where it is drawn.
type figure struct {
	text  string
	unit  string // behind the text: a currency, a meter's unit
	count bool   // the text is a quantity or count: its thousands are grouped
	ink   ink
	moved bool // it differs from the answer before
	// bar draws the figure instead of the text, in just w cells; nil: the text is drawn.
	bar func(w int, p *pen) string
}

// shown returns the text as it is drawn.
func (f *figure) shown(p *pen) string {
	s := f.text
	if f.count {
		s = grouped(s)
	}
	if f.unit != "" && s != "" {
		s += " " + f.unit
	}
	return p.safe(s)
}

// raw returns the text as it is copied and exported.
func (f *figure) raw() string {
	if f.unit != "" && f.text != "" {
		return f.text + " " + f.unit
	}
	return f.text
}

// grouped sets a comma between the thousands of a number's whole parts: "1,234,567.891",
// "1,234/567". Amounts are never grouped.
func grouped(s string) string {
	var b strings.Builder
	for i, part := range strings.Split(s, "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		whole, fraction, point := strings.Cut(part, ".")
		digits := strings.TrimPrefix(whole, "-")
		b.WriteString(whole[:len(whole)-len(digits)])
		for j := range len(digits) {
			if j > 0 && (len(digits)-j)%3 == 0 {
				b.WriteByte(',')
			}
			b.WriteByte(digits[j])
		}
		if point {
			b.WriteString("." + fraction)
		}
	}
	return b.String()
}

// instantText returns an instant as people read it: without what is zero of its time.
func instantText(s *string) string {
	if s == nil {
		return "unbounded"
	}
	if date, ok := strings.CutSuffix(*s, "T00:00:00Z"); ok {
		return date
	}
	text := strings.Replace(*s, "T", " ", 1)
	if minute, ok := strings.CutSuffix(text, ":00Z"); ok {
		return minute + "Z"
	}
	return text
}

// wrapped returns safe text in lines of at most w cells. Lines that the text has stay lines.
func wrapped(s string, w int) []string {
	if width(s) <= w && !strings.Contains(s, "\n") {
		return []string{s}
	}
	return strings.Split(ansi.Hardwrap(s, max(w, 1), true), "\n")
}

// wordWrapped does the same for sentences: it breaks between words where it can.
func wordWrapped(s string, w int) []string {
	if width(s) <= w {
		return []string{s}
	}
	return strings.Split(ansi.Wrap(s, max(w, 1), ""), "\n")
}

// shownWidth is the width of what a pen makes of a text.
func shownWidth(s string, p *pen) int { return width(p.safe(s)) }

// clip keeps what is drawn within the body, whatever a screen thought of its size.
func clip(lines []string, w, h int) []string {
	lines = lines[:min(len(lines), max(h, 0))]
	for i, line := range lines {
		if width(line) > w {
			lines[i] = ansi.Truncate(line, max(w, 0), "")
		}
	}
	return lines
}
