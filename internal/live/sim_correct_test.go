package live

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/fixtures"
	"billctl/internal/store"
)

// simCase returns the case of a world, of either ruleset. The oracle says whether it is billed
// right, so it has no odd corrections; few have days as periods, since these take long.
func simCase(seed uint64) *fixtures.Case {
	may := fixtures.AllFeatures &^ fixtures.WithOddCorrections
	c, _ := fixtures.MeteredCase(seed, may)
	if daily(c) && seed%8 > 0 {
		c, _ = fixtures.MeteredCase(seed, may&^fixtures.WithIntervals)
	}
	last := c.Items[0].At + 120*engine.OneDay // an archive has a file a month, each is read again
	c.Items = slices.DeleteFunc(c.Items, func(i fixtures.Item) bool { return i.At > last })
	return c
}

// correct puts a control file with corrections of what the journal has, and perhaps a credit.
func (m *machine) correct() error {
	entries, err := readEntries(m.dir)
	if err != nil {
		return err
	}
	versions := m.versions(entries)
	if len(versions) == 0 {
		return nil
	}
	var bodies []engine.Body
	var names []string
	if m.rng.IntN(3) == 0 {
		bodies = append(bodies, m.grant(m.puts))
	}
	for range 4 + m.rng.IntN(6) {
		v := versions[max(0, len(versions)-1-m.rng.IntN(30))]
		if unlikely, err := m.unlikely(v); err != nil {
			return err
		} else if unlikely && m.rng.IntN(20) > 0 {
			continue
		}
		body := &engine.Void{Of: v.of, Row: v.row, Actor: "test"}
		body.Reason = fmt.Sprintf("%d of %d", len(bodies), m.puts)
		if m.rng.IntN(2) == 0 {
			amend := m.amended(v.event)
			body.Amend = amend.Batch(m.clock.wall)
			m.amends[body.Reason] = amend
		}
		bodies, names = append(bodies, body), append(names, body.Reason)
		m.corrected[v.of] = true
	}
	if len(bodies) == 0 {
		return nil
	}
	m.puts++
	file, _, err := m.dir.PutControl(EncodeControl(bodies...))
	if err != nil {
		return err
	}
	for _, name := range names { // from now on they must come to the journal
		m.promised[name] = file
	}
	m.note("put %d corrections", len(names))
	if m.rng.IntN(2) == 0 {
		return nil // it is found later
	}
	return m.r.readControls(m.clock.wall)
}

// unlikely reports whether a correction of the version will be rejected, as far as one can see.
func (m *machine) unlikely(v version) (bool, error) {
	_, rejected, err := m.r.st.Outbox.RejectionOf(v.of)
	return rejected || m.corrected[v.of], err
}

// refuse lets a control file go that was refused: the clock was set, and its credit has expired.
func (m *machine) refuse(file, _ string) {
	maps.DeleteFunc(m.promised, func(_, of string) bool { return of == file })
}

// kept checks that every correction came to the journal whose file was put, or that the file waits:
// a process may end before it looks for more.
func (m *machine) kept(dir *store.Dir, done map[string]bool) error {
	waiting, err := dir.Controls()
	if err != nil {
		return err
	}
	for _, reason := range slices.Sorted(maps.Keys(m.promised)) {
		if !done[reason] && !slices.Contains(waiting, m.promised[reason]) {
			return fmt.Errorf("correction %s was put and did not come", reason)
		}
	}
	return nil
}

func (m *machine) grant(n int) *engine.Credit {
	a := m.w.c.World.Accounts[m.rng.IntN(len(m.w.c.World.Accounts))]
	c := &engine.Credit{
		ID: fmt.Sprintf("put-%d", n), Account: a.ID, Actor: "test", Reason: "sim",
		Currency: []string{"EUR", "JPY"}[m.rng.IntN(2)], Priority: m.rng.IntN(2),
		Amount: decimal.AmountOf(int64(1 + m.rng.IntN(3000))),
	}
	if m.rng.IntN(2) == 0 {
		c.Expires = m.clock.wall + engine.Micros(20+m.rng.IntN(90))*engine.OneDay
	}
	return c
}

// version is a version of an event that may count.
type version struct {
	of    engine.Seq
	row   *engine.Batch
	event *fixtures.Event
}

// versions returns what corrections may take back: events with times of their own, and versions of
// these.
func (m *machine) versions(entries []*engine.Entry) []version {
	var out []version
	for _, e := range entries {
		switch b := e.Body.(type) {
		case *engine.Batch:
			for row := range b.Len {
				part, _ := b.Origin.Partition.At(row)
				l := m.w.line(part, b.Origin.Offset[row])
				_, whole := b.Source.At(row)
				if l == nil || l.event.Malformed || l.event.Defaulted || !whole {
					continue
				}
				seq := e.Seq + engine.Seq(row)
				out = append(out, version{seq, engine.OneRow(b, row), l.event})
			}
		case *engine.Void:
			if b.Amend != nil {
				out = append(out, version{e.Seq, b.Amend, m.amends[b.Reason]})
			}
		}
	}
	return out
}

// amended returns another version of an event, with what another one carries. It is not of a later
// day.
func (m *machine) amended(e *fixtures.Event) *fixtures.Event {
	out := *e
	for range 8 {
		item := m.w.c.Items[m.rng.IntN(len(m.w.c.Items))]
		if o, ok := item.Body.(*fixtures.Event); ok && !o.Malformed {
			out.Type, out.Props = o.Type, o.Props
			break
		}
	}
	if m.rng.IntN(3) == 0 {
		out.Time -= engine.Micros(m.rng.Int64N(int64(5 * engine.OneDay)))
	}
	return &out
}

// corrects reports whether a world has corrections. What is billed then depends on when they come.
func corrects(r *rand.Rand, c *fixtures.Case) bool { return rulesetOf(c) > 1 && r.IntN(2) == 0 }
