package engine

import (
	"cmp"
	"slices"

	"billctl/engine/decimal"
)

// Drafts are invoices as they would be issued now. Closing a period issues its draft, so a preview
// is the final invoice.

// draftStart returns the invoice of the first flat amounts in advance, nil if there are none.
func (s *state) draftStart(b *sub) *Invoice {
	start, end, fullStart, fullEnd := s.around(b, b.From)
	t := s.termsFor(b, start)
	inv := s.newInvoice(StartInvoice, b, t, start, end)
	in := s.lineInput(b, t)
	in.Next = lineSpan{t.prices, start, end, fullStart, fullEnd}
	inv.Lines = rateLines(in)
	if len(inv.Lines) == 0 {
		return nil
	}
	s.sum(inv, s.accounts.at(b.account).credits)
	return inv
}

// draftPeriod returns the invoice of the period that begins at start, nil if it says nothing, and
// the period's own lines: those that later usage can change. Adjustments stand on the invoice of
// the first open period. soFar leaves out minimums and what is billed in advance.
func (s *state) draftPeriod(b *sub, start Micros, credits []credit, soFar bool) (*Invoice, []Line) {
	start, end, fullStart, fullEnd := s.around(b, start)
	t := s.termsFor(b, start)
	inv := s.newInvoice(PeriodInvoice, b, t, start, end)
	p := s.retained(b, start)
	in := s.lineInput(b, t)
	in.SoFar = soFar
	in.Usage = s.usage(p)
	in.Period = lineSpan{t.prices, start, end, fullStart, fullEnd}
	own := rateLines(in)
	inv.Lines = own
	if b.auto && start == b.From && !soFar {
		first := s.lineInput(b, t)
		first.Next = in.Period
		inv.Lines = slices.Concat(rateLines(first), inv.Lines)
	}
	if !soFar && end < b.To {
		next := s.termsFor(b, end)
		_, nextEnd, nextFull, nextFullEnd := s.around(b, end)
		ahead := s.lineInput(b, next)
		ahead.Next = lineSpan{next.prices, end, nextEnd, nextFull, nextFullEnd}
		inv.Lines = slices.Concat(inv.Lines, rateLines(ahead))
	}
	if start == b.next {
		inv.Adjustments = s.adjustments(b)
	}
	if len(inv.Lines) == 0 && len(inv.Adjustments) == 0 && (p < 0 || s.periods.at(p).rows == 0) {
		return nil, own
	}
	s.sum(inv, credits)
	return inv, own
}

// draftCorrection returns the last document of an ended subscription, nil if nothing came late.
func (s *state) draftCorrection(b *sub, last int32) *Invoice {
	p := s.periods.at(last)
	inv := s.newInvoice(CorrectionInvoice, b, s.terms[p.terms], p.start, p.end)
	inv.Adjustments = s.adjustments(b)
	if len(inv.Adjustments) == 0 {
		return nil
	}
	s.sum(inv, s.accounts.at(b.account).credits)
	return inv
}

func (s *state) newInvoice(kind DocumentKind, b *sub, t *terms, start, end Micros) *Invoice {
	a := s.accounts.at(b.account)
	z := s.zones[a.zone]
	return &Invoice{
		Kind: kind, Account: a.id, AccountName: a.name, Subscription: b.Key,
		Plan: t.plan.Key, Version: t.plan.Version, Currency: t.plan.Currency,
		Digits: t.plan.Digits, Zone: z.Name, Start: start, End: end, StartDate: z.dateText(start),
	}
}

func (s *state) lineInput(b *sub, t *terms) lineInput {
	return lineInput{
		Zone:   s.zones[s.accounts.at(b.account).zone],
		Digits: t.plan.Digits, Rounding: t.plan.Rounding, Meters: s.meters,
	}
}

// ownLines rates a kept period alone.
func (s *state) ownLines(b *sub, p int32) []Line {
	t := s.terms[s.periods.at(p).terms]
	start, end, fullStart, fullEnd := s.around(b, s.periods.at(p).start)
	in := s.lineInput(b, t)
	in.Usage = s.usage(p)
	in.Period = lineSpan{t.prices, start, end, fullStart, fullEnd}
	return rateLines(in)
}

