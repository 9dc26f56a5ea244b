package formats

import (
	"bufio"
	"cmp"
	"io"
	"slices"
	"strings"

	"billctl/engine"
)

// eventColumns are the columns that every file of events has before those of properties.
func eventColumns() []string { return []string{"id", "source", "type", "subject", "time"} }

// writeEventsCSV writes one column a property, whatever its kind: all is text. A value that is
// absent is an empty field, an empty text is a pair of quotes.
func writeEventsCSV(
	w io.Writer, delimiter byte, batches func(yield func(*engine.Batch) error) error,
) error {
	plan, err := planColumns(batches)
	if err != nil {
		return err
	}
	out := eventCSV{w: bufio.NewWriterSize(w, 64<<10), delimiter: delimiter, plan: plan}
	for _, name := range eventColumns() {
		out.field(name)
	}
	for _, c := range plan.columns {
		out.field(c.path)
	}
	out.field("rest")
	if err := out.end(); err != nil {
		return err
	}
	err = batches(out.batch)
	return cmp.Or(err, out.w.Flush())
}

type eventCSV struct {
	w         *bufio.Writer
	delimiter byte
	plan      *columnPlan
	line      []byte
	first     bool // a field was written
	scratch   []byte
}

// batch writes the events of a batch.
func (o *eventCSV) batch(b *engine.Batch) error {
	bad := badRows(b)
	columns := make([][]int, len(o.plan.columns)) // of the batch, by the plan's
	rest := &restColumn{batch: b}
	for i := range b.Props {
		at, ok := slices.BinarySearchFunc(o.plan.columns, b.Props[i].Path,
			func(c planColumn, path string) int { return strings.Compare(c.path, path) })
		if ok {
			columns[at] = append(columns[at], i)
		} else {
			rest.props = append(rest.props, i)
		}
	}
	for row := range b.Len {
		if bad.Has(row) {
			continue
		}
		source, _ := b.Source.At(row)
		typ, _ := b.Type.At(row)
		subject, _ := b.Subject.At(row)
		for _, s := range []string{string(b.ID.At(row)), source, typ, subject, b.Time[row].String()} {
			o.field(s)
		}
		for _, of := range columns {
			o.value(b, of, row)
		}
		text, err := rest.at(row)
		if err != nil {
			return err
		}
		if len(text) == 0 {
			o.absent()
		} else {
			o.field(string(text))
		}
		if err := o.end(); err != nil {
			return err
		}
	}
	return nil
}

// value writes a property, which stands in one of the columns of its path or in none.
func (o *eventCSV) value(b *engine.Batch, columns []int, row int) {
	for _, i := range columns {
		c := &b.Props[i]
		switch {
		case !hasValue(c, row):
		case c.Kind == engine.TextColumn:
			o.field(c.Text.Values[c.Text.Index[row]])
			return
		default:
			o.scratch = appendScalar(o.scratch[:0], c, row)
			o.field(string(o.scratch))
			return
		}
	}
	o.absent()
}

func (o *eventCSV) absent() {
	if o.first {
		o.line = append(o.line, o.delimiter)
	}
	o.first = true
}

func (o *eventCSV) field(s string) {
	o.absent()
	if s != "" && strings.IndexByte(s, o.delimiter) < 0 && !strings.ContainsAny(s, "\"\r\n") {
		o.line = append(o.line, s...)
		return
	}
	o.line = append(o.line, '"')
	o.line = append(o.line, strings.ReplaceAll(s, `"`, `""`)...)
	o.line = append(o.line, '"')
}

func (o *eventCSV) end() error {
	o.line = append(o.line, '\n')
	_, err := o.w.Write(o.line)
	o.line, o.first = o.line[:0], false
	return err
}
