package formats

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
)

// WriteEvents writes the events of batches in a format (docs/formats/columns.md, "Events out"). It
// returns how many were written, and how many malformed rows were left out.
//
// batches is called twice for formats that need their columns first, and must give the same then.
// A time is always written, also one that was defaulted to the arrival: read again elsewhere, an
// event without a time would get another arrival, and perhaps another month. So batches need their
// times: a journal has them.
//
// It fails if w or batches does, and if an event can't be written in the format.
func WriteEvents(
	w io.Writer, format Format, batches func(yield func(*engine.Batch) error) error,
) (rows, left uint64, err error) {
	counted := func(yield func(*engine.Batch) error) error {
		rows, left = 0, 0
		return batches(func(b *engine.Batch) error {
			rows += uint64(b.Len - len(b.Malformed))
			left += uint64(len(b.Malformed))
			return yield(b)
		})
	}
	switch format {
	case NDJSON:
		err = writeEventsJSON(w, counted)
	case CSV:
		err = writeEventsCSV(w, ',', counted)
	case TSV:
		err = writeEventsCSV(w, '\t', counted)
	case Parquet:
		err = writeEventsParquet(w, counted)
	case Arrow:
		err = writeEventsArrow(w, counted)
	default:
		return 0, 0, fmt.Errorf("write events: %s is not known", format)
	}
	if err != nil {
		return rows, left, fmt.Errorf("write events as %s: %w", format, err)
	}
	return rows, left, nil
}

func writeEventsJSON(w io.Writer, batches func(yield func(*engine.Batch) error) error) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var j eventJSON
	err := batches(func(b *engine.Batch) error {
		j.begin(b)
		bad := badRows(b)
		for row := range b.Len {
			if bad.Has(row) {
				continue
			}
			if err := j.line(row); err != nil {
				return err
			}
			if _, err := out.Write(j.out); err != nil {
				return err
			}
		}
		return nil
	})
	return cmp.Or(err, out.Flush())
}

// eventJSON writes rows as CloudEvents that a Decoder reads as the same rows again.
type eventJSON struct {
	b       *engine.Batch
	columns []jsonMember // of the batch's properties, sorted by names
	row     []jsonMember
	out     []byte
	texts   []byte // of the row's members
	name    []byte
}

// jsonMember is a value somewhere in an event.
type jsonMember struct {
	names    []string // on the way to it, from the event on
	column   int
	from, to int // of texts
}

func (j *eventJSON) begin(b *engine.Batch) {
	j.b, j.columns = b, j.columns[:0]
	for i := range b.Props {
		j.columns = append(j.columns, jsonMember{names: namesOf(b.Props[i].Path), column: i})
	}
	slices.SortStableFunc(j.columns, compareMembers)
}

func compareMembers(a, b jsonMember) int { return slices.Compare(a.names, b.names) }

// namesOf returns the names of which a path is made. They may be empty.
func namesOf(path string) []string {
	var names []string
	var name []byte
	for i := 0; i < len(path); i++ {
		switch {
		case path[i] == '.':
			names, name = append(names, string(name)), name[:0]
			continue
		case path[i] == '\\' && i+1 < len(path):
			i++
		}
		name = append(name, path[i])
	}
	return append(names, string(name))
}

// line makes the line of one row.
func (j *eventJSON) line(row int) error {
	b := j.b
	source, _ := b.Source.At(row)
	typ, _ := b.Type.At(row)
	subject, _ := b.Subject.At(row)
	out := append(j.out[:0], `{"specversion":"1.0"`...)
	id := string(b.ID.At(row))
	out = appendMember(out, "id", id)
	out = appendMember(out, "source", source)
	out = appendMember(out, "type", typ)
	out = appendMember(out, "subject", subject)
	out = appendMember(out, "time", b.Time[row].String())
	j.out, j.row, j.texts = out, j.row[:0], j.texts[:0]
	for _, m := range j.columns {
		if c := &b.Props[m.column]; hasValue(c, row) {
			m.from = len(j.texts)
			j.texts = appendScalar(j.texts, c, row)
			m.to = len(j.texts)
			j.row = append(j.row, m)
		}
	}
	if err := j.rest(row); err != nil {
		return err
	}
	if err := j.members(); err != nil {
		return fmt.Errorf("event %s: %w", quoted(id), err)
	}
	if len(j.out)-1 > MaxLine {
		return fmt.Errorf("event %s: its line would have %d bytes, more than %d: write Parquet",
			quoted(id), len(j.out)-1, MaxLine)
	}
	return nil
}

// rest adds the members that no column holds, with their exact text.
func (j *eventJSON) rest(row int) error {
	text := j.b.Rest.At(row)
	if len(text) == 0 {
		return nil
	}
	ok := eachMember(text, func(key, value []byte) bool {
		var ok bool
		if j.name, ok = unquoteJSON(j.name[:0], key); !ok {
			return false
		}
		m := jsonMember{names: namesOf(string(j.name)), from: len(j.texts)}
		j.texts = append(j.texts, value...)
		m.to = len(j.texts)
		j.row = append(j.row, m)
		return true
	})
	if !ok {
		return fmt.Errorf("rest is no object of members: %s", quoted(string(text)))
	}
	slices.SortStableFunc(j.row, compareMembers)
	return nil
}

// members writes the row's members into objects as deep as their paths, and ends the line.
func (j *eventJSON) members() error {
	var last []string
	for i, m := range j.row {
		common := 0
		for i > 0 && common < min(len(m.names), len(last)) && m.names[common] == last[common] {
			common++
		}
		if i > 0 && common == len(last) {
			return fmt.Errorf("%s and %s can't be in one JSON object: write Parquet",
				quoted(pathOf(last)), quoted(pathOf(m.names)))
		}
		for range len(last) - 1 - common {
			j.out = append(j.out, '}')
		}
		j.out = append(j.out, ',')
		for at := common; at < len(m.names); at++ {
			if at > common {
				j.out = append(j.out, '{')
			}
			j.out = append(appendJSONString(j.out, m.names[at]), ':')
		}
		j.out = append(j.out, j.texts[m.from:m.to]...)
		last = m.names
	}
	for range len(last) - 1 {
		j.out = append(j.out, '}')
	}
	j.out = append(j.out, '}', '\n')
	return nil
}

// pathOf is the inverse of namesOf.
func pathOf(names []string) string {
	var path bytes.Buffer
	for i, name := range names {
		if i > 0 {
			path.WriteByte('.')
		}
		path.WriteString(escapeName(name))
	}
	return path.String()
}

// appendScalar writes a row's value in a property column as JSON.
func appendScalar(dst []byte, c *engine.Column, row int) []byte {
	switch c.Kind {
	case engine.NumberColumn:
		return c.Numbers[row].Append(dst)
	case engine.WideColumn:
		return append(dst, c.Text.Values[c.Text.Index[row]]...)
	case engine.BoolColumn:
		if c.Bools.Has(row) {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	}
	return appendJSONString(dst, c.Text.Values[c.Text.Index[row]])
}
