package formats

import (
	"bytes"
	"fmt"
	"strings"

	"billctl/engine"
)

// rowBatch makes a batch of some rows of a run. What is wrong with a row is found first, so that a
// malformed row leaves nothing in a column.
type rowBatch struct {
	r      *RowReader
	b      *Builder
	out    *engine.Batch
	vec    []vector
	rows   []int // of the run: the events, in order
	bad    engine.Bits
	faults []string // of the rows, where bad
	epoch  uint32   // of what rowTexts know

	ids     engine.Strings
	rest    engine.Strings
	times   []engine.Micros
	arrival engine.Bits // rows without a time
	cells   []rowCell   // properties in rest, by rising row
	texts   []byte      // of the cells
	scratch []byte
}

// rowCell is a property that a row has in rest.
type rowCell struct {
	cell
	row      int
	from, to int // of texts
}

// rowTexts is what is known of the values of a run's dictionary, by their index.
type rowTexts []rowText

type rowText struct {
	epoch uint32
	at    uint32 // in the dictionary of the batch; Absent: not there yet
	part  engine.RowDigest
	fault string
}

// begin takes n rows of the reader's run, and leaves out what is no event.
func (w *rowBatch) begin(r *RowReader, from, n int) {
	w.r, w.b, w.out, w.vec = r, r.builder, r.builder.batch, r.run.vectors
	r.forget()
	w.epoch++
	w.rows, w.faults, w.bad = w.rows[:0], w.faults[:0], w.bad[:0]
	w.ids = engine.Strings{Bytes: w.ids.Bytes[:0], End: w.ids.End[:0]}
	w.rest = engine.Strings{Bytes: w.rest.Bytes[:0], End: w.rest.End[:0]}
	w.times, w.arrival = w.times[:0], w.arrival[:0]
	w.cells, w.texts = w.cells[:0], w.texts[:0]
	w.b.enter(r.o.Partition, r.run.first+int64(from))
	for row := from; row < from+n; row++ {
		if f := &r.plan.entry; f.at >= 0 {
			if s, _ := w.vec[f.at].text.At(row); s != "event" {
				continue
			}
		}
		w.rows = append(w.rows, row)
		w.faults = append(w.faults, "")
	}
	for i := range w.vec {
		w.grow(i)
	}
}

// grow makes room for what is known of the values of a vector.
func (w *rowBatch) grow(i int) {
	n := len(w.vec[i].text.Values)
	p := &w.r.plan
	all := []*rowField{&p.source, &p.kind, &p.subject}
	for _, d := range p.data {
		all = append(all, &d.rowField)
	}
	for _, f := range all {
		if f.at == i && len(f.texts) < n {
			f.texts = make(rowTexts, n+n/8)
		}
	}
}

// fill writes the rows into the builder's batch. It is true if their bytes are too many.
func (w *rowBatch) fill() (full bool) {
	p := &w.r.plan
	for _, d := range p.data {
		w.judge(&d.rowField)
	}
	w.readRest()
	w.judgeAttribute(&p.source, "source")
	w.judgeAttribute(&p.kind, "type")
	w.judgeAttribute(&p.subject, "subject")
	w.readIDs()
	w.readTimes()
	if len(w.ids.Bytes)+len(w.rest.Bytes)+len(w.texts) > w.b.limits.Bytes && len(w.rows) > 1 {
		return true
	}
	w.out.Len = len(w.rows)
	w.writeRows()
	w.writeAttribute(&p.source, &w.b.sources, &w.out.Source, nil)
	w.writeAttribute(&p.kind, &w.b.types, &w.out.Type, engine.DigestType)
	w.writeAttribute(&p.subject, &w.b.subjects, &w.out.Subject, engine.DigestSubject)
	for _, d := range p.data {
		w.writeData(d)
	}
	for i := range w.cells {
		w.writeCell(&w.cells[i])
	}
	return false
}

// fail makes a row malformed, unless it is already.
func (w *rowBatch) fail(i int, fault string) {
	if !w.bad.Has(i) {
		w.bad.Set(i)
		w.faults[i] = fault
	}
}

// judge finds values that can't be a property.
func (w *rowBatch) judge(f *rowField) {
	v := &w.vec[f.at]
	switch f.kind {
	case intVector, numberVector, boolVector, uuidVector:
		return
	}
	for i, row := range w.rows {
		if v.null.Has(row) {
			continue
		}
		if f.kind != textVector {
			if _, fault := w.text(f, row); fault != "" {
				w.fail(i, fault)
			}
			continue
		}
		if t := w.known(f, v.text.Index[row]); t.fault != "" {
			w.fail(i, t.fault)
		}
	}
}

