package formats

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"billctl/engine"
)

// Limits of a dictionary in a file of Arrow. Columns with more values are written without one.
const (
	maxArrowWords = 1 << 20
	maxArrowTexts = 16 << 10 // of a property
)

// writeEventsArrow writes an Arrow IPC file without compression, which every reader can read. A
// file has one dictionary a column, which stands before all rows, so the first run over the batches
// collects the values.
func writeEventsArrow(w io.Writer, batches func(yield func(*engine.Batch) error) error) error {
	var words [3]arrowWords
	texts := map[string]*arrowWords{}
	plan, err := planColumns(func(yield func(*engine.Batch) error) error {
		return batches(func(b *engine.Batch) error {
			for i, d := range []*engine.Dict{&b.Source, &b.Type, &b.Subject} {
				words[i].add(d.Values, maxArrowWords)
			}
			for i := range b.Props {
				if c := &b.Props[i]; c.Kind == engine.TextColumn && len(texts) <= engine.MaxColumns*16 {
					if texts[c.Path] == nil {
						texts[c.Path] = &arrowWords{}
					}
					texts[c.Path].add(c.Text.Values, maxArrowTexts)
				}
			}
			return yield(b)
		})
	})
	if err != nil {
		return err
	}
	out := newEventArrow(plan, &words, texts, memory.NewGoAllocator())
	defer out.release()
	out.file, err = ipc.NewFileWriter(&arrowSink{w: w}, ipc.WithSchema(out.schema),
		ipc.WithAllocator(out.mem))
	if err != nil {
		return err
	}
	if err := batches(out.batch); err != nil {
		return err
	}
	return out.file.Close()
}

// eventArrow writes batches as record batches.
type eventArrow struct {
	plan    *columnPlan
	mem     memory.Allocator
	fields  []arrow.Field
	schema  *arrow.Schema
	file    *ipc.FileWriter
	columns []arrowColumn
}

// arrowColumn collects the values of one column.
type arrowColumn struct {
	builder array.Builder
	words   *arrowWords // of a column with a dictionary; then builder is of its indices
	typ     *arrow.DictionaryType
	dict    *array.String
	place   []int32 // of the values of the batch's dictionary; -1: not known yet
}

// arrowWords are the values of a dictionary.
type arrowWords struct {
	index  map[string]int32
	values []string
	full   bool // there are more than the dictionary may have
}

func (w *arrowWords) add(values []string, most int) {
	if w.index == nil {
		w.index = map[string]int32{}
	}
	for _, s := range values {
		if _, ok := w.index[s]; ok || w.full {
			continue
		}
		if w.full = len(w.values) == most; w.full {
			w.index, w.values = nil, nil
			return
		}
		w.index[s] = int32(len(w.values))
		w.values = append(w.values, s)
	}
}

func newEventArrow(
	plan *columnPlan, words *[3]arrowWords, texts map[string]*arrowWords, mem memory.Allocator,
) *eventArrow {
	out := &eventArrow{plan: plan, mem: mem}
	out.addWords("source", &words[0], false)
	out.addWords("type", &words[1], false)
	out.addWords("subject", &words[2], false)
	out.add("id", arrow.BinaryTypes.String, false)
	out.add("time", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, false)
	for i := range plan.columns {
		c := &plan.columns[i]
		switch {
		case c.kind == engine.TextColumn && c.dictionary && texts[c.path] != nil:
			out.addWords(c.path, texts[c.path], true)
		case c.kind == engine.TextColumn:
			out.add(c.path, arrow.BinaryTypes.String, true)
		case c.kind == engine.BoolColumn:
			out.add(c.path, arrow.FixedWidthTypes.Boolean, true)
		case c.form == smallDecimals:
			out.add(c.path, &arrow.Decimal128Type{Precision: 18, Scale: int32(c.scale)}, true)
		case c.form == wideDecimals:
			out.add(c.path, &arrow.Decimal128Type{Precision: 38, Scale: int32(c.scale)}, true)
		default:
			out.add(c.path, arrow.PrimitiveTypes.Int64, true)
		}
	}
	out.add("rest", arrow.BinaryTypes.String, true)
	out.schema = arrow.NewSchema(out.fields, nil)
	return out
}

// add adds a column.
func (o *eventArrow) add(name string, typ arrow.DataType, null bool) {
	o.fields = append(o.fields, arrow.Field{Name: name, Type: typ, Nullable: null})
	o.columns = append(o.columns, arrowColumn{builder: array.NewBuilder(o.mem, typ)})
}

// addWords adds a column of texts with a dictionary, or without if the texts are too many.
func (o *eventArrow) addWords(name string, words *arrowWords, null bool) {
	if words.full {
		o.add(name, arrow.BinaryTypes.String, null)
		return
	}
	all := array.NewStringBuilder(o.mem)
	defer all.Release()
	all.AppendValues(words.values, nil)
	c := arrowColumn{
		builder: array.NewInt32Builder(o.mem), words: words, dict: all.NewStringArray(),
		typ: &arrow.DictionaryType{
			IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String,
		},
	}
	o.fields = append(o.fields, arrow.Field{Name: name, Type: c.typ, Nullable: null})
	o.columns = append(o.columns, c)
}

