package live

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"billctl/engine"
	"billctl/engine/decimal"
)

// whatIfTally adds up the lines of documents. Both runs write to it.
type whatIfTally struct {
	mu     sync.Mutex
	places map[whatIfKey]int // of rows
	rows   []whatIfRow
	words  map[string]uint32 // of texts
	texts  []string
}

// whatIfKey identifies a line. Texts are numbered: they repeat in almost every row.
type whatIfKey struct {
	plan, account, subscription, line uint32
	start                             engine.Micros
}

type whatIfRow struct {
	whatIfKey
	price, currency uint32
	digits          int32
	amounts         [2]decimal.Amount
}

// invoice adds a document's lines and adjustments.
func (t *whatIfTally) invoice(run int, inv *engine.Invoice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := whatIfRow{currency: t.word(inv.Currency), digits: int32(inv.Digits)}
	row.plan, row.account = t.word(inv.Plan), t.word(inv.Account)
	row.subscription = t.word(inv.Subscription)
	for i := range inv.Lines {
		l := &inv.Lines[i]
		row.start = l.From
		t.add(run, row, l.Price, l.Group, l.Amount)
	}
	for i := range inv.Adjustments {
		a := &inv.Adjustments[i]
		row.start = a.Start
		t.add(run, row, a.Price, a.Group, a.Amount)
	}
}

func (t *whatIfTally) add(
	run int, row whatIfRow, price string, group []engine.GroupValue, a decimal.Amount,
) {
	row.line, row.price = t.word(engine.LineKey(price, group)), t.word(price)
	at, found := t.places[row.whatIfKey]
	if !found {
		at = len(t.rows)
		t.places[row.whatIfKey] = at
		t.rows = append(t.rows, row)
	}
	t.rows[at].amounts[run] = t.rows[at].amounts[run].Add(a)
}

// word numbers a text.
func (t *whatIfTally) word(s string) uint32 {
	n, found := t.words[s]
	if !found {
		n = uint32(len(t.texts))
		t.words[s] = n
		t.texts = append(t.texts, s)
	}
	return n
}

// lines puts the lines of the tally in order, with the dates of the accounts' zones.
func (w *whatIf) lines(views [2]*engine.View) {
	zones := map[string]*engine.Zone{}
	zoneOf := func(account string) *engine.Zone {
		if z := zones[account]; z != nil {
			return z
		}
		a, ok := views[runBilled].Account(account)
		if !ok {
			a, _ = views[runWould].Account(account)
		}
		zones[account] = w.zones[a.Zone]
		return zones[account]
	}
	t := &w.tally
	w.out.Lines = make([]WhatIfLine, 0, len(t.rows))
	for i := range t.rows {
		r := &t.rows[i]
		l := WhatIfLine{
			Plan: t.texts[r.plan], Account: t.texts[r.account], Subscription: t.texts[r.subscription],
			Start: r.start, StartDate: dateOf(zoneOf(t.texts[r.account]), r.start),
			Line: t.texts[r.line], Price: t.texts[r.price], Currency: t.texts[r.currency],
			Digits: int(r.digits), WhatIfAmounts: WhatIfAmounts{r.amounts[runBilled], r.amounts[runWould]},
		}
		if strings.HasPrefix(l.StartDate, w.o.Month) {
			w.out.Lines = append(w.out.Lines, l)
		}
	}
	slices.SortFunc(w.out.Lines, func(a, b WhatIfLine) int {
		return cmp.Or(
			cmp.Compare(a.Plan, b.Plan), cmp.Compare(a.Account, b.Account),
			cmp.Compare(a.Subscription, b.Subscription), cmp.Compare(a.Start, b.Start),
			cmp.Compare(a.Line, b.Line))
	})
}

// sums adds up the lines.
func (w *whatIf) sums() {
	out := w.out
	for i := range out.Lines {
		l := &out.Lines[i]
		out.Plans = addLine(out.Plans, l, WhatIfSum{Plan: l.Plan})
	}
	out.Accounts = sumsBy(out.Lines, func(l *WhatIfLine) string { return l.Account })
	out.Totals = sumsBy(out.Lines, func(*WhatIfLine) string { return "" })
}

// sumsBy sums lines by account and currency, in this order.
func sumsBy(lines []WhatIfLine, account func(*WhatIfLine) string) []WhatIfSum {
	order := make([]*WhatIfLine, len(lines))
	for i := range lines {
		order[i] = &lines[i]
	}
	slices.SortStableFunc(order, func(a, b *WhatIfLine) int {
		return cmp.Or(cmp.Compare(account(a), account(b)), cmp.Compare(a.Currency, b.Currency))
	})
	var out []WhatIfSum
	for _, l := range order {
		out = addLine(out, l, WhatIfSum{Account: account(l)})
	}
	return out
}

// addLine adds a line to the last sum, or to a new one if that is of something else.
func addLine(out []WhatIfSum, l *WhatIfLine, of WhatIfSum) []WhatIfSum {
	of.Currency, of.Digits = l.Currency, l.Digits
	n := len(out)
	if n == 0 || out[n-1].Plan != of.Plan || out[n-1].Account != of.Account ||
		out[n-1].Currency != of.Currency {
		out, n = append(out, of), n+1
	}
	s := &out[n-1]
	s.Lines++
	if l.Differs() {
		s.Differ++
	}
	s.Billed, s.Would = s.Billed.Add(l.Billed), s.Would.Add(l.Would)
	return out
}

// dateOf writes the start of a period as keys of documents have it.
func dateOf(z *engine.Zone, t engine.Micros) string {
	if year, month, day := z.Date(t); z.StartOfDay(year, month, day) == t {
		return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
	}
	return t.String()
}
