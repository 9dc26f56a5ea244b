package live

import (
	"fmt"
	"strings"
	"time"

	"billctl/engine"
	"billctl/formats"
)

// zoneReach is how far the clocks of a time zone are from UTC at most.
const zoneReach = 14 * engine.Hour

// MonthReplay is where a replay of one month begins and ends.
type MonthReplay struct {
	Month   string   // "2026-04"
	Opening *Opening // to begin from; nil: the first entry
	Note    string   // why it is not the newest opening, or what that costs; "" if it is
	Started int      // first invoices, in advance, that were issued before the opening
	ends    engine.Micros
	before  *engine.View // the state of the opening
}

// Month returns where a replay of a month ("2026-04") has to begin to give all its invoices: at the
// newest opening of that month or one before it, unless a period of the month had closed by then.
// Without such an opening it is the first entry.
func (h *History) Month(month string) (*MonthReplay, error) {
	begin, err := time.Parse("2006-01", month)
	if err != nil {
		return nil, fmt.Errorf("read month %q: it is not written like 2026-04", month)
	}
	m := &MonthReplay{
		Month: month, ends: monthEnd(engine.Micros(begin.UnixMicro())) + zoneReach,
	}
	late := 0 // periods that had closed at the newest opening
	for i := len(h.openings) - 1; i >= 0; i-- {
		o := &h.openings[i]
		if o.Month > month || !h.holds(o.Seq+1, o.Seq+1) {
			continue
		}
		v, err := o.view()
		if err != nil {
			return nil, err
		}
		n, started := v.DecidedIn(month)
		if m.Opening == nil {
			m.Opening, m.before, m.Started, late = o, v, started, n
		}
		if n == 0 {
			m.Opening, m.before, m.Started = o, v, started
			m.Note = further(late, month)
			return m, nil
		}
	}
	switch {
	case m.Opening == nil:
	case h.holds(1, m.Opening.Seq):
		m.Opening, m.before, m.Started = nil, nil, 0
		m.Note = further(late, month)
	default:
		m.Note = fmt.Sprintf("%d periods of %s had closed before the opening at position %d, and what "+
			"lies before it is not there: their invoices can't be given", late, month, m.Opening.Seq)
	}
	return m, nil
}

// further says why a replay does not begin at the newest opening.
func further(late int, month string) string {
	if late == 0 {
		return ""
	}
	return fmt.Sprintf("%d periods of %s had closed before the newest opening: the replay begins "+
		"further back", late, month)
}

// Until reports whether every period that begins in the month has closed: in the last time zone,
// and with the grace that is in force. Invoices of the month may come later all the same: of a
// subscription that is told of only then, or corrections. Who needs all of them reads to the end.
func (m *MonthReplay) Until(v *engine.View) bool {
	return v.Standing().Watermark >= m.ends+v.Settings().Grace
}

// Has reports whether a document belongs to the month: whether its period begins in it.
func (m *MonthReplay) Has(startDate string) bool { return strings.HasPrefix(startDate, m.Month) }

// issuedBefore reports whether a document was issued before the replay begins. Of a correction it
// is not known, but it may have been if its period had closed.
func (m *MonthReplay) issuedBefore(k *documentKey) bool {
	kind := k.kind
	if kind == engine.CorrectionInvoice {
		kind = engine.PeriodInvoice
	}
	return m.before != nil && m.before.Issued(k.account, k.subscription, k.date, kind)
}

// holds reports whether the positions from first to last are all there.
func (h *History) holds(first, last engine.Seq) bool {
	next := first
	for i := range h.parts {
		if p := &h.parts[i]; p.First <= next && next <= p.Last {
			next = p.Last + 1
		}
	}
	if next > last {
		return true
	}
	if h.dir == nil {
		return false
	}
	segments, err := h.dir.Segments()
	return err == nil && len(segments) > 0 && segments[0].First <= next
}

// view returns the state that an opening holds, without its keys: enough to ask, not to go on.
func (o *Opening) view() (*engine.View, error) {
	r, err := openOpening(o.Name, o.open)
	if err != nil {
		return nil, err
	}
	defer r.Close() // read only
	s := NewShards(1)
	first := true
	err = r.Records(func(record []byte) error {
		if err := s.restoreRecord(record, first); err != nil {
			return &formats.FileError{
				Name: o.Name, Group: -1, Row: -1, Reason: err.Error(),
				Hint: "restore the opening from a copy, or replay without it from the first entry",
			}
		}
		first = false
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.restored()
	return s.Pin(), nil
}
