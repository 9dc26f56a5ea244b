package formats

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"billctl/engine"
)

// errPlan says that the second run over the batches gave others than the first.
var errPlan = errors.New("the events are not those that the columns were planned for")

// eventSink is the part of a file that holds events: what people look for.
type eventSink struct {
	plan                             *columnPlan
	source, kind, subject, id, time_ *sinkColumn
	idText                           *sinkColumn   // ids that are no UUIDs; nil: all are in id
	props                            []*sinkColumn // of the plan's columns
	rest                             *sinkColumn
}

// newEventSink returns the columns. apart says that ids that are no UUIDs have a column of their
// own, so that the columns of all files have the same types.
func newEventSink(plan *columnPlan, apart bool) *eventSink {
	s := &eventSink{
		plan:   plan,
		source: wordColumn("source"), kind: wordColumn("type"), subject: wordColumn("subject"),
		time_: timeColumn("time", true),
		rest: &sinkColumn{
			name: "rest", node: parquet.Encoded(parquet.JSON(), &parquet.Plain), optional: true,
			unbound: true,
		},
	}
	text := func(name string) *sinkColumn {
		return &sinkColumn{
			name: name, node: parquet.Encoded(parquet.String(), &parquet.DeltaLengthByteArray),
			optional: true,
		}
	}
	s.id = text("id")
	if apart {
		s.idText = text("id_text")
	}
	if apart || plan.uuids {
		s.id.node, s.id.fixed = parquet.Encoded(parquet.UUID(), &parquet.Plain), true
	}
	for i := range plan.columns {
		s.props = append(s.props, propertyColumn(&plan.columns[i]))
	}
	return s
}

// wordColumn returns a column of texts that repeat.
func wordColumn(name string) *sinkColumn {
	return &sinkColumn{
		name: name, node: parquet.Encoded(parquet.String(), &parquet.RLEDictionary), optional: true,
	}
}

// timeWhat is the type of the columns of times, as tableColumn has it.
const timeWhat = "TIMESTAMP in microseconds"

func timeColumn(name string, optional bool) *sinkColumn {
	node := parquet.Encoded(parquet.Timestamp(parquet.Microsecond), &parquet.DeltaBinaryPacked)
	return &sinkColumn{name: name, node: node, optional: optional}
}

func intColumn(name string, optional bool) *sinkColumn {
	node := parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	return &sinkColumn{name: name, node: node, optional: optional}
}

func wordSizeColumn(name string, optional bool) *sinkColumn {
	return &sinkColumn{
		name: name, node: parquet.Encoded(parquet.Uint(64), &parquet.Plain), optional: optional,
	}
}

func propertyColumn(p *planColumn) *sinkColumn {
	c := &sinkColumn{name: p.path, optional: true}
	switch {
	case p.kind == engine.TextColumn:
		c.unbound = p.long
		c.node = parquet.Encoded(parquet.String(), &parquet.DeltaLengthByteArray)
	case p.kind == engine.BoolColumn:
		c.node = parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain)
		return c
	case p.form == wholeNumbers:
		c.node = parquet.Encoded(parquet.Leaf(parquet.Int64Type), &parquet.DeltaBinaryPacked)
	case p.form == smallDecimals:
		c.node = parquet.Encoded(parquet.Decimal(p.scale, 18, parquet.Int64Type),
			&parquet.DeltaBinaryPacked)
	default:
		// The library compares such values without their sign: a least value would be wrong.
		c.unbound, c.fixed = true, true
		c.node = parquet.Encoded(parquet.Decimal(p.scale, 38, parquet.FixedLenByteArrayType(16)),
			&parquet.Plain)
	}
	if p.dictionary {
		c.node = parquet.Encoded(c.node, &parquet.RLEDictionary)
	}
	return c
}

// batch is a batch on its way into the columns.
type eventRows struct {
	b     *engine.Batch // normalized
	bad   engine.Bits
	place []int // of its property columns in the plan
	props []int // of the plan's columns in the batch, -1 for none
	rest  *restColumn
}

