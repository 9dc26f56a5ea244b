package formats

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"billctl/engine"
)

// parquetFile is a Parquet file that is read in columns. It is a table.
//
// The file may be anybody's, and is believed nowhere: footer, headers of pages, compressed blocks,
// runs and deltas are each held against the bytes that are there before anything is given room or
// handed to a decoder. A page is unpacked and decoded as a whole, so the buffers of a column have
// the size of its pages. All that is held at one time, with dictionaries and the run, is at most
// 1 GiB, and a file that needs more is refused; what was let go before waits for the collector.
//
// It reads required and optional columns of single values, also inside of groups; lists, maps and
// repeated columns have no kind. Everything is decoded in the goroutine of the caller.
type parquetFile struct {
	name   string
	in     io.ReaderAt
	footer *parquetFooter
	leaves []parquetLeaf
	schema []tableColumn

	selected []*pageReader
	group    int   // that is read
	left     int64 // rows of it that are not read yet
	row      int64 // number of the next row
	err      error // the end, or what is wrong

	out  run
	held int64 // bytes of the buffers of all columns
	// unsummed leaves the checksums of pages aside. Only tests set it: forged bytes would not get
	// past them, and most foreign files have none.
	unsummed bool
	zstd     *zstd.Decoder
	gzip     *gzip.Reader
}

// openParquet opens a Parquet file for reading in columns. It reads and checks the footer; name is
// for errors. r must stay open while the file is read.
func openParquet(name string, r io.ReaderAt, size int64) (*parquetFile, error) {
	f := &parquetFile{name: name, in: r, group: -1}
	fail := func(err error) (*parquetFile, error) {
		e := f.fault(nil, -1, -1, err)
		if errors.Is(err, errEncrypted) {
			e.Hint = "decrypt it first, with the program that wrote it"
		}
		return nil, e
	}
	footer, err := readFooter(r, size)
	if err != nil {
		return fail(err)
	}
	f.footer = footer
	if f.leaves, err = readSchema(footer.elements); err != nil {
		return fail(err)
	}
	for i := range footer.groups {
		if err := f.checkGroup(i); err != nil {
			return nil, err
		}
	}
	for i := range f.leaves {
		f.schema = append(f.schema, f.leaves[i].tableColumn)
	}
	return f, nil
}

// checkGroup holds the columns of a row group against the schema. Columns that are encrypted become
// columns that can't be read.
func (f *parquetFile) checkGroup(at int) error {
	g := &f.footer.groups[at]
	if len(g.chunks) != len(f.leaves) {
		return f.fault(nil, at, -1, fmt.Errorf("it has %d columns, the schema has %d",
			len(g.chunks), len(f.leaves)))
	}
	for i := range g.chunks {
		c, l := &g.chunks[i], &f.leaves[i]
		if c.encrypted {
			l.kind, l.what = noVector, "encrypted"
			continue
		}
		if c.path != l.name {
			return f.fault(l, at, -1, fmt.Errorf("the file calls it %s here", quoted(c.path)))
		}
		if c.physical != l.physical {
			return f.fault(l, at, -1, fmt.Errorf("it is %s in the schema, but %s here", l.physical,
				c.physical))
		}
		if l.kind != noVector && c.values != g.rows {
			return f.fault(l, at, -1, fmt.Errorf("it has %d values in %d rows", c.values, g.rows))
		}
	}
	return nil
}

func (f *parquetFile) columns() []tableColumn { return f.schema }

// rows returns how many rows the file has.
func (f *parquetFile) rows() int64 { return f.footer.rows }

// groups returns how many row groups the file has.
func (f *parquetFile) groups() int { return len(f.footer.groups) }

// metadata returns the value of a key of the file's metadata; the first, should there be more.
func (f *parquetFile) metadata(key string) (string, bool) {
	for _, p := range f.footer.pairs {
		if p.key == key {
			return p.value, true
		}
	}
	return "", false
}

// read begins to read columns, from the first row on. It fails for a column without a kind, and
// where a codec can't be read.
func (f *parquetFile) read(columns []int) error {
	f.selected, f.held = nil, 0
	f.group, f.left, f.row, f.err = -1, 0, 0, nil
	f.out = run{vectors: make([]vector, len(columns))}
	for i, column := range columns {
		l := &f.leaves[column]
		if l.kind == noVector {
			return f.fault(l, -1, -1, fmt.Errorf("a column of the type %s can't be read", l.what))
		}
		for at := range f.footer.groups {
			c := &f.footer.groups[at].chunks[column]
			if c.elsewhere {
				return f.fault(l, at, -1, errors.New("its pages are in another file"))
			}
			if !c.codec.readable() {
				e := f.fault(l, at, -1, fmt.Errorf("it is compressed with %s, which is not read",
					c.codec))
				e.Hint = "write the file with zstd, snappy, gzip, LZ4_RAW or no compression"
				return e
			}
		}
		f.selected = append(f.selected, &pageReader{file: f, leaf: l, column: column})
		f.out.vectors[i].kind = l.kind
	}
	return nil
}

// next returns the next run of at most max rows, and never of more than engine.MaxRows. The values
// of a text vector are the dictionary of the row group, which is the same slice for all its runs;
// a run that has rows outside of the dictionary has a slice of its own. Texts may be kept; all else
// is written over by the next call.
func (f *parquetFile) next(max int) (*run, error) {
	if max < 1 {
		panic("BUG: a run of no rows")
	}
	if f.err != nil {
		return nil, f.err
	}
	for f.left == 0 {
		if f.err = f.nextGroup(); f.err != nil {
			return nil, f.err
		}
	}
	n := int(min(int64(max), engine.MaxRows, f.left))
	f.out.rows, f.out.group, f.out.first = n, f.group, f.row
	for i, c := range f.selected {
		if row, err := c.fill(&f.out.vectors[i], n); err != nil {
			f.err = f.fault(c.leaf, f.group, f.row+int64(row), err)
			return nil, f.err
		}
	}
	f.row += int64(n)
	f.left -= int64(n)
	return &f.out, nil
}

// nextGroup ends a row group, whose columns must have ended as well, and begins the next.
func (f *parquetFile) nextGroup() error {
	for _, c := range f.selected {
		if f.group < 0 {
			break
		}
		if err := c.finish(); err != nil {
			return f.fault(c.leaf, f.group, -1, err)
		}
	}
	if f.group+1 >= len(f.footer.groups) {
		return io.EOF
	}
	f.group++
	g := &f.footer.groups[f.group]
	f.left = g.rows
	for _, c := range f.selected {
		c.begin(&g.chunks[c.column])
	}
	return nil
}

// close ends the reading; it does not close what the file is read from.
func (f *parquetFile) close() error {
	if f.zstd != nil {
		f.zstd.Close()
		f.zstd = nil
	}
	f.selected, f.err = nil, errors.New("BUG: read after close")
	return nil
}

// fault makes an error of the file; leaf may be nil, group and row -1.
func (f *parquetFile) fault(leaf *parquetLeaf, group int, row int64, err error) *FileError {
	e := &FileError{Name: f.name, Group: group, Row: row, Reason: err.Error()}
	if leaf != nil {
		e.Column = leaf.name
	}
	return e
}