// known returns what is known of a value of the field's dictionary, after it was judged.
func (w *rowBatch) known(f *rowField, at uint32) *rowText {
	t := &f.texts[at]
	if t.epoch != w.epoch {
		s := w.vec[f.at].text.Values[at]
		*t = rowText{epoch: w.epoch, at: engine.Absent}
		switch {
		case strings.IndexByte(s, 0) >= 0:
			t.fault = "NUL character in column " + quoted(f.name)
		case len(s) > MaxLine:
			t.fault = fmt.Sprintf("text of %d bytes in column %s is longer than %d",
				len(s), quoted(f.name), MaxLine)
		}
	}
	return t
}

// judgeAttribute finds rows without what every event has.
func (w *rowBatch) judgeAttribute(f *rowField, what string) {
	if f.at < 0 {
		return // a constant, which the mapping has checked
	}
	v := &w.vec[f.at]
	for i, row := range w.rows {
		if w.bad.Has(i) {
			continue
		}
		if f.kind == textVector && !v.null.Has(row) {
			at := v.text.Index[row]
			if t := &f.texts[at]; t.epoch == w.epoch && t.fault == "" {
				continue
			}
			if t := w.known(f, at); t.fault == "" {
				t.fault = w.needed(what, f.path, len(v.text.Values[at]), false)
			}
			if f.texts[at].fault != "" {
				w.fail(i, f.texts[at].fault)
			}
			continue
		}
		s, fault := w.text(f, row)
		if fault == "" {
			fault = w.needed(what, f.path, len(s), v.null.Has(row))
		}
		if fault != "" {
			w.fail(i, fault)
		}
	}
}

// needed checks the length of what every event has.
func (w *rowBatch) needed(what, path string, size int, null bool) string {
	switch {
	case size > engine.MaxName:
		return fmt.Sprintf("%s is longer than %d bytes", what, engine.MaxName)
	case size > 0:
		return ""
	case path != "":
		return fmt.Sprintf("row has no %s: nothing in %s", what, path)
	case null:
		return "event has no " + what
	}
	return what + " is empty"
}

// readIDs makes the ids.
func (w *rowBatch) readIDs() {
	p := &w.r.plan
	for i, row := range w.rows {
		begin := len(w.ids.Bytes)
		for j := range p.ids {
			if w.bad.Has(i) {
				break
			}
			if j > 0 {
				w.ids.Bytes = append(w.ids.Bytes, '/')
			}
			w.idPart(&p.ids[j], i, row)
		}
		if n := len(w.ids.Bytes) - begin; n > engine.MaxName {
			w.fail(i, w.needed("id", "", n, false))
		}
		if w.bad.Has(i) {
			w.ids.Bytes = w.ids.Bytes[:begin]
		}
		w.ids.End = append(w.ids.End, uint32(len(w.ids.Bytes)))
	}
}

func (w *rowBatch) idPart(f *rowField, i, row int) {
	switch f.fixed {
	case FilePart:
		w.ids.Bytes = append(w.ids.Bytes, w.r.o.Ident...)
		return
	case RowPart:
		w.scratch = appendInt(w.scratch[:0], w.r.run.first+int64(row))
		w.ids.Bytes = append(w.ids.Bytes, w.scratch...)
		return
	}
	v := &w.vec[f.at]
	if other := &w.r.plan.idText; other.at >= 0 && v.null.Has(row) {
		f, v = other, &w.vec[other.at]
	}
	if f.kind == textVector && len(w.r.plan.ids) == 1 && !v.null.Has(row) {
		s := v.text.Values[v.text.Index[row]]
		if len(s) > 0 && len(s) <= engine.MaxName && strings.IndexByte(s, 0) < 0 {
			w.ids.Bytes = append(w.ids.Bytes, s...)
			return
		}
	}
	s, fault := w.text(f, row)
	if fault == "" && bytes.IndexByte(s, 0) >= 0 {
		fault = "NUL character in column " + quoted(f.name)
	}
	if fault == "" {
		fault = w.needed("id", f.path, len(s), v.null.Has(row))
	}
	if fault != "" {
		w.fail(i, fault)
		return
	}
	w.ids.Bytes = appendPart(w.ids.Bytes, s, len(w.r.plan.ids) > 1)
}

