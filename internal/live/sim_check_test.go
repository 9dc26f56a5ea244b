package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// check holds the end of a simulation against what must be so: every line stands in the journal
// once; its outcome and all documents are those of the oracle; every document is at every sink
// once, in order per account; a replay finds no difference; and every answer that was given is what
// the journal gives at that position.
func (m *machine) check() error {
	dir, err := store.Open(m.fs, m.options)
	if err != nil {
		return err
	}
	entries, err := readEntries(dir)
	if err != nil {
		return err
	}
	items, seqs, err := m.items(dir, entries)
	if err != nil {
		return err
	}
	bills, err := fixtures.Bill(m.w.c.World, items)
	if err != nil {
		return err
	}
	var got []string
	history, err := OpenHistory(dir)
	if err != nil {
		return fmt.Errorf("open history: %w", err)
	}
	audit, err := Replay(context.Background(), history, ReplayOptions{
		Shards: 3,
		Emit: func(_ *engine.Entry, inv *engine.Invoice) error {
			got = append(got, fixtures.InvoiceText(inv))
			return nil
		},
	})
	if err == nil {
		err = audit.Diverged
	}
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	if audit.Outbox != audit.Documents || audit.Seals == 0 {
		return fmt.Errorf("replay compared %d of %d documents, %d seals", audit.Outbox,
			audit.Documents, audit.Seals)
	}
	var want []string
	for i := range bills.Invoices {
		want = append(want, bills.Invoices[i].Text())
	}
	if err := firstDifference("invoice", got, want); err != nil {
		return err
	}
	m.figures[figDocuments] += len(want)
	m.figures[figRows] += m.w.lines
	m.countCorrections(items, bills)
	m.final = &finalState{entries: entries, billing: audit.Billing, documents: map[string][]string{}}
	return errors.Join(
		m.checkArchive(dir, audit),
		m.checkOutcomes(dir, audit.View, bills, seqs), m.checkSinks(dir, audit), m.checkAnswers(entries),
		dir.Close())
}

func (m *machine) countCorrections(items []fixtures.Item, bills *fixtures.Bills) {
	for i, item := range items {
		v, ok := item.Body.(fixtures.Void)
		switch {
		case !ok:
		case bills.Reasons[i] != engine.Accepted:
			m.figures[figUncorrected]++
		case v.Amend != nil:
			m.figures[figAmended]++
		default:
			m.figures[figTakenBack]++
		}
	}
}

func firstDifference(what string, got, want []string) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%s %d is missing: %s", what, i, want[i])
		case i >= len(want):
			return fmt.Errorf("%s %d is too much: %s", what, i, got[i])
		case got[i] != want[i]:
			return fmt.Errorf("%s %d is %s\nwant %s", what, i, got[i], want[i])
		}
	}
	return nil
}

func readEntries(dir *store.Dir) ([]*engine.Entry, error) {
	var entries []*engine.Entry
	r := journalOf(dir).Read(1)
	defer r.Close() // read only
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

// items returns the journal as the oracle reads it, and the position of each item.
func (m *machine) items(
	dir *store.Dir, entries []*engine.Entry,
) ([]fixtures.Item, []engine.Seq, error) {
	var items []fixtures.Item
	var seqs []engine.Seq
	next := map[string]int64{}
	rows := 0
	add := func(e *engine.Entry, row int, body fixtures.Body) {
		items = append(items, fixtures.Item{At: e.At, Body: body})
		seqs = append(seqs, e.Seq+engine.Seq(row))
	}
	at := map[engine.Seq]int{} // of the items that may be corrected
	done := map[string]bool{}
	for _, e := range entries {
		switch b := e.Body.(type) {
		case *engine.Credit:
			add(e, 0, fixtures.Grant{Credit: *b})
		case *engine.Void:
			if done[b.Reason] {
				return nil, nil, fmt.Errorf("entry %d: correction %s came before", e.Seq, b.Reason)
			}
			done[b.Reason] = true
			at[e.Seq] = len(items)
			add(e, 0, fixtures.Void{Of: at[b.Of], Amend: m.amends[b.Reason]})
		case *engine.Watermark:
			add(e, 0, fixtures.Watermark{W: b.W})
		case *engine.Close:
			add(e, 0, fixtures.Close{T: b.T})
		case *engine.Batch:
			for row := range b.Len {
				part, _ := b.Origin.Partition.At(row)
				l := m.w.line(part, b.Origin.Offset[row])
				if l == nil || l.at != next[part] {
					return nil, nil, fmt.Errorf("entry %d: row %d of %s is read at %d, want %d", e.Seq,
						row, part, b.Origin.Offset[row], next[part])
				}
				next[part] += int64(len(l.text))
				event := *l.event
				if event.Defaulted {
					event.Time = b.Time[row]
				}
				at[e.Seq+engine.Seq(row)] = len(items)
				add(e, row, &event)
				rows++
			}
		}
	}
	if rows != m.w.lines {
		return nil, nil, fmt.Errorf("%d rows in the journal, want %d", rows, m.w.lines)
	}
	return items, seqs, m.kept(dir, done)
}

// checkOutcomes compares the reason of every row and the control totals.
func (m *machine) checkOutcomes(
	dir *store.Dir, v *engine.View, bills *fixtures.Bills, seqs []engine.Seq,
) error {
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return err
	}
	defer outbox.Close() // nothing was written
	for i, want := range bills.Reasons {
		got, _, err := outbox.RejectionOf(seqs[i])
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("entry %d is %v, want %v", seqs[i], got, want)
		}
	}
	var read, counts [engine.NumReasons]uint64
	for _, c := range v.Controls() {
		if c.Source.Name == engine.Corrections {
			for r, n := range bills.Corrections {
				if c.Counts[r] != uint64(n) {
					return fmt.Errorf("control total of corrections that are %v is %d, want %d",
						engine.Reason(r), c.Counts[r], n)
				}
			}
			continue
		}
		read[0] += c.Read
		for r, n := range c.Counts {
			counts[r] += n
		}
	}
	for r, n := range bills.Control {
		if counts[r] != uint64(n) {
			return fmt.Errorf("control total of %v is %d, want %d", engine.Reason(r), counts[r], n)
		}
	}
	if read[0] != uint64(m.w.lines) {
		return fmt.Errorf("control total of read rows is %d, want %d", read[0], m.w.lines)
	}
	return v.CheckControls()
}

