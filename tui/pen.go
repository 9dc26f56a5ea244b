package tui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"

	"billctl/formats"
)

// ink is what a piece of text means; the pen knows how that looks.
type ink uint8

const (
	plain    ink = iota
	faint        // units, labels, what is not known
	strong       // amounts, headings
	accent       // names that can be opened, keys
	good         // live, delivered, within the budget
	warning      // catching up, near a limit
	bad          // disconnected, rejected, over a limit
	changed      // a figure that moved since the answer before
	selected     // the chosen row
	matched      // what the filter found
	inks
)

// glyph is a sign with a meaning, so that nothing is said by colour alone.
type glyph uint8

const (
	dotLive glyph = iota
	dotWait
	dotGone
	arrowUp
	arrowDown
	signWarning
	signBad
	signGood
	separator // between crumbs
	ellipsis
	rule // a horizontal line's cell
	barFull
	barEmpty
	moved // beside a figure that changed
	glyphs
)

var unicodeGlyphs = [glyphs]string{
	"●", "◐", "○", "▲", "▼", "!", "✗", "✓", "›", "…", "─", "█", "░", "•",
}

var asciiGlyphs = [glyphs]string{
	"*", "~", "o", "^", "v", "!", "x", "+", ">", "~", "-", "#", ".", "*",
}

// pen draws for one kind of terminal.
type pen struct {
	ascii  bool // nothing beyond ASCII is written
	styles [inks]lipgloss.Style
	around [inks][2]string // what a style writes before and after a text
	render *lipgloss.Renderer
}

// newPen returns the pen of a terminal: its colours (termenv.Ascii: none, as NO_COLOR asks for),
// its background, and whether it shows more than ASCII.
func newPen(profile termenv.Profile, dark, ascii bool) *pen {
	r := lipgloss.NewRenderer(nil)
	r.SetColorProfile(profile)
	r.SetHasDarkBackground(dark)
	p := &pen{ascii: ascii, render: r}
	color := func(light, dark string) lipgloss.Style {
		return r.NewStyle().Foreground(lipgloss.AdaptiveColor{Light: light, Dark: dark})
	}
	p.styles = [inks]lipgloss.Style{
		plain: r.NewStyle(), faint: color("242", "245"), strong: r.NewStyle().Bold(true),
		accent: color("25", "81"), good: color("28", "78"), warning: color("130", "214"),
		bad: color("160", "203"), changed: color("90", "213").Bold(true),
		selected: r.NewStyle().Reverse(true), matched: color("90", "213").Underline(true),
	}
	if profile == termenv.Ascii {
		// Attributes are no colours: a chosen row must be seen.
		r.SetColorProfile(termenv.ANSI)
		for i := range p.styles {
			p.styles[i] = r.NewStyle()
		}
		p.styles[strong] = r.NewStyle().Bold(true)
		p.styles[changed] = r.NewStyle().Bold(true)
		p.styles[matched] = r.NewStyle().Underline(true)
		p.styles[selected] = r.NewStyle().Reverse(true)
	}
	for i := range p.styles { // to render anew for every piece of a frame takes most of its time
		p.around[i][0], p.around[i][1], _ = strings.Cut(p.styles[i].Inline(true).Render("x"), "x")
	}
	return p
}

// ink writes text that is safe already, of one line.
func (p *pen) ink(i ink, s string) string {
	if i == plain || s == "" {
		return s
	}
	return p.around[i][0] + s + p.around[i][1]
}

func (p *pen) glyph(g glyph) string {
	if p.ascii {
		return asciiGlyphs[g]
	}
	return unicodeGlyphs[g]
}

// safe returns text from outside as the terminal may have it: what it would act upon is escaped,
// and in an ASCII terminal all that it can't show.
func (p *pen) safe(s string) string {
	if printable(s) {
		return s
	}
	s = formats.Visible(s)
	if p.ascii && strings.IndexFunc(s, func(r rune) bool { return r > '~' }) >= 0 {
		s = strings.Map(func(r rune) rune {
			if r > '~' {
				return '?'
			}
			return r
		}, s)
	}
	return s
}

// width is how many cells a text takes.
func width(s string) int {
	if printable(s) {
		return len(s)
	}
	return ansi.StringWidth(s)
}

// printable says whether a text has printable ASCII only: most have, and it is quickly seen.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// cut returns the text in at most w cells; what is left out is an ellipsis.
func (p *pen) cut(s string, w int) string {
	if width(s) <= w {
		return s
	}
	return ansi.Truncate(s, max(w, 0), p.glyph(ellipsis))
}

// left returns the text in just w cells, spaces behind it.
func (p *pen) left(s string, w int) string {
	s = p.cut(s, w)
	return s + strings.Repeat(" ", max(0, w-width(s)))
}

// right returns the text in just w cells, spaces before it.
func (p *pen) right(s string, w int) string {
	s = p.cut(s, w)
	return strings.Repeat(" ", max(0, w-width(s))) + s
}
