package engine

import (
	"crypto/sha256"
	"slices"
)

func (e *Engine) applyWatermark(b *Watermark, fx *Effects) bool {
	if e.frozen {
		e.refuseGlobal(fx, "watermark: the clock is frozen")
		return false
	}
	if b.W <= e.watermark {
		return false
	}
	e.watermark = b.W
	e.alert(fx)
	if floor := b.W.plus(-e.settings.Horizon); floor > e.floor {
		e.floor = floor
		e.forgetKeys(DayOf(max(floor, MinTime)))
	}
	for len(e.due.items) > 0 && e.due.items[0].at <= e.watermark {
		e.ready.push(e.due.pop())
	}
	return e.closeReady(fx)
}

func (e *Engine) applyClose(b *Close, fx *Effects) bool {
	if e.frozen {
		e.refuseGlobal(fx, "close: the clock is frozen")
		return false
	}
	// A period that is not over can't close: its terms and usage are still to come.
	e.closeTo = min(b.T, e.at)
	e.alert(fx)
	waiting := e.due.items
	e.due.items = nil
	for _, d := range waiting {
		e.await(d)
	}
	return e.closeReady(fx)
}

// follow files what a subscription waits for after a document: it may be due at once, where one
// entry closes several periods.
func (e *Engine) follow(index int32) {
	if d, ok := e.waitsFor(index); ok {
		e.await(d)
	}
}

// await files what is due with the current entry under ready, and the rest under due.
func (e *Engine) await(d due) {
	if d.at <= e.watermark || d.kind != CorrectionInvoice && d.end <= e.closeTo {
		e.ready.push(d)
	} else {
		e.due.push(d)
	}
}

// forgetKeys forgets the keys of days that lie before the floor as a whole.
func (e *Engine) forgetKeys(d Day) {
	moved := e.moved(d)
	e.keys.Forget(d)
	n := 0
	for n < len(e.keyDays) && e.keyDays[n].day < d {
		n++
	}
	e.keyDays = slices.Delete(e.keyDays, 0, n)
	e.forgetVoided(d, moved)
}

// closeReady issues what is due, at most maxInvoices in one step.
func (e *Engine) closeReady(fx *Effects) (more bool) {
	limit := len(fx.Invoices) + maxInvoices
	for len(e.ready.items) > 0 {
		if len(fx.Invoices) >= limit {
			return true
		}
		d := e.ready.pop()
		switch d.kind {
		case StartInvoice:
			e.issueStart(&d, fx)
		case PeriodInvoice:
			e.issuePeriod(&d, fx)
		case CorrectionInvoice:
			e.issueCorrection(&d, fx)
		}
	}
	e.closeTo = Past
	e.dropRetired()
	return false
}

// issueStart issues the first flat amounts in advance, if there are any.
func (e *Engine) issueStart(d *due, fx *Effects) {
	if b := e.subs.at(d.sub); b.started || b.From != d.end {
		return // waits under another time since
	}
	e.subs.mut(d.sub).started = true
	b := e.subs.at(d.sub)
	inv := e.draftStart(b, e.accounts.at(b.account).credits)
	if inv != nil {
		e.subs.mut(d.sub).paid = bookedLines(inv.Lines)
	}
	e.book(d, inv, fx)
	e.follow(d.sub)
}

// issuePeriod closes the subscription's first open period.
func (e *Engine) issuePeriod(d *due, fx *Effects) {
	b := e.subs.at(d.sub)
	if !b.started || b.next >= b.To {
		return
	}
	start, end, _, _ := e.around(b, b.next)
	if end != d.end {
		return // the interval was cut or moved back since
	}
	a := e.accounts.at(b.account)
	draft := e.draftPeriod(b, start, a.credits, false)
	p := e.periodOf(d.sub, start, end)
	e.settle(d.sub)
	e.periods.mut(p).closedAt = max(e.watermark, end)
	e.periods.mut(p).booked = bookedLines(draft.own)
	m := e.subs.mut(d.sub)
	m.next, m.paid = end, bookedLines(draft.ahead)
	e.scheduleRetire(p)
	e.book(d, draft.invoice, fx)
	e.follow(d.sub)
}

// issueCorrection bills what came late to a subscription that has ended.
func (e *Engine) issueCorrection(d *due, fx *Effects) {
	b := e.subs.at(d.sub)
	last := e.retained(b, e.lastStart(b))
	if b.next < b.To || last < 0 || e.periods.at(last).end != d.end {
		return
	}
	inv := e.draftCorrection(b, last)
	e.settle(d.sub)
	if inv != nil { // a restored state asks once more, and must not forget
		e.subs.mut(d.sub).corrected = true
	}
	e.book(d, inv, fx)
}

// settle marks the adjustments of the subscription's closed periods as booked.
func (e *Engine) settle(index int32) {
	b := e.subs.at(index)
	for i := b.newest; i >= 0; i = e.periods.at(i).older {
		p := e.periods.at(i)
		if !p.dirty || p.closedAt == Past {
			continue
		}
		lines := e.ownLines(b, i)
		m := e.periods.mut(i)
		m.dirty, m.booked = false, bookedLines(lines)
	}
}

// book counts an invoice as issued, unless it says nothing, and uses up its credits.
func (e *Engine) book(d *due, inv *Invoice, fx *Effects) {
	b := e.subs.mut(d.sub)
	e.touch(e.accounts.at(b.account).bucket)
	if inv == nil {
		return
	}
	inv.due = *d
	b.issued++
	h := sha256.New()
	h.Write(b.history[:])
	h.Write(AppendInvoice(nil, inv))
	h.Sum(b.history[:0])
	e.useCredits(b.account, inv)
	fx.Invoices = append(fx.Invoices, inv)
}

func (e *Engine) useCredits(index int32, inv *Invoice) {
	if len(inv.Credits) == 0 {
		return
	}
	a := e.accounts.mut(index)
	a.credits = slices.Clone(a.credits)
	spend(a.credits, inv)
}

// dropRetired forgets closed periods that the floor has passed, unless late usage still waits for
// its adjustment, or the period for its correction.
func (e *Engine) dropRetired() {
	var kept []due
	for len(e.retire.items) > 0 && e.retire.items[0].at <= e.watermark {
		d := e.retire.pop()
		p := e.periods.at(d.sub)
		switch {
		case p.sub < 0 || p.end.plus(e.settings.Horizon) != d.at:
		case p.dirty, e.awaitsCorrection(d.sub):
			kept = append(kept, d)
		default:
			e.dropPeriod(d.sub)
		}
	}
	for _, d := range kept {
		e.retire.push(d)
	}
}

// awaitsCorrection reports whether the period is the last of a subscription that has ended, and its
// correction is still to come: that is found by its last period, also where an outage of the
// sources has put the close so late that the floor has passed the period before.
func (e *Engine) awaitsCorrection(index int32) bool {
	p := e.periods.at(index)
	b := e.subs.at(p.sub)
	return b.next >= b.To && b.newest == index &&
		e.watermark < p.closedAt.plus(e.settings.Reopen)
}

func bookedLines(lines []Line) []booked {
	out := make([]booked, len(lines))
	for i := range lines {
		l := &lines[i]
		out[i] = booked{lineKey(l.Price, l.Group), l.Price, l.Group, l.Amount}
	}
	return out
}

// CompareInvoices orders invoices of one entry as they are issued: by the watermark that brings
// them about, then by (end, account, subscription, kind). Shards are merged by it.
func CompareInvoices(a, b *Invoice) int {
	switch {
	case byWatermark(&a.due, &b.due):
		return -1
	case byWatermark(&b.due, &a.due):
		return 1
	}
	return 0
}