// checkSinks compares what sinks have with the outbox: documents and alerts, of an account in one
// order.
func (m *machine) checkSinks(dir *store.Dir, audit *Audit) error {
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return err
	}
	defer outbox.Close() // nothing was written
	order := map[string][]string{}
	bodies := map[string][]byte{}
	alerts := uint64(0)
	r := outbox.Read(0)
	defer r.Close() // read only
	for {
		rec, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !rec.Kind.Delivered() {
			continue
		}
		if bodies[rec.Key] != nil {
			return fmt.Errorf("%s stands in the outbox twice", rec.Key)
		}
		bodies[rec.Key] = bytes.Clone(rec.Body)
		order[rec.Account] = append(order[rec.Account], rec.Key)
		if rec.Kind == store.AlertRecord {
			alerts++
			continue
		}
		m.final.documents[rec.Account] = append(m.final.documents[rec.Account], string(rec.Body))
	}
	if alerts != audit.Alerts {
		return fmt.Errorf("%d alerts stand in the outbox, a replay gives %d", alerts, audit.Alerts)
	}
	m.figures[figAlerts] += int(alerts)
	for i, s := range m.sinks {
		m.figures[figAttempts] += s.attempts
		if len(s.faults) > 0 {
			return fmt.Errorf("sink %d: %v", i, s.faults)
		}
		for account, want := range order {
			if !slices.Equal(s.order[account], want) {
				return fmt.Errorf("sink %d has of %s %v, want %v", i, account, s.order[account], want)
			}
		}
		for key, body := range s.bodies {
			if !bytes.Equal(body, bodies[key]) {
				return fmt.Errorf("sink %d has %s with other bytes than the outbox", i, key)
			}
		}
	}
	return nil
}

// checkAnswers compares every answer that was given with the journal at its position.
func (m *machine) checkAnswers(entries []*engine.Entry) error {
	s := NewShards(2)
	seen := m.seen
	for _, e := range entries {
		for len(seen) > 0 && seen[0].seq == s.Seq() {
			if seen[0].sum != sumOf(s.Pin()) {
				return fmt.Errorf("an answer at %d was taken back", seen[0].seq)
			}
			seen = seen[1:]
		}
		if err := s.Apply(e, func(*engine.Effects) error { return nil }); err != nil {
			return err
		}
	}
	for _, a := range seen {
		if a.seq != s.Seq() || a.sum != sumOf(s.Pin()) {
			return fmt.Errorf("an answer at %d was taken back", a.seq)
		}
	}
	return nil
}

// finalState is what a machine came to.
type finalState struct {
	entries   []*engine.Entry
	billing   engine.Digest
	documents map[string][]string // bytes by account, in order
}

// same compares two machines that had the same usage, in time. When documents are issued depends
// on the steps of the watermark: a start invoice may stand before or after a close that waits for
// its grace. What they say does not.
func (m *machine) same(o *machine) error {
	for account, want := range m.final.documents {
		got := o.final.documents[account]
		slices.Sort(want)
		slices.Sort(got)
		err := firstDifference("document of "+account, got, want)
		if err != nil {
			return fmt.Errorf("undisturbed it was another one: %w", err)
		}
	}
	if len(m.final.documents) != len(o.final.documents) {
		return errors.New("other accounts have documents than undisturbed")
	}
	if m.final.billing != o.final.billing {
		return errors.New("the billing digest is not that of an undisturbed run")
	}
	return nil
}