func (o *eventArrow) release() {
	for _, c := range o.columns {
		c.builder.Release()
		if c.dict != nil {
			c.dict.Release()
		}
	}
}

// batch writes the events of a batch.
func (o *eventArrow) batch(b *engine.Batch) error {
	bad, place := badRows(b), o.plan.place(b)
	rows := b.Len - len(b.Malformed)
	if rows == 0 {
		return nil
	}
	for i, d := range []*engine.Dict{&b.Source, &b.Type, &b.Subject} {
		if err := o.texts(i, d, bad); err != nil {
			return err
		}
	}
	ids := o.columns[3].builder.(*array.StringBuilder)
	times := o.columns[4].builder.(*array.TimestampBuilder)
	texts := o.columns[len(o.columns)-1].builder.(*array.StringBuilder)
	rest := o.plan.rest(b, place)
	for row := range b.Len {
		if bad.Has(row) {
			continue
		}
		ids.Append(string(b.ID.At(row)))
		times.Append(arrow.Timestamp(b.Time[row]))
		text, err := rest.at(row)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			texts.AppendNull()
		} else {
			texts.Append(string(text))
		}
	}
	held := make([]bool, len(o.plan.columns))
	for i, at := range place {
		if at < 0 {
			continue
		}
		if held[at] {
			return fmt.Errorf("there are two columns %s", quoted(b.Props[i].Path))
		}
		held[at] = true
		if err := o.property(at, &b.Props[i], b.Len, bad); err != nil {
			return err
		}
	}
	for at, ok := range held {
		if !ok {
			o.columns[5+at].builder.AppendNulls(rows)
		}
	}
	return o.write(rows)
}

// texts writes a column of texts.
func (o *eventArrow) texts(at int, d *engine.Dict, bad engine.Bits) error {
	c := &o.columns[at]
	c.place = c.place[:0]
	for range d.Values {
		c.place = append(c.place, -1)
	}
	for row, i := range d.Index {
		if bad.Has(row) {
			continue
		}
		if i == engine.Absent {
			c.builder.AppendNull()
			continue
		}
		if c.words == nil {
			c.builder.(*array.StringBuilder).Append(d.Values[i])
			continue
		}
		if c.place[i] < 0 {
			word, ok := c.words.index[d.Values[i]]
			if !ok {
				return errPlan
			}
			c.place[i] = word
		}
		c.builder.(*array.Int32Builder).Append(c.place[i])
	}
	return nil
}

// property writes a property column of a batch into that of the plan.
func (o *eventArrow) property(at int, c *engine.Column, rows int, bad engine.Bits) error {
	p := &o.plan.columns[at]
	at += 5
	if p.kind == engine.TextColumn {
		return o.texts(at, &c.Text, bad)
	}
	for row := range rows {
		if bad.Has(row) {
			continue
		}
		if !hasValue(c, row) {
			o.columns[at].builder.AppendNull()
			continue
		}
		switch to := o.columns[at].builder.(type) {
		case *array.BooleanBuilder:
			to.Append(c.Bools.Has(row))
		case *array.Int64Builder:
			n, ok := p.whole(c.Numbers[row])
			if !ok {
				return errPlan
			}
			to.Append(n)
		case *array.Decimal128Builder:
			if p.form == smallDecimals {
				n, ok := p.whole(c.Numbers[row])
				if !ok {
					return errPlan
				}
				to.Append(decimal128.FromI64(n))
				continue
			}
			hi, lo, ok := p.unscaled(c.Numbers[row])
			if !ok {
				return errPlan
			}
			to.Append(decimal128.New(hi, lo))
		default:
			panic(fmt.Sprintf("BUG: a column of %T", to))
		}
	}
	return nil
}

// write writes the collected values as a record batch.
func (o *eventArrow) write(rows int) error {
	arrays := make([]arrow.Array, 0, len(o.columns))
	defer func() {
		for _, a := range arrays {
			a.Release()
		}
	}()
	for _, c := range o.columns {
		values := c.builder.NewArray()
		if c.dict == nil {
			arrays = append(arrays, values)
			continue
		}
		arrays = append(arrays, array.NewDictionaryArray(c.typ, values, c.dict))
		values.Release()
	}
	record := array.NewRecord(o.schema, arrays, int64(rows))
	defer record.Release()
	return o.file.Write(record)
}

// arrowSink counts what was written, for the library asks where it stands and seeks no further.
type arrowSink struct {
	w  io.Writer
	at int64
}

// Write implements io.Writer.
func (s *arrowSink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	s.at += int64(n)
	return n, err
}

// Seek implements io.Seeker as far as the library needs it.
func (s *arrowSink) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("seek in a file of Arrow that is written")
	}
	return s.at, nil
}
