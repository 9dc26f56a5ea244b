package live

import (
	"context"
	"slices"
	"sync"

	"billctl/engine"
)

// kept is what a desk remembers between questions: what was read of files that never change.
type kept struct {
	corrections correctionLog
	uses        usesKept
	documents   documentIndex
	openings    openingsKept
	seal        sealKept
}

// correctionLog knows the corrections of a range of positions: a correction may lie far behind the
// row that it corrects, and nobody wants to look for it twice.
type correctionLog struct {
	mu        sync.Mutex
	low, high engine.Seq                   // of the range; 0: it is empty
	seqs      []engine.Seq                 // of all corrections in it, rising
	of        map[engine.Seq][]*Correction // the accepted ones, by what they correct
	texts     map[string]string            // actors and reasons: many corrections have the same
}

// corrections returns the function that tells which correction took a row back or changed it, as a
// view has it, for rows from a position on.
func (d *Desk) corrections(
	ctx context.Context, v *engine.View, from engine.Seq,
) (of func(engine.Seq) *Correction, err error) {
	end, total := v.Standing().Seq, 0
	for _, c := range v.Controls() {
		if c.Source.Name == engine.Corrections {
			total = int(c.Read)
		}
	}
	l := &d.kept.corrections
	l.mu.Lock()
	defer l.mu.Unlock()
	if missing := total - l.count(end); missing > 0 && l.high < end {
		low := l.high + 1
		if l.high == 0 {
			low, l.low = from, from
		}
		if err := l.read(ctx, d, end, low, missing); err != nil {
			return nil, err
		}
		l.high = end
	}
	if missing := total - l.count(end); missing > 0 && from < l.low {
		if err := l.read(ctx, d, l.low-1, from, missing); err != nil {
			return nil, err
		}
		l.low = from
	}
	if l.count(end) == total && l.high != 0 {
		l.low, l.high = 1, max(l.high, end)
	}
	return func(seq engine.Seq) *Correction {
		l.mu.Lock()
		defer l.mu.Unlock()
		var last *Correction
		for _, c := range l.of[seq] {
			if c.Seq <= end && (last == nil || c.Seq > last.Seq) {
				last = c
			}
		}
		return last
	}, nil
}

// count returns how many corrections up to a position are known.
func (l *correctionLog) count(end engine.Seq) int {
	n, found := slices.BinarySearch(l.seqs, end)
	if found {
		n++
	}
	return n
}

// read takes in the corrections from a position back to another, at most so many: all that are not
// known. Nothing is taken in where it fails.
func (l *correctionLog) read(
	ctx context.Context, d *Desk, to, low engine.Seq, missing int,
) error {
	b := d.newBackScan()
	b.from(low)
	b.singles, b.most = true, missing
	b.pick = func(e *engine.Entry, _ int) ([]foundRow, error) {
		if _, ok := e.Body.(*engine.Void); !ok {
			return nil, nil
		}
		rejected, err := b.verdicts.of(e.Seq)
		return []foundRow{{entry: e, reason: reasonIn(rejected, e.Seq)}}, err
	}
	if err := b.run(ctx, to); err != nil {
		return err
	}
	for i := range b.found {
		l.add(&b.found[i])
	}
	slices.Sort(l.seqs)
	return nil
}

func (l *correctionLog) add(f *foundRow) {
	void := f.entry.Body.(*engine.Void)
	l.seqs = append(l.seqs, f.entry.Seq)
	if f.reason != engine.Accepted {
		return
	}
	if l.of == nil {
		l.of, l.texts = map[engine.Seq][]*Correction{}, map[string]string{}
	}
	l.of[void.Of] = append(l.of[void.Of], &Correction{
		f.entry.Seq, f.entry.At, void.Amend != nil, l.text(void.Actor), l.text(void.Reason),
	})
}

func (l *correctionLog) text(s string) string {
	if known, ok := l.texts[s]; ok {
		return known
	}
	l.texts[s] = s
	return s
}
