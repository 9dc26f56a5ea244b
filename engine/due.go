package engine

import "slices"

// due is something that a watermark brings about for one subscription.
type due struct {
	at      Micros // the watermark that brings it about
	end     Micros // of the period; a start invoice's: the subscription's From
	account string
	key     string // of the subscription
	kind    DocumentKind
	sub     int32
}

// dueHeap is a binary heap by byWatermark.
type dueHeap struct{ items []due }

// byWatermark is the order of what waits, and so of documents: one watermark that brings about many
// issues them as many watermarks would have, one after the other.
func byWatermark(a, b *due) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.end != b.end:
		return a.end < b.end
	case a.account != b.account:
		return a.account < b.account
	case a.key != b.key:
		return a.key < b.key
	case a.kind != b.kind:
		return kindOrder(a.kind) < kindOrder(b.kind)
	}
	return a.sub < b.sub
}

// kindOrder puts a start invoice before the period's, and corrections last.
func kindOrder(k DocumentKind) int {
	return slices.Index([]DocumentKind{StartInvoice, PeriodInvoice, CorrectionInvoice}, k)
}

func (h *dueHeap) push(d due) {
	h.items = append(h.items, d)
	for i := len(h.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if !byWatermark(&h.items[i], &h.items[parent]) {
			return
		}
		h.items[i], h.items[parent] = h.items[parent], h.items[i]
		i = parent
	}
}

func (h *dueHeap) pop() due {
	top, last := h.items[0], len(h.items)-1
	h.items[0] = h.items[last]
	h.items[last] = due{}
	h.items = h.items[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if byWatermark(&h.items[child], &h.items[least]) {
				least = child
			}
		}
		if least == i {
			return top
		}
		h.items[i], h.items[least] = h.items[least], h.items[i]
		i = least
	}
}

// schedule makes the subscription wait for its next document.
func (e *Engine) schedule(index int32) {
	if d, ok := e.waitsFor(index); ok {
		e.due.push(d)
	}
}

// waitsFor returns what the subscription waits for next, false if nothing.
func (e *Engine) waitsFor(index int32) (due, bool) {
	b := e.subs.at(index)
	d := due{account: e.accounts.at(b.account).id, key: b.Key, sub: index}
	switch {
	case !b.started:
		d.kind, d.end, d.at = StartInvoice, b.From, b.From
	case b.next < b.To:
		_, end, _, _ := e.around(b, b.next)
		d.kind, d.end, d.at = PeriodInvoice, end, end.plus(e.settings.Grace)
	default:
		last := e.retained(b, e.lastStart(b))
		if last < 0 {
			return d, false
		}
		p := e.periods.at(last)
		d.kind, d.end, d.at = CorrectionInvoice, p.end, p.closedAt.plus(e.settings.Reopen)
	}
	return d, true
}

// lastStart returns the start of the newest retained period, Future if none is.
func (e *Engine) lastStart(b *sub) Micros {
	if b.newest < 0 {
		return Future
	}
	return e.periods.at(b.newest).start
}

// scheduleAll makes everything wait anew, after the settings changed or the state was restored.
func (e *Engine) scheduleAll() {
	e.due.items, e.retire.items = e.due.items[:0], e.retire.items[:0]
	for i := range e.subs.len() {
		e.schedule(i)
		for p := e.subs.at(i).newest; p >= 0; p = e.periods.at(p).older {
			if e.periods.at(p).closedAt != Past {
				e.scheduleRetire(p)
			}
		}
	}
}

func (e *Engine) scheduleRetire(p int32) {
	e.retire.push(due{at: e.periods.at(p).end.plus(e.settings.Horizon), sub: p})
}
