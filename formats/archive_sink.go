package formats

import (
	"fmt"
	"io"
	"reflect"
	"slices"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// A file of ours is written by column: values wait in runs, runs become pages, and a row group's
// pages wait compressed in memory for its end.
const (
	sinkRun      = 4 << 10   // values of a column that are handed on together
	sinkPage     = 1 << 20   // bytes of a page before it is packed
	sinkRows     = 256 << 10 // rows of a row group
	sinkGroup    = 128 << 20 // bytes of a row group before they are packed, roughly
	sinkRunBytes = 256 << 10 // bytes that wait in a run
)

// sink writes a Parquet file whose columns are all at the top level. The same calls give the same
// bytes.
type sink struct {
	file    *parquet.Writer
	columns []*sinkColumn
	rows    int // of the row group
	bytes   int
	counter *writeCounter
}

// sinkColumn is a column of a sink. Every row gives it one value.
type sinkColumn struct {
	name     string
	node     parquet.Node
	unbound  bool // without least and greatest values
	optional bool
	fixed    bool // of FIXED_LEN_BYTE_ARRAY

	file  *sink
	out   *parquet.ColumnWriter
	at    int
	level int // of a value that is there
	run   []parquet.Value
	arena []byte // of the run's bytes
	words []parquet.Value
}

// newSink begins a file. root is the name of the schema.
func newSink(w io.Writer, root string, columns []*sinkColumn) *sink {
	s := &sink{columns: columns, counter: &writeCounter{out: w}}
	group := &orderedGroup{}
	options := []parquet.WriterOption{
		// The version is the format's: a release must not change the bytes of a file.
		parquet.CreatedBy("billctl", fmt.Sprintf("%d.0.0", ArchiveVersion), root),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.DataPageVersion(1), parquet.PageBufferSize(sinkPage),
	}
	for i, c := range columns {
		node := c.node
		if c.optional {
			node, c.level = parquet.Optional(node), 1
		}
		c.at, c.file = i, s
		group.fields = append(group.fields, &orderedField{Node: node, name: c.name})
		if c.unbound {
			options = append(options, parquet.SkipPageBounds(c.name))
		}
	}
	options = append(options, parquet.NewSchema(root, group))
	s.file = parquet.NewWriter(s.counter, options...)
	for i, out := range s.file.ColumnWriters() {
		columns[i].out = out
	}
	return s
}

// end says that n rows, of about size bytes, were written whole, and begins a new row group where
// the present one is large enough.
func (s *sink) end(n, size int) error {
	s.rows += n
	s.bytes += size
	if s.rows < sinkRows && s.bytes < sinkGroup {
		return nil
	}
	return s.flush()
}

// fits reports whether n more rows fit the row group.
func (s *sink) fits(n int) bool { return s.rows == 0 || s.rows+n <= sinkRows }

func (s *sink) flush() error {
	for _, c := range s.columns {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if s.rows == 0 {
		return nil
	}
	s.rows, s.bytes = 0, 0
	return s.file.Flush()
}

// close ends the file with its metadata, and returns how many bytes it has.
func (s *sink) close(pairs []metaPair) (int64, error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	for _, p := range pairs {
		s.file.SetKeyValueMetadata(p.key, p.value)
	}
	if err := s.file.Close(); err != nil {
		return 0, err
	}
	return s.counter.n, nil
}

func (c *sinkColumn) add(v parquet.Value) error {
	c.run = append(c.run, v)
	if len(c.run) < sinkRun && len(c.arena) < sinkRunBytes {
		return nil
	}
	return c.flush()
}

func (c *sinkColumn) flush() error {
	if len(c.run) == 0 {
		return nil
	}
	_, err := c.out.WriteRowValues(c.run)
	c.run, c.arena = c.run[:0], c.arena[:0]
	return err
}

func (c *sinkColumn) null() error { return c.add(parquet.Value{}.Level(0, 0, c.at)) }

// nulls writes n nulls.
func (c *sinkColumn) nulls(n int) error {
	null := parquet.Value{}.Level(0, 0, c.at)
	for n > 0 {
		m := min(n, sinkRun-len(c.run))
		c.run = slices.Grow(c.run, m)[:len(c.run)+m]
		for i := len(c.run) - m; i < len(c.run); i++ {
			c.run[i] = null
		}
		n -= m
		if len(c.run) == sinkRun {
			if err := c.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *sinkColumn) int(v int64) error {
	return c.add(parquet.Int64Value(v).Level(0, c.level, c.at))
}

func (c *sinkColumn) int32(v int32) error {
	return c.add(parquet.Int32Value(v).Level(0, c.level, c.at))
}

func (c *sinkColumn) bool(v bool) error {
	return c.add(parquet.BooleanValue(v).Level(0, c.level, c.at))
}

// put takes a copy of b.
func (c *sinkColumn) put(b []byte) error {
	at := len(c.arena)
	c.arena = append(c.arena, b...)
	return c.add(c.value(c.arena[at:len(c.arena):len(c.arena)]))
}

// text takes a copy of s.
func (c *sinkColumn) text(s string) error {
	at := len(c.arena)
	c.arena = append(c.arena, s...)
	return c.add(c.value(c.arena[at:len(c.arena):len(c.arena)]))
}

func (c *sinkColumn) value(b []byte) parquet.Value {
	v := parquet.ByteArrayValue(b)
	if c.fixed {
		v = parquet.FixedLenByteArrayValue(b)
	}
	return v.Level(0, c.level, c.at)
}

// begin makes the values of a dictionary, which word then writes by their index. They are good for
// as long as somebody holds them.
func (c *sinkColumn) begin(values []string) {
	size := 0
	for _, s := range values {
		size += len(s)
	}
	all := make([]byte, 0, size)
	c.words = c.words[:0]
	for _, s := range values {
		at := len(all)
		all = append(all, s...)
		c.words = append(c.words, c.value(all[at:len(all):len(all)]))
	}
}

func (c *sinkColumn) word(i uint32) error {
	if int(i) >= len(c.words) {
		return c.null()
	}
	return c.add(c.words[i])
}

// orderedGroup is the root of a schema whose columns stand in a given order.
type orderedGroup struct {
	parquet.Group
	fields []parquet.Field
}

func (g *orderedGroup) Fields() []parquet.Field { return g.fields }

func (g *orderedGroup) String() string { return fmt.Sprintf("group of %d columns", len(g.fields)) }

// GoType is asked for by nobody who writes columns; names of columns are no names of Go.
func (g *orderedGroup) GoType() reflect.Type { return reflect.TypeFor[struct{}]() }

type orderedField struct {
	parquet.Node
	name string
}

func (f *orderedField) Name() string { return f.name }

func (f *orderedField) Value(reflect.Value) reflect.Value {
	panic("BUG: a file is written by column")
}

// writeCounter counts the bytes of a file.
type writeCounter struct {
	out io.Writer
	n   int64
}

func (w *writeCounter) Write(b []byte) (int, error) {
	n, err := w.out.Write(b)
	w.n += int64(n)
	return n, err
}