// rows prepares the columns for a batch.
func (s *eventSink) rows(b *engine.Batch) (*eventRows, error) {
	r := &eventRows{b: b, bad: badRows(b), place: s.plan.place(b)}
	r.props = make([]int, len(s.props))
	for i := range r.props {
		r.props[i] = -1
	}
	for i, at := range r.place {
		if at < 0 {
			continue
		}
		if r.props[at] >= 0 {
			return nil, fmt.Errorf("there are two columns %s", quoted(b.Props[i].Path))
		}
		r.props[at] = i
	}
	r.rest = s.plan.rest(b, r.place)
	for _, d := range []*engine.Dict{&b.Source, &b.Type, &b.Subject} {
		if err := checkTexts(d.Values); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func checkTexts(values []string) error {
	for _, s := range values {
		if !utf8.ValidString(s) {
			return fmt.Errorf("the text %s is not valid UTF-8", quoted(s))
		}
	}
	return nil
}

// write writes the rows into all columns of events; skip leaves malformed rows out instead of
// writing nulls.
func (s *eventSink) write(r *eventRows, skip bool) error {
	b := r.b
	s.source.begin(b.Source.Values)
	s.kind.begin(b.Type.Values)
	s.subject.begin(b.Subject.Values)
	each := func(c *sinkColumn, value func(row int) error) error {
		for row := range b.Len {
			var err error
			switch {
			case !r.bad.Has(row):
				err = value(row)
			case !skip:
				err = c.null()
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	word := func(c *sinkColumn, d *engine.Dict) error {
		return each(c, func(row int) error { return c.word(d.Index[row]) })
	}
	err := word(s.source, &b.Source)
	if err == nil {
		err = word(s.kind, &b.Type)
	}
	if err == nil {
		err = word(s.subject, &b.Subject)
	}
	if err == nil {
		err = each(s.id, func(row int) error { return s.putID(b.ID.At(row)) })
	}
	if err == nil && s.idText != nil {
		err = each(s.idText, func(row int) error { return s.putIDText(b.ID.At(row)) })
	}
	if err == nil {
		err = each(s.time_, func(row int) error { return s.time_.int(int64(b.Time[row])) })
	}
	rows := b.Len
	if skip {
		rows -= len(b.Malformed)
	}
	for i, c := range s.props {
		switch {
		case err != nil:
			return err
		case r.props[i] < 0:
			err = c.nulls(rows)
		default:
			err = each(c, s.property(c, i, r))
		}
	}
	if err != nil {
		return err
	}
	if len(b.Rest.Bytes) == 0 && len(r.rest.props) == 0 {
		return s.rest.nulls(rows)
	}
	return each(s.rest, func(row int) error {
		text, err := r.rest.at(row)
		if err == nil && len(text) == 0 {
			return s.rest.null()
		}
		if err == nil {
			err = s.rest.put(text)
		}
		return err
	})
}

// property returns what writes the values of a property column.
func (s *eventSink) property(c *sinkColumn, at int, r *eventRows) func(row int) error {
	p, from := &s.plan.columns[at], &r.b.Props[r.props[at]]
	switch {
	case p.kind == engine.TextColumn:
		if err := checkTexts(from.Text.Values); err != nil {
			return func(int) error { return err }
		}
		c.begin(from.Text.Values)
		return func(row int) error { return c.word(from.Text.Index[row]) }
	case p.kind == engine.BoolColumn:
		return func(row int) error {
			if !from.Present.Has(row) {
				return c.null()
			}
			return c.bool(from.Bools.Has(row))
		}
	case p.form == wideDecimals:
		return func(row int) error {
			if !from.Present.Has(row) {
				return c.null()
			}
			hi, lo, ok := p.unscaled(from.Numbers[row])
			if !ok {
				return errPlan
			}
			return c.put(bigEndian(uint64(hi), lo))
		}
	}
	return func(row int) error {
		if !from.Present.Has(row) {
			return c.null()
		}
		n, ok := p.whole(from.Numbers[row])
		if !ok {
			return errPlan
		}
		return c.int(n)
	}
}

func bigEndian(hi, lo uint64) []byte {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(hi>>(56-8*i)), byte(lo>>(56-8*i))
	}
	return b[:]
}

func (s *eventSink) putID(id []byte) error {
	switch {
	case s.idText != nil && !isUUID(id):
		return s.id.null()
	case s.idText == nil && !s.plan.uuids:
		return putText(s.id, id)
	case !isUUID(id):
		return errPlan
	}
	var digits [32]byte
	var b [16]byte
	n := 0
	for _, c := range id {
		if c != '-' && n < len(digits) {
			digits[n] = c
			n++
		}
	}
	if _, err := hex.Decode(b[:], digits[:]); err != nil || n != len(digits) {
		return errPlan
	}
	return s.id.put(b[:])
}

// putIDText writes an id that is no UUID.
func (s *eventSink) putIDText(id []byte) error {
	if isUUID(id) {
		return s.idText.null()
	}
	return putText(s.idText, id)
}

func putText(c *sinkColumn, id []byte) error {
	if !utf8.Valid(id) {
		return fmt.Errorf("the id %s is not valid UTF-8", quoted(string(id)))
	}
	return c.put(id)
}

// A partition is a path of a file system, which need not be UTF-8. One that is not, and one that
// begins with a quote, is written as a quoted string of Go.
func partitionText(name string) string {
	if utf8.ValidString(name) && !strings.HasPrefix(name, `"`) {
		return name
	}
	return strconv.QuoteToASCII(name)
}

func partitionName(text string) (string, bool) {
	if !strings.HasPrefix(text, `"`) {
		return text, true
	}
	name, err := strconv.Unquote(text)
	return name, err == nil && partitionText(name) == text
}
