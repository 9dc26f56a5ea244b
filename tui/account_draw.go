package tui

import (
	"strconv"
	"strings"
)

// From these sizes on parts are seen beside and below one another.
const (
	wideWidth   = 110 // two columns
	wideHeight  = 14
	tallHeight  = 32 // of two columns: the left one has two parts too
	stackWidth  = 60 // the picture of the days below the part in use
	stackHeight = 17
)

func (a *accountScreen) draw(w, h int, p *pen) []string {
	a.seen, a.regions = [accountParts]bool{}, a.regions[:0]
	if a.body == nil {
		return waiting("account "+a.id, a.failure, w, h, p)
	}
	if h <= 0 || w <= 0 {
		return nil
	}
	wide := w >= wideWidth && h >= wideHeight
	out := []string{a.tabs(w, p)}
	switch {
	case wide:
		out = append(out, a.drawWide(w, h-1, p)...)
	case w >= stackWidth && h >= stackHeight && a.part != partDays:
		below := max(h/3, 7)
		top := a.drawPart(a.part, w, 1, h-2-below, p)
		for len(top) < h-2-below {
			top = append(top, "")
		}
		out = append(append(out, top...), a.panelTitle(partDays, w, p))
		out = append(out, a.drawPart(partDays, w, len(out), below, p)...)
	default:
		out = append(out, a.drawPart(a.part, w, 1, h-1, p)...)
	}
	return clip(out, w, h)
}

// tabs is the line of the account's name and its parts.
func (a *accountScreen) tabs(w int, p *pen) string {
	var b strings.Builder
	used := 0
	for i, name := range accountPartNames {
		text, style := " "+name+" ", faint
		if accountPart(i) == a.part {
			text, style = "["+name+"]", strong
		}
		used += width(text)
		b.WriteString(p.ink(style, text))
	}
	if used > w {
		name := accountPartNames[a.part]
		return p.cut(p.ink(strong, "["+name+"]")+p.ink(faint, " "+strconv.Itoa(int(a.part)+1)+"/"+
			strconv.Itoa(int(accountParts))+" tab"), w)
	}
	name := p.safe(a.answer.Name)
	if room := w - used - 2; room >= 8 && name != "" {
		return b.String() + "  " + p.ink(accent, p.right(name, room))
	}
	return b.String()
}

func (a *accountScreen) panelTitle(part accountPart, w int, p *pen) string {
	name := accountPartNames[part]
	if part == partDays && a.daysOf != "" {
		name += " of " + a.daysOf
	}
	name = p.cut(p.safe(name), max(w-4, 1))
	style := faint
	if part == a.part {
		style = strong
	}
	line := p.glyph(rule) + " " + name + " "
	return p.ink(style, line) + p.ink(faint, strings.Repeat(p.glyph(rule), max(w-width(line), 0)))
}

// drawWide shows the part in use at the left, over another where there is room; at the right the
// days over the invoices.
func (a *accountScreen) drawWide(w, h int, p *pen) []string {
	rightWidth := min(w*2/5, 100)
	leftWidth := w - rightWidth - 3
	side := a.part
	if side == partDays || side == partInvoices {
		side = partSubtotals
	}
	var left []string
	if h >= tallHeight {
		below := side
		if below == partSubtotals {
			below = partAbout
		}
		upper := h * 3 / 5
		left = a.panel(partSubtotals, leftWidth, 1, upper, p)
		left = append(left, a.panel(below, leftWidth, 1+upper, h-upper, p)...)
	} else {
		left = a.panel(side, leftWidth, 1, h, p)
	}
	upper := h / 2
	if a.part == partDays {
		upper = h * 3 / 4
	}
	right := a.panel(partDays, rightWidth, 1, upper, p)
	right = append(right, a.panel(partInvoices, rightWidth, 1+upper, h-upper, p)...)
	bar := "│"
	if p.ascii {
		bar = "|"
	}
	out := make([]string, h)
	for i := range out {
		out[i] = p.left(left[i], leftWidth) + " " + p.ink(faint, bar) + " " + right[i]
	}
	return out
}

// panel draws a part with its title in just h lines.
func (a *accountScreen) panel(part accountPart, w, from, h int, p *pen) []string {
	out := []string{a.panelTitle(part, w, p)}
	out = append(out, a.drawPart(part, w, from+1, h-1, p)...)
	for len(out) < h {
		out = append(out, "")
	}
	return out
}

// drawPart draws a part in at most h lines, of which the first is a line of the body.
func (a *accountScreen) drawPart(part accountPart, w, from, h int, p *pen) []string {
	a.seen[part] = true
	if h <= 0 {
		return nil
	}
	focus := part == a.part
	switch part {
	case partInvoices:
		a.regions = append(a.regions, region{part, from, from + h})
		if len(a.invoices.rows) == 0 {
			return clip([]string{p.ink(faint, "no invoice yet")}, w, h)
		}
		a.bills.bare = !focus
		return clip(a.bills.draw(w, h, p), w, h)
	case partDays:
		return a.drawDays(w, from, h, focus, p)
	}
	a.regions = append(a.regions, region{part, from, from + h})
	return a.sheets[part].draw(w, h, focus, p)
}

// drawDays draws the picture, and its figures below it when the part is in use.
func (a *accountScreen) drawDays(w, from, h int, focus bool, p *pen) []string {
	g := a.plots[a.daysOf]
	if g == nil {
		a.regions = append(a.regions, region{partDays, from, from + h})
		return clip([]string{p.ink(faint, "no usage by day yet")}, w, h)
	}
	upper := h
	if focus {
		upper = h * 3 / 5
		if h < 2*plotHeight+4 {
			upper = 0 // the figures alone; the picture is no use in so few lines
		}
	}
	var out []string
	if upper > 0 {
		out = g.draw(w, upper, p)
	}
	if focus {
		a.regions = append(a.regions, region{partDays, from + len(out), from + h})
		out = append(out, a.sheets[partDays].draw(w, h-len(out), true, p)...)
	} else {
		a.regions = append(a.regions, region{partDays, from, from + h})
	}
	return clip(out, w, h)
}

// waiting is what stands where an answer is not there yet, or never will be.
func waiting(what string, f *Failure, w, h int, p *pen) []string {
	if w <= 0 || h <= 0 {
		return nil
	}
	if f == nil {
		return clip([]string{p.ink(faint, p.cut(p.safe("asking for "+what+" ")+
			p.glyph(ellipsis), w))}, w, h)
	}
	var out []string
	text := wordWrapped(p.glyph(signBad)+" "+p.safe(f.Message), w)
	for _, line := range text {
		out = append(out, p.ink(bad, line))
	}
	if f.Hint != "" {
		out = append(out, wordWrapped(p.safe(f.Hint), w)...)
	}
	return clip(out, w, h)
}
