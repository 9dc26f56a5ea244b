package tui

import (
	"fmt"
	"strings"
)

// drawSmall says which size is needed; nothing else has room.
func (m *model) drawSmall() []string {
	p := m.pen
	var out []string
	for _, line := range []string{
		"too small",
		fmt.Sprintf("%dx%d, needs", m.w, m.h),
		fmt.Sprintf("%dx%d", leastWidth, leastHeight),
		"q quits",
	} {
		out = append(out, p.cut(line, m.w))
	}
	return out
}

// drawNothing says why there is nothing to see yet.
func (m *model) drawNothing(h int) []string {
	top := m.top()
	if f, _ := top.failure(); f != nil && m.link.away == nil {
		out := "q quits"
		if len(m.levels) > 1 {
			out = "esc goes back"
		}
		return m.page(h, signBad, bad, f.Message, f.Hint, out)
	}
	if m.link.away != nil {
		why := m.link.away.Error()
		if why == ErrGone.Error() {
			why = ""
		}
		return m.page(h, dotGone, bad, "nobody answers: "+m.link.where, why,
			fmt.Sprintf("It is asked again every %s. `billctl run` starts a process.",
				m.options.Interval))
	}
	return m.page(h, dotWait, faint, "asking "+m.link.where, "", "")
}

// page is a body of a few words: what is, why, and the way out.
func (m *model) page(h int, sign glyph, in ink, what, why, out string) []string {
	p := m.pen
	lines := []string{""}
	for i, line := range wordWrapped(p.safe(what), m.w-6) {
		mark := " "
		if i == 0 {
			mark = p.ink(in, p.glyph(sign))
		}
		lines = append(lines, "  "+mark+" "+p.ink(strong, line))
	}
	for _, text := range []string{why, out} {
		if strings.TrimSpace(text) == "" {
			continue
		}
		for _, line := range wordWrapped(p.safe(text), m.w-6) {
			lines = append(lines, "    "+p.ink(faint, line))
		}
	}
	return clip(lines, m.w, h)
}
