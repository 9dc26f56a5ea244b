package store

import (
	"io"
	"sort"

	"billctl/engine"
)

// OutboxBack reads durable records of an Outbox from the newest back. It is used by one goroutine,
// beside the one that writes.
type OutboxBack struct {
	o       *Outbox
	rejects bool       // rejections; else what sinks get
	low     int64      // records from it on were read or left out
	seq     engine.Seq // records of a later one are left out
	list    []placedRecord
}

type placedRecord struct {
	pos int64
	OutboxRecord
}

// backMarks is how many marks OutboxBack goes back at once.
const backMarks = 8

// ReadBack returns a reader of what sinks get: documents and alerts.
func (o *Outbox) ReadBack() *OutboxBack {
	return &OutboxBack{o: o, low: o.Durable(), seq: ^engine.Seq(0)}
}

// RejectionsBack returns a reader of the rejections.
func (o *Outbox) RejectionsBack() *OutboxBack {
	r := o.ReadBack()
	r.rejects = true
	return r
}

// To leaves out the records at a position and behind it.
func (r *OutboxBack) To(pos int64) {
	r.low = min(r.low, pos)
	for n := len(r.list); n > 0 && r.list[n-1].pos >= pos; n = len(r.list) {
		r.list = r.list[:n-1]
	}
}

// ToSeq leaves out the records of entries behind a position of the journal, without reading them.
func (r *OutboxBack) ToSeq(seq engine.Seq) {
	r.seq = min(r.seq, seq)
	for n := len(r.list); n > 0 && r.list[n-1].Seq > seq; n = len(r.list) {
		r.list = r.list[:n-1]
	}
	if len(r.list) > 0 {
		return
	}
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	marks := r.o.marks
	if i := sort.Search(len(marks), func(i int) bool { return marks[i].seq > seq }); i < len(marks) {
		r.low = min(r.low, marks[i].pos)
	}
}

// Next returns the newest record that is left, and its position; io.EOF: none is.
func (r *OutboxBack) Next() (OutboxRecord, int64, error) {
	for {
		for n := len(r.list); n > 0; n = len(r.list) {
			rec := r.list[n-1]
			r.list = r.list[:n-1]
			if rec.Seq <= r.seq {
				return rec.OutboxRecord, rec.pos, nil
			}
		}
		from, some := r.back()
		if from == r.low {
			return OutboxRecord{}, 0, io.EOF
		}
		if some {
			if err := r.read(from); err != nil {
				return OutboxRecord{}, 0, err
			}
		}
		r.low = from
	}
}

// back returns the position of a mark some marks before low, and whether records that are wanted
// may lie between.
func (r *OutboxBack) back() (from int64, some bool) {
	o := r.o
	o.mu.Lock()
	defer o.mu.Unlock()
	i := sort.Search(len(o.marks), func(i int) bool { return o.marks[i].pos >= r.low })
	if i == 0 {
		return r.low, false
	}
	end := outboxMark{pos: o.next, sent: o.sent} // the mark behind what is read
	if i < len(o.marks) {
		end = o.marks[i]
	}
	m := o.marks[max(i-backMarks, 0)]
	sent := end.sent - m.sent
	if r.rejects {
		return m.pos, end.pos-m.pos > sent
	}
	return m.pos, sent > 0
}

// read takes in the wanted records from a position to low.
func (r *OutboxBack) read(from int64) error {
	reader := r.o.Read(from)
	defer reader.Close() // read only
	for {
		rec, pos, err := reader.Next()
		if err == io.EOF || err == nil && pos >= r.low {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Kind.Delivered() != r.rejects {
			r.list = append(r.list, placedRecord{pos, rec})
		}
	}
}

// Sent returns how many of the durable records before a position are for sinks.
func (o *Outbox) Sent(pos int64) (int64, error) {
	if pos = min(pos, o.Durable()); pos == 0 {
		return 0, nil
	}
	mark := o.markOf(pos)
	n := mark.sent
	if mark.pos == pos {
		return n, nil
	}
	r := o.Read(mark.pos)
	defer r.Close() // read only
	for {
		rec, at, err := r.Next()
		if err == io.EOF || err == nil && at >= pos {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		if rec.Kind.Delivered() {
			n++
		}
	}
}

// At returns the durable record at a position. io.EOF: there is none yet.
func (o *Outbox) At(pos int64) (OutboxRecord, error) { return o.at(pos) }
