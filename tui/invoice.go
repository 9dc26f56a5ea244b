package tui

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// invoiceScreen shows an issued document. Its bytes are frozen, so it is asked for once.
type invoiceScreen struct {
	invoice string // its key
	body    []byte
	lines   []linePart
	adjusts []linePart
	failure *Failure
	sheet   sheet
}

func newInvoiceScreen(key string) screen {
	s := &invoiceScreen{invoice: key}
	s.sheet.columns = []sheetColumn{
		{name: "line", flex: true}, {name: "model", below: true},
		{name: "quantity", right: true, below: true},
		{name: "amount", right: true}, {name: "note", below: true},
	}
	return s
}

func (s *invoiceScreen) crumb() string { return s.invoice }

func (s *invoiceScreen) wants() []want {
	return []want{{
		id: "invoice", path: "/v1/invoice", params: url.Values{"key": {s.invoice}}, once: true,
	}}
}

func (s *invoiceScreen) take(_ string, body []byte) error {
	var answer struct {
		Seq     uint64       `json:"seq"`
		Invoice documentPart `json:"invoice"`
	}
	if err := readAnswer(body, &answer); err != nil {
		return err
	}
	var exact struct {
		Invoice struct {
			Lines []json.RawMessage `json:"lines"`
		} `json:"invoice"`
	}
	if err := readAnswer(body, &exact); err != nil {
		return err
	}
	d := &answer.Invoice
	lines := d.Lines
	adjusts, err := readLines(d.Adjustments)
	if err != nil {
		return err
	}
	s.body, s.lines, s.adjusts, s.failure = body, lines, adjusts, nil
	items := []sheetItem{
		{kind: titleItem, label: d.AccountName, text: d.Account},
		fact("invoice", d.Key),
		fact("kind", d.Kind+", issued at position "+fmt.Sprint(answer.Seq)),
		fact("subscription", fmt.Sprintf("%s  %s v%d", d.Subscription, d.Plan, d.Version)),
		fact("period", instantText(&d.Period.Start)+" to "+instantText(&d.Period.End)+"  "+
			d.Period.Zone),
		{kind: gapItem}, {kind: columnsItem},
	}
	for i := range lines {
		items = append(items, d.item(&lines[i], exact.Invoice.Lines[i], i))
	}
	for i := range adjusts {
		items = append(items, d.item(&adjusts[i], d.Adjustments[i], len(lines)+i))
	}
	s.sheet.replace(append(items, d.sums()...))
	return nil
}

// item is a line or an adjustment, with what it comes from behind it.
func (d *documentPart) item(l *linePart, body json.RawMessage, n int) sheetItem {
	key, start, note := l.key(), d.Period.StartDate, l.note()
	if l.Period.StartDate != "" {
		start, note = l.Period.StartDate, "adjusts "+l.Period.StartDate
	}
	account, subscription := d.Account, d.Subscription
	return sheetItem{
		id: fmt.Sprint(n), figures: []figure{
			{text: key, ink: accent}, {text: l.Model, ink: faint},
			{text: l.Quantity, unit: l.Unit, count: true},
			{text: l.Amount, unit: d.Currency}, {text: note, ink: faint},
		},
		opens: func() screen {
			return newMembersScreen(key, body, func() screen {
				return newUsesScreen(account, subscription, start, key)
			})
		},
	}
}

// sums are what stands behind the lines, down to the total.
func (d *documentPart) sums() []sheetItem {
	items := []sheetItem{{kind: gapItem}}
	add := func(name, amount, note string, i ink) {
		items = append(items, sheetItem{figures: []figure{
			{text: name, ink: i}, {}, {}, {text: amount, unit: d.Currency, ink: i},
			{text: note, ink: faint},
		}})
	}
	for _, c := range d.Coupons {
		add("coupon "+c.ID, c.Amount, "taken off", plain)
	}
	add("subtotal", d.Subtotal, "", plain)
	for _, c := range d.Credits {
		add("credit "+c.ID, c.Amount, "used", plain)
	}
	for i := range d.Taxes {
		t := &d.Taxes[i]
		add(t.name(), t.Amount, "of "+t.Base+" "+d.Currency, plain)
	}
	add("total", d.Total, "", strong)
	return items
}

func (s *invoiceScreen) fail(_ string, err *Failure) { s.failure = err }

func (s *invoiceScreen) key(k tea.KeyMsg) (action, bool) {
	if k.String() == "enter" {
		return s.sheet.enter(), true
	}
	return action{}, s.sheet.key(k)
}

func (s *invoiceScreen) click(line, wheel int) action { return s.sheet.click(line, wheel) }

func (s *invoiceScreen) draw(w, h int, p *pen) []string {
	if s.body == nil {
		return waiting("invoice "+s.invoice, s.failure, w, h, p)
	}
	return s.sheet.draw(w, h, true, p)
}

func (s *invoiceScreen) help() []binding {
	return []binding{{"enter", "how the line was computed, and again: its events"}}
}

func (s *invoiceScreen) export() (heading []string, rows [][]string, answer []byte) {
	if s.body == nil {
		return nil, nil, nil
	}
	for _, part := range [][]linePart{s.lines, s.adjusts} {
		for i := range part {
			l := &part[i]
			rows = append(rows, []string{
				l.key(), l.Period.StartDate, l.Model, l.Meter, l.Quantity, l.Unit, l.Amount,
			})
		}
	}
	heading = []string{"line", "adjusts", "model", "meter", "quantity", "unit", "amount"}
	return heading, rows, s.body
}

func (s *invoiceScreen) chosen() string {
	if it := s.sheet.chosen(); it != nil && it.kind != rowItem {
		return s.sheet.copied()
	}
	if text := s.sheet.copied(); strings.TrimSpace(text) != "" {
		return text
	}
	return s.invoice
}
