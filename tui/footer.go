package tui

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The smallest terminal that is drawn in.
const (
	leastWidth  = 40
	leastHeight = 8
)

// fit is how the lines of the terminal are shared.
type fit struct{ header, body int }

func (m *model) small() bool { return m.w < leastWidth || m.h < leastHeight }

func (m *model) fit() fit {
	f := fit{header: 2}
	if m.h < 12 {
		f.header = 1
	}
	f.body = m.h - f.header - 2 // the path, and the line at the bottom
	return f
}

// draw returns the whole frame: always as many lines as the terminal has, none wider.
func (m *model) draw() string {
	if m.w <= 0 || m.h <= 0 {
		return ""
	}
	var lines []string
	if m.small() {
		lines = m.drawSmall()
	} else {
		f := m.fit()
		lines = append(m.drawHeader(f.header), m.drawPath())
		body := m.drawBody(f.body)
		lines = append(lines, body[:min(len(body), f.body)]...)
		for len(lines) < m.h-1 {
			lines = append(lines, "")
		}
		lines = append(lines, m.drawFooter())
	}
	lines = lines[:min(len(lines), m.h)]
	for i, line := range lines {
		if width(line) > m.w {
			lines[i] = ansi.Truncate(line, m.w, "")
		}
	}
	if m.copied != "" {
		lines[len(lines)-1] += m.copied
	}
	return strings.Join(lines, "\n")
}

// drawBody is what the screen on top shows, or why it shows nothing.
func (m *model) drawBody(h int) []string {
	top := m.top()
	switch {
	case m.help != nil:
		return m.help.draw(m, h)
	case !top.took:
		return m.drawNothing(h)
	}
	m.tell(top.screen)
	body := top.screen.draw(m.w, h, m.pen)
	if m.link.away != nil {
		for i, line := range body {
			body[i] = m.pen.ink(faint, ansi.Strip(line))
		}
	}
	return body
}

// drawPath is the way from the home to here; at the right what the screen says of itself.
func (m *model) drawPath() string {
	p := m.pen
	note := ""
	if s, ok := m.top().screen.(noted); ok && m.top().took {
		note = p.cut(p.safe(s.note()), m.w/2)
	}
	room := m.w
	if note != "" {
		room -= width(note) + 2
	}
	crumbs := make([]string, len(m.levels))
	for i, l := range m.levels {
		crumbs[i] = p.safe(l.screen.crumb())
	}
	between := " " + p.glyph(separator) + " "
	for from := 0; ; from++ {
		text := strings.Join(crumbs[from:len(crumbs)-1], between)
		if from > 0 {
			text = strings.TrimSuffix(p.glyph(ellipsis)+between+text, between)
		}
		if text != "" {
			text += between
		}
		last := crumbs[len(crumbs)-1]
		if width(text)+width(last) <= room || from == len(crumbs)-1 {
			line := p.ink(faint, p.cut(text, room-1))
			line += p.ink(strong, p.cut(last, max(1, room-width(line))))
			return m.apart(line, p.ink(faint, note))
		}
	}
}

// noted is a screen that says something of itself beside the path: how many, in which order.
type noted interface{ note() string }

// drawFooter is the line that is typed, a message, or the keys.
func (m *model) drawFooter() string {
	p := m.pen
	failure := ""
	if f, stale := m.top().failure(); stale {
		failure = f.Message
		if f.Hint != "" {
			failure += ": " + f.Hint
		}
	}
	switch {
	case m.prompt != nil:
		return m.drawPrompt(failure)
	case m.word.text != "" && m.options.Now().Before(m.word.until):
		return p.ink(m.word.ink, p.cut(p.safe(m.word.text), m.w))
	case failure != "":
		return p.ink(bad, p.cut(p.glyph(signBad)+" "+p.safe(failure), m.w))
	}
	if m.help != nil {
		return m.drawKeys([]binding{{"esc", "leave the help"}, {"pgdn", "on"}})
	}
	return m.drawKeys(m.hints())
}

// hints are the keys for the line at the bottom, each with a word: the screen's first one, then
// those of every screen but the last ones, then the others.
func (m *model) hints() []binding {
	own := m.top().screen.help()
	first := min(1, len(own))
	var list []binding
	if first > 0 {
		list = append(list, binding{own[0].keys, shortly(own[0].does)})
	}
	for _, k := range m.keys {
		switch k.binding.keys {
		case "esc":
			if len(m.levels) == 1 {
				continue
			}
		case "/":
			if _, ok := m.top().screen.(filtered); !ok {
				continue
			}
		}
		if k.short != "" {
			list = append(list, binding{k.binding.keys, k.short})
		}
	}
	for _, b := range own[first:] {
		list = append(list, binding{b.keys, shortly(b.does)})
	}
	return list
}

// shortly is a meaning in a few cells: the whole, or its first word.
func shortly(s string) string {
	const few = 14
	if width(s) <= few {
		return s
	}
	word, _, _ := strings.Cut(s, " ")
	return strings.TrimRight(word, ",;:")
}

// drawKeys names keys as far as there is room. The help comes first: it has the others.
func (m *model) drawKeys(bindings []binding) string {
	p := m.pen
	line, used := "", 0
	last := "? help"
	for _, b := range bindings {
		if b.keys == "?" {
			continue
		}
		keys, does := p.safe(b.keys), p.safe(b.does)
		n := width(keys) + 1 + width(does) + 2
		if used+n+len(last) > m.w {
			break
		}
		line += p.ink(accent, keys) + " " + p.ink(faint, does) + "  "
		used += n
	}
	return line + p.ink(accent, "?") + p.ink(faint, " help")
}

// drawPrompt is the line that is typed with a cursor, and what it may become.
func (m *model) drawPrompt(failure string) string {
	p := m.pen
	if m.prompt.kind == promptExport {
		return p.cut(p.ink(strong, "export as ")+p.ink(accent, "c")+" CSV  "+p.ink(accent, "j")+
			" JSON  "+p.ink(accent, "esc")+" leave", m.w)
	}
	text := p.safe(string(m.prompt.text))
	if over := width(text) - m.w/2; over > 0 {
		text = ansi.TruncateLeft(text, over, "")
	}
	line := p.ink(accent, m.prompt.sign) + text + p.ink(selected, " ") + "  "
	room := m.w - width(line)
	switch {
	case m.prompt.kind == promptJump:
		var names []string
		for _, c := range completions(string(m.prompt.text)) {
			names = append(names, c.name)
		}
		if len(names) == 0 {
			names = []string{"the account of that id"}
		}
		return line + p.ink(faint, p.cut(strings.Join(names, " "), room))
	case failure != "":
		return line + p.ink(bad, p.cut(p.safe(failure), room))
	}
	hint := "enter keeps  esc takes back  !word: without"
	if f, ok := m.top().screen.(interface{ filterHint() string }); ok {
		hint = f.filterHint()
	}
	return line + p.ink(faint, p.cut(p.safe(hint), room))
}
