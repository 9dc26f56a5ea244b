package live

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
	"billctl/internal/store"
)

// DeliveryState is where a document stands with a sink.
type DeliveryState uint8

// The states of a delivery. The first three are open: the sink does not have the document.
const (
	DeliveryWaits     DeliveryState = iota // it was not sent yet
	DeliveryRetries                        // it was sent, and perhaps did not get there
	DeliveryParked                         // it is not sent again until a person says so
	DeliveryDelivered                      // the sink has it, or a person has resolved it
)

var deliveryStates = [...]string{"waiting", "retrying", "parked", "delivered"}

// String returns the name that answers use.
func (s DeliveryState) String() string { return deliveryStates[s] }

// DeliveryStates returns the names of all states.
func DeliveryStates() []string { return slices.Clone(deliveryStates[:]) }

// SinkDeliveries is how many of the documents that were ever issued a sink has.
type SinkDeliveries struct {
	Name      string
	Waiting   int64 // retried ones too
	Parked    int64
	Delivered int64
	LastError string // of the newest failed attempt since one succeeded, or of the last parked one
}

// DeliveryRow is one document and one sink.
type DeliveryRow struct {
	Sink     string
	Position int64 // of the document in the outbox
	Key      string
	Account  string
	Alert    bool // it is an alert and no invoice
	Seq      engine.Seq
	State    DeliveryState
	Attempts int    // 0 where the state is DeliveryDelivered: nobody counts them for ever
	Error    string // of the last attempt
}

// DeliveryFilter says which deliveries are wanted. Zero fields say nothing.
type DeliveryFilter struct {
	Sink  string
	State *DeliveryState
	After *DeliveryRow // what comes behind this one, by its Sink, Position and State
	Limit int          // 0: no limit
}

// cursorAt is a sink's cursor as it is read for one answer.
type cursorAt struct {
	SinkDeliveries
	store.CursorState
	errors map[int64]string // of documents that are tried again
}

// Deliveries returns how far every sink is, and the deliveries that pass the filter: first what is
// not delivered, by sink and then as it was issued, then the newest delivered. sinks are the names
// of the configured ones, for a desk without a process.
func (d *Desk) Deliveries(
	sinks []string, f DeliveryFilter,
) (list []SinkDeliveries, rows []DeliveryRow, more bool, err error) {
	cursors, err := d.cursors(sinks)
	if err != nil {
		return nil, nil, false, err
	}
	end := d.st.Outbox.Durable()
	sent, err := d.st.Outbox.Sent(end)
	if err != nil {
		return nil, nil, false, err
	}
	s := &deliveryScan{d: d, f: f, end: end}
	for i := range cursors {
		c := &cursors[i]
		before, err := d.st.Outbox.Sent(c.Done)
		if err != nil {
			return nil, nil, false, err
		}
		c.count(before, sent)
		list = append(list, c.SinkDeliveries)
	}
	if err := s.read(cursors); err != nil {
		return nil, nil, false, err
	}
	return list, s.rows, s.more, nil
}