// adjustments returns, for every closed period with late usage, the difference of its lines rated
// again to what was booked, by rising period and in the order of lines.
func (s *state) adjustments(b *sub) []Adjustment {
	var out []Adjustment
	for i := b.newest; i >= 0; i = s.periods.at(i).older {
		if p := s.periods.at(i); p.dirty && p.closedAt != Past {
			out = slices.Concat(s.adjust(b, i), out)
		}
	}
	return out
}

func (s *state) adjust(b *sub, index int32) []Adjustment {
	p := s.periods.at(index)
	lines := s.ownLines(b, index)
	var out []Adjustment
	add := func(price string, group []GroupValue, q decimal.Rat, rated, was decimal.Amount) {
		if rated == was {
			return
		}
		out = append(out, Adjustment{
			Start: p.start, End: p.end, Price: price, Group: group, Quantity: q, Rated: rated,
			StartDate: s.zones[s.accounts.at(b.account).zone].dateText(p.start),
			Booked:    was, Amount: rated.Sub(was),
		})
	}
	seen := make([]bool, len(p.booked))
	for i := range lines {
		l := &lines[i]
		var was decimal.Amount
		key := lineKey(l.Price, l.Group)
		if j := slices.IndexFunc(p.booked, func(o booked) bool { return o.key == key }); j >= 0 {
			was, seen[j] = p.booked[j].amount, true
		}
		add(l.Price, l.Group, l.Quantity, l.Amount, was)
	}
	for j := range p.booked {
		if o := &p.booked[j]; !seen[j] {
			add(o.price, o.group, decimal.Rat{}, decimal.Amount{}, o.amount)
		}
	}
	return out
}

// sum totals an invoice and uses credits of its currency, oldest first, while it is positive.
func (s *state) sum(inv *Invoice, credits []credit) {
	for i := range inv.Lines {
		inv.Subtotal = inv.Subtotal.Add(inv.Lines[i].Amount)
	}
	for i := range inv.Adjustments {
		inv.Subtotal = inv.Subtotal.Add(inv.Adjustments[i].Amount)
	}
	inv.Total = inv.Subtotal
	for i := range credits {
		c := &credits[i]
		if c.Currency != inv.Currency || c.left.Sign() <= 0 || inv.Total.Sign() <= 0 {
			continue
		}
		use := c.left
		if use.Cmp(inv.Total) > 0 {
			use = inv.Total
		}
		inv.Credits = append(inv.Credits, CreditUse{ID: c.ID, Amount: use})
		inv.Total = inv.Total.Sub(use)
	}
}

// usage returns the folds of a period, by meter and group; none for -1.
func (s *state) usage(p int32) []Usage {
	if p < 0 {
		return nil
	}
	var out []Usage
	for i := s.periods.at(p).first; i >= 0; {
		r := s.series.at(i)
		m := s.meters[r.meter]
		out = append(out, Usage{Meter: m, Group: s.groupValues(m, r.group), Fold: r.fold})
		i = r.next
	}
	slices.SortFunc(out, compareUsage)
	return out
}

func (s *state) groupValues(m *Meter, group int32) []GroupValue {
	ids := s.groups[group]
	if len(ids) == 0 {
		return nil
	}
	out := make([]GroupValue, len(ids))
	for i, id := range ids {
		out[i] = GroupValue{Dim: m.GroupBy[i].Name, Value: s.values[id], Absent: id == 0}
	}
	return out
}

func compareUsage(a, b Usage) int {
	if c := cmp.Compare(a.Meter.Key, b.Meter.Key); c != 0 {
		return c
	}
	return slices.CompareFunc(a.Group, b.Group, func(x, y GroupValue) int {
		if x.Absent != y.Absent {
			return one(y.Absent) - one(x.Absent)
		}
		return cmp.Compare(x.Value, y.Value)
	})
}

// dateText writes the start of a period as keys have it: the local date where a local day begins
// then, otherwise the instant.
func (z *Zone) dateText(t Micros) string {
	year, month, day := z.Date(t)
	if z.StartOfDay(year, month, day) == t {
		return string(appendDate(nil, year, month, day))
	}
	return t.String()
}
