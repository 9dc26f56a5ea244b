package engine

import (
	"slices"

	"billctl/engine/decimal"
)

// Matcher tells which rows count for one line of a period: those from which its quantity comes. It
// is for one goroutine.
type Matcher struct {
	price   *Price
	meter   *Meter
	group   []GroupValue // of the line
	owners  []Ownership
	start   Micros
	end     Micros
	counts  func(seq Seq) bool // a row at a position reached the subscription
	batch   *Batch
	bound   bound
	dims    []bound // the values of the meter's dimensions
	ownerAt [][]Ownership
	typeIs  []bool
	usage   Usage
}

// Matcher returns a matcher for a line (LineKey) of the open or kept period of a subscription that
// begins at an instant; nil if there is no such line, or if it is of no meter.
func (v *View) Matcher(account, subscription string, start Micros, line string) *Matcher {
	s, b := v.subscription(account, subscription, start)
	if b == nil {
		return nil
	}
	t := s.termsFor(b, start)
	in := s.lineInput(b, t)
	in.Usage, in.Period = s.usage(b, t, start), s.span(b, t, start)
	lines := rateLines(in)
	i := slices.IndexFunc(lines, func(l Line) bool { return lineKey(l.Price, l.Group) == line })
	if i < 0 {
		return nil
	}
	j := slices.IndexFunc(t.prices, func(p Price) bool { return p.Key == lines[i].Price })
	if j < 0 || t.prices[j].Meter == "" {
		return nil
	}
	m := &Matcher{
		price: &t.prices[j], meter: v.Meter(t.prices[j].Meter), group: lines[i].Group,
		owners: s.accountState(b.account).Subjects,
	}
	m.start, m.end, _, _ = s.around(b, start)
	m.counts = func(seq Seq) bool {
		return b.since < seq && (!b.auto || s.countedFor(m.meter.Event, b.Plan, seq))
	}
	return m
}

// Meter returns the meter of the line.
func (m *Matcher) Meter() *Meter { return m.meter }

// Subjects returns the ownerships of the account: only their rows count.
func (m *Matcher) Subjects() []Ownership { return m.owners }

// Span returns the period: only rows with a time in [start, end) count.
func (m *Matcher) Span() (start, end Micros) { return m.start, m.end }

// Match reports whether an accepted row at a position counts for the line, and with what: the value
// that the meter reads (1 for Count, 0 for Unique) and the text of Unique. Rows of one batch are
// best asked for one after another.
func (m *Matcher) Match(seq Seq, b *Batch, row int) (value decimal.Decimal, text string, ok bool) {
	if m.batch != b {
		m.bind(b)
	}
	if t := b.Type.Index[row]; t == Absent || !m.typeIs[t] || !m.owned(b, row) || !m.counts(seq) {
		return decimal.Decimal{}, "", false
	}
	v, reason := m.bound.value(row)
	if reason != Accepted || !m.bound.passes(row) || !m.inGroup(row) {
		return decimal.Decimal{}, "", false
	}
	switch m.meter.Aggregate {
	case Count:
		v = decimal.FromInt(1)
	case Unique:
		text = m.bound.scalar(row)
	}
	return v, text, true
}

func (m *Matcher) bind(b *Batch) {
	m.batch = b
	m.bound = bound{meter: m.meter}
	for i := range m.meter.Where {
		m.bound.filters = append(m.bound.filters, bindFilter(b, &m.meter.Where[i]))
	}
	m.bound.bindValue(b)
	m.dims = m.dims[:0]
	for i := range m.meter.GroupBy {
		var d bound
		d.text, d.wide, d.number, d.flag = columnsOf(b, m.meter.GroupBy[i].Path)
		m.dims = append(m.dims, d)
	}
	m.usage = Usage{Meter: m.meter, Group: make([]GroupValue, len(m.dims))}
	m.typeIs = fill(m.typeIs, len(b.Type.Values), false)
	for i, t := range b.Type.Values {
		m.typeIs[i] = t == m.meter.Event
	}
	m.ownerAt = fill(m.ownerAt, len(b.Subject.Values), nil)
	for i, subject := range b.Subject.Values {
		for _, o := range m.owners {
			if o.Subject == subject {
				m.ownerAt[i] = append(m.ownerAt[i], o)
			}
		}
	}
}

// owned reports whether the account owned the row's subject at its time, in the period.
func (m *Matcher) owned(b *Batch, row int) bool {
	t, subject := b.Time[row], b.Subject.Index[row]
	return m.start <= t && t < m.end && subject != Absent &&
		slices.ContainsFunc(m.ownerAt[subject], func(o Ownership) bool {
			return o.From <= t && t < o.To
		})
}

// inGroup reports whether the row's dimensions are those that the line bills.
func (m *Matcher) inGroup(row int) bool {
	for i := range m.dims {
		g := GroupValue{Dim: m.meter.GroupBy[i].Name, Absent: true}
		if d := &m.dims[i]; d.hasScalar(row) {
			g.Value, g.Absent = d.scalar(row), false
		}
		m.usage.Group[i] = g
	}
	return m.price.covers(&m.usage) && !slices.ContainsFunc(m.group, func(g GroupValue) bool {
		return m.usage.value(g.Dim) != g
	})
}
