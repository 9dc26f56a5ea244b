package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

func (s *session) rateTable(a *rating) error {
	for _, part := range []func(*rating) error{
		s.rateInvoices, s.ratePeriods, s.rateControls, s.rateRejections,
	} {
		if err := part(a); err != nil {
			return err
		}
	}
	t := newTable("", "")
	t.add("billing digest", hex.EncodeToString(a.result.Billing[:]))
	t.add("time", fmt.Sprintf("%.1f s, %s rows/s", a.seconds,
		grouped(uint64(float64(a.total.Read)/max(a.seconds, 1e-6)))))
	return t.write(s.stdout, "")
}

func (s *session) rateInvoices(a *rating) error {
	if a.closeAt == engine.Past {
		return nil
	}
	if len(a.invoices) == 0 {
		return s.lines("no invoices: no period that bills anything ends by "+a.closeAt.String(), "")
	}
	if err := s.lines("invoices of periods that end by " + a.closeAt.String()); err != nil {
		return err
	}
	t := newTable("key", "plan", ">lines", ">subtotal", ">total", "")
	for _, inv := range a.invoices {
		t.add(formats.InvoiceKey(inv), fmt.Sprintf("%s v%d", inv.Plan, inv.Version),
			grouped(uint64(len(inv.Lines))), inv.Subtotal.Text(inv.Digits), inv.Total.Text(inv.Digits),
			inv.Currency)
		if !a.flags.lines {
			continue
		}
		if err := t.write(s.stdout, "  "); err != nil {
			return err
		}
		if err := s.rateLines(inv, nil); err != nil {
			return err
		}
		t = newTable(t.head...)
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	return s.lines("")
}

func (s *session) ratePeriods(a *rating) error {
	if len(a.periods) == 0 {
		if a.closeAt == engine.Past || a.total.Counts[engine.Accepted] == 0 {
			return s.lines("no open period has usage", "")
		}
		return nil
	}
	through := ""
	if a.result.Through != engine.Past {
		through = ", usage through " + a.result.Through.String()
	}
	if err := s.lines("open periods" + through); err != nil {
		return err
	}
	head := []string{
		"account", "subscription", "plan", "period", ">rows", ">lines", ">so far", ">if closed now", "",
	}
	t := newTable(head...)
	for i := range a.periods {
		p := &a.periods[i]
		r := p.report(false)
		t.add(p.account, p.Subscription, fmt.Sprintf("%s v%d", p.Plan, p.Version), p.StartDate,
			grouped(p.Rows), grouped(uint64(r.Lines)), r.SoFar, r.IfClosedNow, p.Currency)
		if !a.flags.lines {
			continue
		}
		if err := t.write(s.stdout, "  "); err != nil {
			return err
		}
		if err := s.rateLines(p.IfClosedNow, p.SoFar); err != nil {
			return err
		}
		t = newTable(head...)
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	return s.lines("")
}

// rateLines shows the lines of a document, and what each is so far where that is known.
func (s *session) rateLines(inv, soFar *engine.Invoice) error {
	if inv == nil {
		return nil
	}
	head := []string{"price", "group", ">quantity", "unit", ">amount"}
	now := rateSoFar(soFar)
	if soFar != nil {
		head = []string{"price", "group", ">quantity", "unit", ">so far", ">if closed now"}
	}
	t := newTable(head...)
	for i := range inv.Lines {
		l := &inv.Lines[i]
		what := rateGroup(l.Group)
		if l.From != inv.Start || l.To != inv.End {
			what = strings.TrimSpace("for " + l.From.String() + " to " + l.To.String() + " " + what)
		}
		row := []string{l.Price, what, l.Quantity.String(), l.Unit}
		if soFar != nil {
			row = append(row, now[rateLineKey(l)])
		}
		t.add(append(row, l.Amount.Text(inv.Digits))...)
	}
	return t.write(s.stdout, "    ")
}

func rateLineKey(l *engine.Line) string {
	return fmt.Sprintf("%q %q %d", l.Price, rateGroup(l.Group), l.From)
}

func rateGroup(group []engine.GroupValue) string {
	var parts []string
	for _, g := range group {
		value := &g.Value
		if g.Absent {
			value = nil
		}
		parts = append(parts, dimText(g.Dim, value))
	}
	return strings.Join(parts, " ")
}

func (s *session) rateControls(a *rating) error {
	t := newTable("file", "format", ">read", ">accepted", ">rejected", "reasons")
	add := func(f *live.RatedFile) {
		t.add(f.Name, f.Format, grouped(f.Read), grouped(f.Counts[engine.Accepted]),
			grouped(f.Read-f.Counts[engine.Accepted]), rateReasonWords(f))
	}
	for i := range a.result.Files {
		add(&a.result.Files[i])
	}
	if len(a.result.Files) > 1 {
		a.total.Name = "all"
		add(&a.total)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	return s.lines("")
}

func (s *session) rateRejections(a *rating) error {
	if len(a.result.Rejected) == 0 {
		return nil
	}
	if err := s.lines("the first rows that do not count, of each reason"); err != nil {
		return err
	}
	t := newTable("reason", "place", "what")
	for i := range a.result.Rejected {
		r := &a.result.Rejected[i]
		what := r.Fault
		if r.Reason != engine.ReasonMalformed {
			what = fmt.Sprintf("%s of %s, %s, id %s", r.Type, r.Subject, r.Time, r.ID)
		}
		t.add(r.Reason.String(), r.Place, what)
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	return s.lines("")
}
