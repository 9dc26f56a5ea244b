package formats

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"billctl/engine"
)

// RowOptions say how the rows of a file of columns become events (docs/formats/columns.md).
type RowOptions struct {
	Source    string   // name in the configuration; goes to Origins.Source
	Partition string   // identity of the file; goes to Origins.Partition
	Ident     string   // content-derived identity of the file, for FilePart of a mapping
	Mapping   *Mapping // nil: the columns are those of CloudEvents
	Limits    Limits   // of a batch
}

// RowReader reads the events of a Parquet or Arrow file in batches. It is used by one goroutine.
type RowReader struct {
	name    string
	o       RowOptions
	t       table
	all     []tableColumn
	plan    rowPlan
	clock   stampReader
	parser  lineParser
	builder *Builder
	nodes   map[string]*pathNode // of properties, by path

	most  int  // rows of a run
	run   *run // of which rows before at were given out
	at    int
	err   error
	rows  rowBatch
	split restReader
}

// OpenRows opens a file of size bytes, Parquet or Arrow by its first bytes. Name is for errors. It
// fails with a *FileError if the file is damaged, lacks a column that the mapping or a CloudEvent
// needs, or has one whose type can't serve; and if the mapping is not valid.
func OpenRows(name string, r io.ReaderAt, size int64, o RowOptions) (*RowReader, error) {
	if o.Mapping != nil {
		if err := o.Mapping.Validate(); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if slices.Contains(o.Mapping.ID, FilePart) && o.Ident == "" {
			return nil, fmt.Errorf("read %s: ids from the file's content need its identity", name)
		}
	}
	t, err := openTable(name, r, size)
	if err != nil {
		return nil, err
	}
	out := &RowReader{name: name, o: o, t: t, all: t.columns(), nodes: map[string]*pathNode{}}
	if err = out.begin(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return out, nil
}

// openTable opens a file by its first bytes.
func openTable(name string, r io.ReaderAt, size int64) (table, error) {
	head := make([]byte, min(8, max(size, 0)))
	if n, err := r.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("read %s: %w", name, whole(err))
	}
	switch {
	case len(head) >= 4 && string(head[:4]) == "PAR1":
		f, err := openParquet(name, r, size)
		if err != nil {
			return nil, err
		}
		return f, nil
	case len(head) >= 6 && string(head[:6]) == arrowMagic,
		len(head) >= 4 && string(head[:4]) == arrowStream:
		return openArrow(name, r, size)
	}
	fault := &FileError{
		Name: name, Group: -1, Row: -1, Reason: "the file is neither Parquet nor Arrow",
	}
	if isZstd(head) || len(head) > 2 && head[0] == 0x1f && head[1] == 0x8b {
		fault.Hint = "decompress it first; files of columns have compression of their own"
	}
	return nil, fault
}

// begin plans what is read.
func (r *RowReader) begin() (err error) {
	times := MappedTime{Path: "time"}
	if r.o.Mapping != nil {
		times = r.o.Mapping.Time
	}
	if r.clock, err = newStampReader(times); err != nil {
		return fmt.Errorf("read %s: %w", r.name, err)
	}
	if err := r.bind(); err != nil {
		return err
	}
	r.builder = NewBuilder(r.o.Source, r.o.Limits)
	r.most = r.builder.limits.Rows
	if n := len(r.plan.data); n > 0 {
		r.most = min(r.most, max(1, maxCells/n))
	}
	for _, d := range r.plan.data {
		d.node = r.node(d.path)
	}
	return r.t.read(r.plan.read)
}

// Next returns the next batch, and io.EOF behind the last one. A row's Offset is its number in the
// file, from 0; Resume is the row after the batch, though rows that are no events may follow. It
// fails with a *FileError where the file is damaged, and then always.
func (r *RowReader) Next() (*engine.Batch, error) {
	for r.err == nil {
		if r.run == nil || r.at == r.run.rows {
			if r.run, r.err = r.t.next(r.most); r.err != nil {
				break
			}
			r.at = 0
		}
		if b := r.batch(); b.Len > 0 {
			return b, nil
		}
	}
	return nil, r.err
}

// Recycle gives a batch back that nobody uses any more, as Builder.Recycle does.
func (r *RowReader) Recycle(b *engine.Batch) { r.builder.Recycle(b) }

// Close releases what the reader holds. The file belongs to the caller.
func (r *RowReader) Close() error {
	if r.err == nil {
		r.err = errors.New("read " + r.name + ": it is closed")
	}
	return r.t.close()
}

// batch makes a batch of the next rows of the run: all of them, unless their columns or the bytes
// of their ids are too many for one.
func (r *RowReader) batch() *engine.Batch {
	for n := r.run.rows - r.at; ; n = (n + 1) / 2 {
		r.rows.begin(r, r.at, n)
		full := r.rows.fill()
		out := r.builder.batch
		if n > 1 && (full || len(out.Props) > engine.MaxColumns || len(out.Props)*out.Len > maxCells) {
			r.builder.Recycle(r.builder.Batch())
			continue
		}
		r.at += n
		r.builder.resume(r.run.first + int64(r.at))
		return r.builder.Batch()
	}
}

// node returns the node of a property's path.
func (r *RowReader) node(path string) *pathNode {
	n := r.nodes[path]
	if n == nil {
		n = &pathNode{path: path, name: path}
		r.nodes[path] = n
	}
	return n
}

// forget drops what was remembered of properties in rest, where they never end to be new ones.
func (r *RowReader) forget() {
	if len(r.nodes) <= keptColumns {
		return
	}
	clear(r.nodes)
	clear(r.builder.columns)
	for _, d := range r.plan.data {
		d.node = r.node(d.path)
	}
}
