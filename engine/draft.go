package engine

import (
	"cmp"
	"slices"

	"billctl/engine/decimal"
)

// Drafts are invoices as they would be issued now. Closing a period issues its draft, so a preview
// is the final invoice.

// draftStart returns the invoice of the first flat amounts in advance, nil if there are none.
func (s *state) draftStart(b *sub, credits []credit) *Invoice {
	t := s.termsFor(b, b.From)
	start, end, _, _ := s.around(b, b.From)
	inv := s.newInvoice(StartInvoice, b, t, start, end)
	inv.Lines = s.advanceLines(b, start)
	if len(inv.Lines) == 0 {
		return nil
	}
	s.sum(inv, b, credits)
	return inv
}

// periodDraft is a period's invoice, nil if it says nothing, and what later documents change: the
// period's own lines, and those that it bills in advance for the period behind it.
type periodDraft struct {
	invoice    *Invoice
	own, ahead []Line
}

// draftPeriod drafts the period that begins at start. Adjustments stand on the invoice of the first
// open period. soFar leaves out minimums and everything about flat amounts in advance.
func (s *state) draftPeriod(b *sub, start Micros, credits []credit, soFar bool) periodDraft {
	t := s.termsFor(b, start)
	usage := s.usage(b, t, start)
	if soFar {
		return s.draftUsage(b, start, credits, usage, s.watermark)
	}
	return s.draftUsage(b, start, credits, usage, Future)
}

// draftUsage drafts a period with usage of it. Until is the instant up to which it is drafted so
// far; Future: as its close would.
func (s *state) draftUsage(
	b *sub, start Micros, credits []credit, usage []Usage, until Micros,
) periodDraft {
	soFar := until != Future
	start, end, _, _ := s.around(b, start)
	t := s.termsFor(b, start)
	inv := s.newInvoice(PeriodInvoice, b, t, start, end)
	p := s.retained(b, start)
	in := s.lineInput(b, t)
	in.SoFar, in.Until = soFar, until
	in.Usage = usage
	in.Period = s.span(b, t, start)
	d := periodDraft{own: rateLines(in)}
	inv.Lines = d.own
	if start == b.next {
		inv.Adjustments = s.adjustments(b)
	}
	if !soFar {
		paid := s.advanceLines(b, start)
		if b.auto && start == b.From {
			inv.Lines = slices.Concat(paid, inv.Lines)
		} else if start == b.next && b.started {
			// The subscription's end may have moved since they were billed.
			inv.Adjustments = append(inv.Adjustments, s.differences(b, start, end, paid, b.paid)...)
		}
		if end < b.To {
			d.ahead = s.advanceLines(b, end)
			inv.Lines = slices.Concat(inv.Lines, d.ahead)
		}
	}
	if len(inv.Lines)+len(inv.Adjustments) > 0 || p >= 0 && s.periods.at(p).rows > 0 {
		s.sum(inv, b, credits)
		d.invoice = inv
	}
	return d
}

// advanceLines returns the flat amounts that are billed in advance for the period from start.
func (s *state) advanceLines(b *sub, start Micros) []Line {
	t := s.termsFor(b, start)
	in := s.lineInput(b, t)
	in.Next = s.span(b, t, start)
	return rateLines(in)
}

// span is the period that begins at start, as lines see it.
func (s *state) span(b *sub, t *terms, start Micros) lineSpan {
	begin, end, fullStart, fullEnd := s.around(b, start)
	return lineSpan{
		Prices: t.prices, Start: begin, End: end, FullStart: fullStart, FullEnd: fullEnd,
		Coupons: s.percentsOf(b, begin), Trial: begin < b.Trial,
	}
}

// draftCorrection returns the last document of an ended subscription, nil if nothing came late.
func (s *state) draftCorrection(b *sub, last int32) *Invoice {
	p := s.periods.at(last)
	inv := s.newInvoice(CorrectionInvoice, b, s.terms[p.terms], p.start, p.end)
	inv.Adjustments = s.adjustments(b)
	if len(inv.Adjustments) == 0 {
		return nil
	}
	s.sum(inv, b, s.accounts.at(b.account).credits)
	return inv
}

func (s *state) newInvoice(kind DocumentKind, b *sub, t *terms, start, end Micros) *Invoice {
	a := s.accounts.at(b.account)
	z := s.zones[a.zone]
	return &Invoice{
		Kind: kind, Account: a.id, AccountName: a.name, Subscription: b.Key,
		Plan: t.plan.Key, Version: t.plan.Version, Currency: t.plan.Currency,
		Digits: t.plan.Digits, Zone: z.Name, Start: start, End: end, StartDate: z.dateText(start),
		rounding: t.plan.Rounding,
	}
}

func (s *state) lineInput(b *sub, t *terms) lineInput {
	return lineInput{
		Zone:   s.zones[s.accounts.at(b.account).zone],
		Digits: t.plan.Digits, Rounding: t.plan.Rounding, Meters: s.meters, Until: Future,
	}
}

// ownLines rates a kept period alone.
func (s *state) ownLines(b *sub, p int32) []Line {
	t := s.terms[s.periods.at(p).terms]
	in := s.lineInput(b, t)
	in.Usage = s.usage(b, t, s.periods.at(p).start)
	in.Period = s.span(b, t, s.periods.at(p).start)
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
	return s.differences(b, p.start, p.end, s.ownLines(b, index), p.booked)
}

