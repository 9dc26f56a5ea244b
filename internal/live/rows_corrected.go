package live

import (
	"context"
	"slices"
	"strings"
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
	low, high engine.Seq                       // of the range; 0: it is empty
	seqs      []engine.Seq                     // of all corrections in it, rising
	of        map[countedVersion][]*Correction // the accepted ones, by what they take back
	texts     map[string]string                // many corrections have the same
}

// corrections returns the function that tells which correction took a row back or changed it, as a
// view has it, for rows from a position on: the first one of the version behind it.
func (d *Desk) corrections(
	ctx context.Context, v *engine.View, from engine.Seq,
) (of func(*Row) *Correction, err error) {
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
	return func(r *Row) *Correction {
		l.mu.Lock()
		defer l.mu.Unlock()
		var first *Correction
		for _, c := range l.of[r.counted()] {
			if r.Seq < c.Seq && c.Seq <= end && (first == nil || c.Seq < first.Seq) {
				first = c
			}
		}
		return first
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
		l.of, l.texts = map[countedVersion][]*Correction{}, map[string]string{}
	}
	version := countedBy(void)
	version.source, version.id = l.text(version.source), strings.Clone(version.id)
	l.of[version] = append(l.of[version], &Correction{
		f.entry.Seq, f.entry.At, void.Amend != nil, l.text(void.Actor), l.text(void.Reason),
	})
}

func (l *correctionLog) text(s string) string {
	if known, ok := l.texts[s]; ok {
		return known
	}
	s = strings.Clone(s) // not the whole entry
	l.texts[s] = s
	return s
}
