package live

import (
	"context"
	"errors"
	"sync"

	"billctl/engine"
)

// UseFilter names a line of a period, and which of its uses are wanted.
type UseFilter struct {
	Account, Subscription string
	Start                 engine.Micros // of the period, which is open or kept
	Line                  string        // engine.LineKey
	Before                engine.Seq    // only uses before this position; 0: all
	Limit                 int           // 0: no limit
}

// Use is a row that counts for a line, or that did until it was corrected.
type Use struct {
	Row
	Value string // that the meter takes; "1" where it counts
}

// Counts reports whether the row counts now.
func (u *Use) Counts() bool { return u.CorrectedBy == nil }

// ErrNoLine says that a period has no such line with usage, or that there is no such period.
var ErrNoLine = errors.New("there is no such line")

// Uses returns the rows that count for a line of a view, by falling Seq, and whether there are
// more. It reads back to the arrival of the period's first possible row, and no further. ErrNoLine,
// ErrNoRows.
func (d *Desk) Uses(
	ctx context.Context, v *engine.View, f UseFilter,
) (uses []Use, more bool, err error) {
	m := v.Matcher(f.Account, f.Subscription, f.Start, f.Line)
	if m == nil {
		return nil, false, ErrNoLine
	}
	stamp := v.Stamp(f.Account)
	if page, known := d.kept.uses.find(f, stamp); known {
		return page.uses, page.more, nil
	}
	if err := d.beginRows(ctx); err != nil {
		return nil, false, err
	}
	b := d.newBackScan()
	texts := subjectTexts(m.Subjects())
	b.looks = func(payload []byte) bool { return mayHold(payload, texts) }
	b.floor = f.Start - v.Settings().MaxFuture - engine.OneDay // as correctableSince
	b.pick = func(e *engine.Entry, most int) ([]foundRow, error) {
		return f.pick(m, b.verdicts, e, most)
	}
	if f.Limit > 0 {
		b.most = f.Limit + 1
	}
	to := v.Standing().Seq
	if f.Before != 0 {
		to = min(to, f.Before-1)
	}
	if err := b.run(ctx, to); err != nil {
		return nil, false, err
	}
	if more = f.Limit > 0 && len(b.found) > f.Limit; more {
		b.found = b.found[:f.Limit]
	}
	rows, err := d.showRows(ctx, v, b.found)
	if err != nil {
		return nil, false, err
	}
	for i := range rows {
		uses = append(uses, Use{rows[i], b.found[i].value})
	}
	d.kept.uses.keep(f, usesPage{stamp, uses, more})
	return uses, more, nil
}

// pick returns the rows of an entry that count for a line, or did, the last first, at most so many;
// 0: all.
func (f *UseFilter) pick(
	m *engine.Matcher, v *verdicts, e *engine.Entry, most int,
) (list []foundRow, err error) {
	var b *engine.Batch
	switch body := e.Body.(type) {
	case *engine.Batch:
		b = body
	case *engine.Void:
		b = body.Amend
	}
	if b == nil {
		return nil, nil
	}
	var rejected []engine.Rejection
	asked := false
	for row := b.Len - 1; row >= 0 && (most == 0 || len(list) < most); row-- {
		seq := e.Seq + engine.Seq(row)
		if f.Before != 0 && seq >= f.Before { // it may lie in the middle of a batch
			continue
		}
		value, text, ok := m.Match(seq, b, row)
		if !ok {
			continue
		}
		if !asked {
			if rejected, err = v.of(e.Seq); err != nil {
				return nil, err
			}
			asked = true
		}
		if reasonIn(rejected, seq) != engine.Accepted {
			continue
		}
		if m.Meter().Aggregate != engine.Unique {
			text = value.String()
		}
		list = append(list, foundRow{entry: e, row: row, value: text})
	}
	return list, nil
}

// usesKept remembers pages of uses as long as the account's figures stay: somebody who looks on
// asks for them again and again, and an account with little usage has it far apart.
type usesKept struct {
	mu    sync.Mutex
	pages map[UseFilter]usesPage
}

type usesPage struct {
	stamp uint64 // engine.View.Stamp
	uses  []Use
	more  bool
}

// maxUsesPages bounds what usesKept remembers.
const maxUsesPages = 16

func (k *usesKept) find(f UseFilter, stamp uint64) (usesPage, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, known := k.pages[f]
	return p, known && p.stamp == stamp
}

func (k *usesKept) keep(f UseFilter, p usesPage) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.pages[f]; !known && len(k.pages) >= maxUsesPages || k.pages == nil {
		k.pages = map[UseFilter]usesPage{}
	}
	k.pages[f] = p
}