// differences returns what lines of the period [start, end) are now against what was booked.
func (s *state) differences(b *sub, start, end Micros, lines []Line, was []booked) []Adjustment {
	var out []Adjustment
	add := func(
		price, code string, group []GroupValue, q decimal.Rat, rated, was decimal.Amount,
	) {
		if rated == was {
			return
		}
		out = append(out, Adjustment{
			Start: start, End: end, Price: price, Group: group, Quantity: q, Rated: rated,
			StartDate: s.zones[s.accounts.at(b.account).zone].dateText(start),
			Booked:    was, Amount: rated.Sub(was), TaxCode: code,
		})
	}
	places := make(map[string]int, len(was)) // groups may be many thousand
	for j := len(was) - 1; j >= 0; j-- {
		places[was[j].key] = j
	}
	seen := make([]bool, len(was))
	for i := range lines {
		l := &lines[i]
		var before decimal.Amount
		if j, found := places[lineKey(l.Price, l.Group)]; found {
			before, seen[j] = was[j].amount, true
		}
		add(l.Price, l.TaxCode, l.Group, l.Quantity, l.Amount, before)
	}
	for j := range was {
		if o := &was[j]; !seen[j] {
			add(o.price, s.taxCode(b, start, o.price), o.group, decimal.Rat{}, decimal.Amount{}, o.amount)
		}
	}
	return out
}

// taxCode returns the code of a price of the period that begins at start.
func (s *state) taxCode(b *sub, start Micros, price string) string {
	prices := s.termsFor(b, start).prices
	if i := slices.IndexFunc(prices, func(p Price) bool { return p.Key == price }); i >= 0 {
		return prices[i].TaxCode
	}
	return ""
}

// sum totals an invoice: coupons come off, then credits, and taxes are on what is left.
func (s *state) sum(inv *Invoice, b *sub, credits []credit) {
	for i := range inv.Lines {
		inv.Subtotal = inv.Subtotal.Add(inv.Lines[i].Amount)
	}
	for i := range inv.Adjustments {
		inv.Subtotal = inv.Subtotal.Add(inv.Adjustments[i].Amount)
	}
	if inv.Kind == PeriodInvoice {
		s.takeCoupons(inv, b)
	}
	inv.Total = inv.Subtotal
	for _, i := range creditOrder(credits) {
		c := &credits[i]
		if c.Currency != inv.Currency || c.left.Sign() <= 0 || inv.Total.Sign() <= 0 ||
			c.Expires != 0 && inv.Dated() >= c.Expires {
			continue
		}
		use := lesser(c.left, inv.Total)
		inv.Credits = append(inv.Credits, CreditUse{ID: c.ID, Amount: use})
		inv.Total = inv.Total.Sub(use)
	}
	s.tax(inv, b, inv.rounding)
}

// creditOrder returns in which order credits are used: by priority, then those that expire first,
// then by grant.
func creditOrder(credits []credit) []int {
	order := make([]int, len(credits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		x, y := &credits[i], &credits[j]
		if x.Expires != y.Expires && (x.Expires == 0 || y.Expires == 0) && x.Priority == y.Priority {
			return one(x.Expires == 0) - one(y.Expires == 0)
		}
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), cmp.Compare(x.Expires, y.Expires))
	})
	return order
}

// usage returns the folds of the period that begins at start, by meter and group, and the levels
// that go on from before it. Of a period that was forgotten there are none.
func (s *state) usage(b *sub, t *terms, start Micros) []Usage {
	p := s.retained(b, start)
	if p < 0 && start < b.next {
		return nil
	}
	var levels []level
	if t.levels {
		levels = s.levelsInto(b, t, start)
	}
	return s.foldsBy(p, t, levels, s.foldOf)
}

// foldOf returns the fold of a series.
func (s *state) foldOf(i int32) Fold {
	r := s.series.at(i)
	return Fold{Rows: r.Rows, Value: r.Value, Samples: s.samples(r)}
}

// foldsBy returns the folds of a period, none for -1, with the levels that it begins with. Of which
// rows a series consists, fold decides.
func (s *state) foldsBy(p int32, t *terms, levels []level, fold func(series int32) Fold) []Usage {
	out := s.unsortedFolds(p, t, levels, fold)
	slices.SortFunc(out, compareUsage)
	return out
}

// unsortedFolds returns the folds in the order of the period's list of series, without those that
// have no rows, and then the levels that go on.
func (s *state) unsortedFolds(
	p int32, t *terms, levels []level, fold func(series int32) Fold,
) []Usage {
	if p < 0 && len(levels) == 0 {
		return nil
	}
	first := int32(-1)
	if p >= 0 {
		first = s.periods.at(p).first
	}
	rows, dims := len(levels), 0
	for i := range levels {
		dims += len(s.groups[levels[i].group])
	}
	for i := first; i >= 0; i = s.series.at(i).next {
		rows++
		dims += len(s.groups[s.series.at(i).group])
	}
	out := make([]Usage, 0, rows)
	values := make([]GroupValue, 0, dims) // of all groups: this is done for every account
	add := func(meter, group int32, f Fold) {
		u := Usage{Meter: s.meters[meter], Fold: f, Each: t.rates(meter)}
		if group != 0 {
			from := len(values)
			values = s.appendGroup(values, u.Meter, group)
			u.Group = values[from:len(values):len(values)]
		}
		out = append(out, u)
	}
	for i := first; i >= 0; i = s.series.at(i).next {
		if f := fold(i); f.Rows > 0 { // all of its rows may have been taken back
			r := s.series.at(i)
			f.Carried = takeLevel(levels, r.meter, r.group)
			add(r.meter, r.group, f)
		}
	}
	for i := range levels {
		l := levels[i]
		if c := takeLevel(levels, l.meter, l.group); c != nil {
			add(l.meter, l.group, Fold{Carried: c})
		}
	}
	return out
}

func (s *state) appendGroup(out []GroupValue, m *Meter, group int32) []GroupValue {
	for i, id := range s.groups[group] {
		out = append(out, GroupValue{Dim: m.GroupBy[i].Name, Value: s.values[id], Absent: id == 0})
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
