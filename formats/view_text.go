package formats

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// InvoiceText writes an invoice for people to read in a terminal. It is not frozen: programs read
// what AppendInvoice writes. It fails if w does.
func InvoiceText(w io.Writer, inv *engine.Invoice) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Invoice %s\n\n", InvoiceKey(inv))
	name := Visible(inv.Account)
	if inv.AccountName != inv.Account && inv.AccountName != "" {
		name = Visible(inv.AccountName) + " (" + name + ")"
	}
	fmt.Fprintf(b, "  Account  %s\n", name)
	fmt.Fprintf(b, "  Plan     %s, version %d\n", Visible(inv.Plan), inv.Version)
	fmt.Fprintf(b, "  Period   %s to %s\n", inv.Start, inv.End)
	fmt.Fprintf(b, "           in %s, from %s\n\n", Visible(inv.Zone), Visible(inv.StartDate))
	t := &textTable{}
	t.row("", "Quantity", "Billable", inv.Currency)
	for i := range inv.Lines {
		textLine(t, inv, &inv.Lines[i])
	}
	for i := range inv.Adjustments {
		a := &inv.Adjustments[i]
		t.row("adjustment "+Visible(a.StartDate)+": "+priceText(a.Price, a.Group),
			ratText(a.Quantity), "", a.Amount.Text(inv.Digits))
		t.row("    "+a.Rated.Text(inv.Digits)+" now, "+a.Booked.Text(inv.Digits)+" billed before",
			"", "", "")
	}
	t.rule()
	if len(inv.Credits) > 0 {
		t.row("Subtotal", "", "", inv.Subtotal.Text(inv.Digits))
	}
	for _, c := range inv.Credits {
		t.row("credit "+Visible(c.ID), "", "", c.Amount.Neg().Text(inv.Digits))
	}
	t.row("Total", "", "", inv.Total.Text(inv.Digits))
	t.write(b)
	return b.Flush()
}

// textLine adds a line and its tiers.
func textLine(t *textTable, inv *engine.Invoice, l *engine.Line) {
	quantity, billable := "", ""
	if l.Meter != "" {
		quantity, billable = ratText(l.Quantity), ratText(l.Billable)
		if l.Unit != "" {
			quantity += " " + Visible(l.Unit)
		}
	}
	name := priceText(l.Price, l.Group)
	if l.From >= inv.End {
		name += " (in advance)"
	}
	t.row(name, quantity, billable, l.Amount.Text(inv.Digits))
	if len(l.Tiers) < 2 {
		return
	}
	for _, tier := range l.Tiers {
		t.row(fmt.Sprintf("    tier %d: %s for %s", tier.Tier+1, ratText(tier.Quantity),
			ratText(tier.Amount)), "", "", "")
	}
}

// priceText names a line: the price and the values it was kept apart by.
func priceText(price string, group []engine.GroupValue) string {
	text := Visible(price)
	for i, g := range group {
		sep := " ["
		if i > 0 {
			sep = ", "
		}
		value := Visible(g.Value)
		if g.Absent {
			value = "(none)"
		}
		text += sep + Visible(g.Dim) + "=" + value
	}
	if len(group) > 0 {
		text += "]"
	}
	return text
}

// ratText shortens an exact number to what a table can hold; what was cut is marked.
func ratText(r decimal.Rat) string {
	s := r.String()
	if !strings.Contains(s, "/") {
		return s
	}
	return "~" + r.Round(6, decimal.HalfAway).Text(6)
}

// Visible escapes what a terminal would act upon.
func Visible(s string) string {
	var b strings.Builder
	for i, r := range s {
		_, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r < ' ' || r >= 0x7f && r < 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == 0x2028 || r == 0x2029 || isBidi(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// textTable is a table of one column of words and three of numbers.
type textTable struct{ rows [][]string }

func (t *textTable) row(cells ...string) { t.rows = append(t.rows, cells) }

// rule adds a line across the table.
func (t *textTable) rule() { t.rows = append(t.rows, nil) }

// write aligns words to the left and numbers to the right.
func (t *textTable) write(b *bufio.Writer) {
	var width [4]int
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		if row == nil {
			total := width[0] + width[1] + width[2] + width[3] + 6
			fmt.Fprintf(b, "  %s\n", strings.Repeat("-", total))
			continue
		}
		line := fmt.Sprintf("  %-*s  %*s  %*s  %*s", width[0], row[0], width[1], row[1],
			width[2], row[2], width[3], row[3])
		fmt.Fprintf(b, "%s\n", strings.TrimRight(line, " "))
	}
}