// readTimes makes the times.
func (w *rowBatch) readTimes() {
	f, clock := &w.r.plan.time, &w.r.clock
	for i, row := range w.rows {
		w.times = append(w.times, 0)
		if f.at < 0 || w.vec[f.at].null.Has(row) {
			w.arrival.Set(i)
			continue
		}
		if w.bad.Has(i) {
			continue
		}
		var t engine.Micros
		fault := ""
		v := &w.vec[f.at]
		switch f.kind {
		case timeVector, dateVector:
			us := v.ints[row]
			if t = engine.Micros(us); f.kind == timeVector && !f.local && t >= engine.MinTime &&
				t < engine.MaxTime {
				break // by far the most
			}
			t, fault = w.wall(f, us)
		default:
			var s []byte
			if s, fault = w.text(f, row); fault == "" && len(s) == 0 {
				w.arrival.Set(i)
				continue
			}
			if fault == "" && f.kind == textVector {
				t, fault = clock.read(s)
			} else if fault == "" {
				t, fault = clock.number(s)
			}
		}
		if fault != "" {
			if f.path != "" {
				fault += " in " + f.path
			}
			w.fail(i, fault)
		}
		w.times[i] = t
	}
}

// wall reads a time without a zone in that of the mapping, a date at midnight.
func (w *rowBatch) wall(f *rowField, us int64) (engine.Micros, string) {
	const year = 366 * int64(engine.OneDay)
	text := func() []byte { return []byte(f.timeText(us)) }
	if f.kind == dateVector {
		days := us
		text = func() []byte { return []byte(dateText(days)) }
		// Days far beyond all times of events are kept there: multiplied they would wrap around.
		const most = (int64(engine.MaxTime) + 2*year) / int64(engine.OneDay)
		us = max(-most, min(us, most)) * int64(engine.OneDay)
	}
	if !f.local && f.kind == timeVector || us < -year || us > int64(engine.MaxTime)+year {
		return inRange(us, text())
	}
	return w.r.clock.local(us, text())
}

// writeRows writes what every row has.
func (w *rowBatch) writeRows() {
	out := w.out
	part := uint32(w.b.part)
	from := uint32(0)
	for i, row := range w.rows {
		out.Origin.Partition.Index = append(out.Origin.Partition.Index, part)
		offset := w.r.run.first + int64(row)
		out.Origin.Offset = append(out.Origin.Offset, offset)
		end := w.ids.End[i]
		digest := engine.RowDigest(0)
		if w.bad.Has(i) {
			raw := w.raw(row)
			out.Malformed = append(out.Malformed, engine.Malformed{
				Row: i, Fault: w.faults[i], Raw: raw, Size: int64(len(raw)),
			})
			out.Time = append(out.Time, 0)
		} else {
			out.ID.Bytes = append(out.ID.Bytes, w.ids.Bytes[from:end]...)
			out.Time = append(out.Time, w.times[i])
			if w.arrival.Has(i) {
				out.TimeDefaulted.Set(i)
			} else {
				digest = engine.DigestTime(w.times[i])
			}
			digest += w.writeRest(i)
		}
		out.Digest = append(out.Digest, uint64(digest))
		out.ID.End = append(out.ID.End, uint32(len(out.ID.Bytes)))
		out.Rest.End = append(out.Rest.End, uint32(len(out.Rest.Bytes)))
		from = end
	}
}

// writeAttribute writes the source, the type or the subject of the rows.
func (w *rowBatch) writeAttribute(
	f *rowField, values *dictTable, out *engine.Dict, digest func(string) engine.RowDigest,
) {
	for i, row := range w.rows {
		if w.bad.Has(i) {
			out.Index = append(out.Index, engine.Absent)
			continue
		}
		var t *rowText
		if f.at >= 0 && f.kind == textVector {
			at := w.vec[f.at].text.Index[row]
			if t = &f.texts[at]; t.at != engine.Absent {
				out.Index = append(out.Index, t.at)
				w.out.Digest[i] += uint64(t.part)
				continue
			}
			w.scratch = append(w.scratch[:0], w.vec[f.at].text.Values[at]...)
		} else if f.at < 0 {
			w.scratch = append(w.scratch[:0], f.fixed...)
		} else {
			w.text(f, row)
		}
		e := values.again(w.scratch)
		if e.part == 0 && digest != nil {
			e.part = digest(e.text)
		}
		at := e.use(w.b.epoch, out)
		out.Index = append(out.Index, at)
		w.out.Digest[i] += uint64(e.part)
		if t != nil {
			t.at, t.part = at, e.part
		}
	}
}