// cursors reads what is known of every sink, by name.
func (d *Desk) cursors(sinks []string) ([]cursorAt, error) {
	var list []cursorAt
	if d.run != nil {
		for _, c := range d.run.couriers {
			at := cursorAt{CursorState: c.cursor.Snapshot()}
			at.Name = c.name
			at.LastError, at.errors = c.failures()
			list = append(list, at)
		}
	} else {
		for _, name := range sinks {
			state, err := d.st.Dir.ReadCursorState(name)
			if err != nil {
				return nil, err
			}
			at := cursorAt{CursorState: state}
			at.Name = name
			list = append(list, at)
		}
	}
	slices.SortFunc(list, func(a, b cursorAt) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// count counts the documents, of which so many are issued, and so many lie before Done.
func (c *cursorAt) count(before, issued int64) {
	done := before
	for i := range c.Known {
		switch k := &c.Known[i]; k.State {
		case store.Done:
			done++
		case store.Parked:
			c.Parked++
			if c.LastError == "" {
				c.LastError = k.Reason
			}
		}
	}
	c.Delivered = done
	c.Waiting = max(issued-done-c.Parked, 0)
}

// state returns where the document at a position stands.
func (c *cursorAt) state(pos int64) store.Delivery {
	i, known := slices.BinarySearchFunc(c.Known, pos, func(k store.Delivery, pos int64) int {
		return cmp.Compare(k.Position, pos)
	})
	switch {
	case known:
		return c.Known[i]
	case pos < c.Done:
		return store.Delivery{Position: pos, State: store.Done}
	}
	return store.Delivery{Position: pos}
}

// deliveryScan collects the deliveries of one answer.
type deliveryScan struct {
	d    *Desk
	f    DeliveryFilter
	end  int64 // of the outbox
	rows []DeliveryRow
	more bool
}

func (s *deliveryScan) read(cursors []cursorAt) error {
	var wanted []cursorAt
	for i := range cursors {
		if s.f.Sink == "" || s.f.Sink == cursors[i].Name {
			wanted = append(wanted, cursors[i])
		}
	}
	after := s.f.After
	open := s.f.State == nil || *s.f.State != DeliveryDelivered
	for i := range wanted {
		from := int64(0)
		if after != nil {
			if after.State == DeliveryDelivered || wanted[i].Name < after.Sink {
				continue
			}
			if wanted[i].Name == after.Sink {
				from = after.Position + 1
			}
		}
		if open && !s.more {
			if err := s.open(&wanted[i], from); err != nil {
				return err
			}
		}
	}
	if s.more || s.f.State != nil && *s.f.State != DeliveryDelivered {
		return nil
	}
	return s.delivered(wanted)
}

// open takes in the deliveries of a sink that are not done, from a position on.
func (s *deliveryScan) open(c *cursorAt, from int64) error {
	for i := range c.Known {
		k := &c.Known[i]
		if k.Position < from || k.Position >= c.Offered || k.State == store.Done {
			continue
		}
		if !s.passes(k) {
			continue
		}
		rec, err := s.d.st.Outbox.At(k.Position)
		if errors.Is(err, io.EOF) {
			return nil // it was issued behind what the answer shows
		}
		if err != nil {
			return err
		}
		if !s.add(c, &rec, k) {
			return nil
		}
	}
	// What the cursor was not asked about: in the order of the outbox.
	r := s.d.st.Outbox.Read(max(from, c.Offered))
	defer r.Close() // read only
	for {
		rec, pos, err := r.Next()
		if errors.Is(err, io.EOF) || err == nil && pos >= s.end {
			return nil
		}
		if err != nil {
			return err
		}
		k := c.state(pos)
		if rec.Kind.Delivered() && k.State != store.Done && s.passes(&k) && !s.add(c, &rec, &k) {
			return nil
		}
	}
}

// delivered takes in what sinks have, the newest first, and of one document the sinks by name.
func (s *deliveryScan) delivered(cursors []cursorAt) error {
	r := s.d.st.Outbox.ReadBack()
	r.To(s.end)
	after := s.f.After
	if after != nil && after.State == DeliveryDelivered {
		r.To(after.Position + 1)
	} else {
		after = nil
	}
	for !s.more {
		rec, pos, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range cursors {
			c := &cursors[i]
			if after != nil && pos == after.Position && c.Name <= after.Sink {
				continue
			}
			k := c.state(pos)
			if k.Position = pos; k.State == store.Done && !s.add(c, &rec, &k) {
				return nil
			}
		}
	}
	return nil
}

func stateOf(k *store.Delivery) DeliveryState {
	switch k.State {
	case store.Waiting:
		return DeliveryWaits
	case store.Attempted:
		return DeliveryRetries
	case store.Parked:
		return DeliveryParked
	case store.Done:
		return DeliveryDelivered
	}
	panic(fmt.Sprintf("BUG: there is no state of delivery %d", k.State))
}

func (s *deliveryScan) passes(k *store.Delivery) bool {
	return s.f.State == nil || *s.f.State == stateOf(k)
}

// add takes in a delivery; false: there is one more than wanted.
func (s *deliveryScan) add(c *cursorAt, rec *store.OutboxRecord, k *store.Delivery) bool {
	if s.more = s.f.Limit > 0 && len(s.rows) == s.f.Limit; s.more {
		return false
	}
	row := DeliveryRow{
		Sink: c.Name, Position: k.Position, Key: rec.Key, Account: rec.Account,
		Alert: rec.Kind == store.AlertRecord, Seq: rec.Seq, State: stateOf(k),
	}
	switch row.State {
	case DeliveryParked:
		row.Attempts, row.Error = k.Attempts, k.Reason
	case DeliveryRetries:
		row.Attempts, row.Error = k.Attempts, c.errors[k.Position]
	}
	s.rows = append(s.rows, row)
	return true
}
