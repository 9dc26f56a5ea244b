package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// parquetFooter is what the footer of a Parquet file says, as far as it is needed.
type parquetFooter struct {
	elements []schemaElement // the schema, depth first; the first is the root
	rows     int64
	groups   []parquetGroup
	pairs    []keyValue
	signed   bool // there are columns that are encrypted, and a signature behind the footer
}

type keyValue struct{ key, value string }

// schemaElement is a node of the schema; what is not there is -1.
type schemaElement struct {
	name       string
	physical   physicalType
	width      int // of a FIXED_LEN_BYTE_ARRAY
	repetition int // 0 required, 1 optional, 2 repeated
	children   int
	converted  int
	scale      int
	precision  int
	logical    logicalType
}

// parquetGroup is a row group.
type parquetGroup struct {
	rows   int64
	chunks []parquetChunk
}

// parquetChunk is a column of a row group.
type parquetChunk struct {
	path       string
	physical   physicalType
	codec      pageCodec
	values     int64
	from, size int64 // where its pages are
	data, dict int64 // where the footer says that pages of data begin, and the dictionary
	elsewhere  bool  // in another file
	encrypted  bool
	known      bool // there was a description
}

var errEncrypted = errors.New("the file is encrypted")

// readFooter reads and checks the footer of a Parquet file. It reads the last bytes of the file and
// its first four, and allocates in proportion to the footer's size.
func readFooter(r io.ReaderAt, size int64) (*parquetFooter, error) {
	if size < 12 {
		return nil, fmt.Errorf("a file of %d bytes is no Parquet file", size)
	}
	var head [4]byte
	var tail [8]byte
	if _, err := readFull(r, head[:], 0); err != nil {
		return nil, err
	}
	if _, err := readFull(r, tail[:], size-8); err != nil {
		return nil, err
	}
	if string(head[:]) == "PARE" || string(tail[4:]) == "PARE" {
		return nil, errEncrypted
	}
	if string(head[:]) != "PAR1" {
		return nil, errors.New("it does not begin with PAR1: it is no Parquet file")
	}
	if string(tail[4:]) != "PAR1" {
		return nil, errors.New("it does not end with PAR1: it was cut, or is no Parquet file")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:4]))
	if n > maxFooter || n > size-12 {
		return nil, fmt.Errorf("the footer claims %d bytes; there are %d, and at most %d are read",
			n, size-12, maxFooter)
	}
	text := make([]byte, n)
	if _, err := readFull(r, text, size-8-n); err != nil {
		return nil, err
	}
	in := &compact{b: text}
	footer := in.footer()
	if in.fault != "" {
		return nil, fmt.Errorf("the footer can't be read: %s", in.fault)
	}
	const signature = 28 // bytes of a nonce and a tag
	if rest := len(text) - in.i; rest != 0 && !(footer.signed && rest == signature) {
		return nil, fmt.Errorf("%d bytes of the footer are left over", rest)
	}
	return footer, footer.check(size - 8 - n)
}

// check holds the numbers of the footer against each other and against the file, whose pages are
// before the offset end.
func (f *parquetFooter) check(end int64) error {
	sum := int64(0)
	for i := range f.groups {
		g := &f.groups[i]
		if g.rows < 0 || g.rows > f.rows-sum {
			return fmt.Errorf("row group %d claims %d rows, the file %d", i, g.rows, f.rows)
		}
		sum += g.rows
		for k := range g.chunks {
			if err := g.chunks[k].place(end); err != nil {
				return fmt.Errorf("row group %d, column %d: %w", i, k, err)
			}
		}
	}
	if sum != f.rows {
		return fmt.Errorf("the file claims %d rows, its row groups have %d", f.rows, sum)
	}
	return nil
}

// place finds where the pages of a chunk are. The dictionary is in front of the pages of data; some
// programs do not say where it is, and then it is where they say the data is. Others say 0 for data
// that there is none of.
func (c *parquetChunk) place(end int64) error {
	if !c.known {
		if !c.encrypted {
			return errors.New("it has no description")
		}
		return nil
	}
	c.from = c.data
	if c.dict > 0 && (c.dict < c.from || c.from == 0) {
		c.from = c.dict
	}
	if c.values < 0 {
		return fmt.Errorf("it claims %d values", c.values)
	}
	if c.elsewhere {
		return nil // it is refused when it is read
	}
	if c.from < 4 || c.size < 0 || c.from > end || c.size > end-c.from {
		return fmt.Errorf("%d bytes at %d are not inside the file", c.size, c.from)
	}
	return nil
}

func (c *compact) footer() *parquetFooter {
	f := &parquetFooter{rows: -1}
	c.structure(func(id int, w wire) bool {
		switch id {
		case 2:
			c.list(w, wireStruct, func() { f.elements = append(f.elements, c.element()) })
		case 3:
			f.rows = c.integer(w)
		case 4:
			c.list(w, wireStruct, func() {
				if len(f.groups) == maxGroups {
					c.fail(fmt.Sprintf("there are more than %d row groups", maxGroups))
					return
				}
				f.groups = append(f.groups, c.group(len(f.elements)))
			})
		case 5:
			c.list(w, wireStruct, func() { f.pairs = append(f.pairs, c.pair()) })
		case 8:
			f.signed = true
			return false
		default:
			return false
		}
		return true
	})
	if f.rows < 0 {
		c.fail("there is no number of rows, or it is negative")
	}
	return f
}

func (c *compact) pair() (p keyValue) {
	c.structure(func(id int, w wire) bool {
		switch id {
		case 1:
			p.key = string(c.bytes(w))
		case 2:
			p.value = string(c.bytes(w))
		default:
			return false
		}
		return true
	})
	return p
}

func (c *compact) element() schemaElement {
	e := schemaElement{physical: -1, width: -1, repetition: -1, converted: -1, scale: -1,
		precision: -1}
	named := false
	c.structure(func(id int, w wire) bool {
		switch id {
		case 1:
			e.physical = physicalType(c.small(w))
		case 2:
			e.width = c.small(w)
		case 3:
			e.repetition = c.small(w)
		case 4:
			e.name, named = string(c.bytes(w)), true
		case 5:
			e.children = c.small(w)
		case 6:
			e.converted = c.small(w)
		case 7:
			e.scale = c.small(w)
		case 8:
			e.precision = c.small(w)
		case 10:
			if w != wireStruct {
				return false
			}
			e.logical = c.logical()
		default:
			return false
		}
		return true
	})
	if !named {
		c.fail("a column has no name")
	}
	return e
}

// logical reads the union of the logical types, and the fields of those that have some.
func (c *compact) logical() (t logicalType) {
	c.structure(func(id int, w wire) bool {
		t.id = logicalID(id)
		if w != wireStruct {
			return false
		}
		c.structure(func(id int, w wire) bool {
			switch {
			case t.id == logicalDecimal && id == 1:
				t.scale = c.small(w)
			case t.id == logicalDecimal && id == 2:
				t.precision = c.small(w)
			case t.id == logicalInteger && id == 1:
				t.bits = c.small(w)
			case t.id == logicalInteger && id == 2:
				t.signed = c.bool(w)
			case (t.id == logicalTimestamp || t.id == logicalTime) && id == 1:
				t.utc = c.bool(w)
			case (t.id == logicalTimestamp || t.id == logicalTime) && id == 2 && w == wireStruct:
				c.structure(func(id int, _ wire) bool {
					t.unit = timeUnit(id)
					return false
				})
			default:
				return false
			}
			return true
		})
		return true
	})
	return t
}

func (c *compact) group(elements int) parquetGroup {
	g := parquetGroup{rows: -1}
	c.structure(func(id int, w wire) bool {
		switch id {
		case 1:
			c.list(w, wireStruct, func() {
				if len(g.chunks) == elements {
					c.fail("a row group has more columns than the schema")
					return
				}
				g.chunks = append(g.chunks, c.chunk())
			})
		case 3:
			g.rows = c.integer(w)
		default:
			return false
		}
		return true
	})
	return g
}

func (c *compact) chunk() (k parquetChunk) {
	c.structure(func(id int, w wire) bool {
		switch id {
		case 1:
			k.elsewhere = len(c.bytes(w)) > 0
		case 3:
			if w != wireStruct {
				return false
			}
			c.description(&k)
		case 8, 9:
			k.encrypted = true
			return false
		default:
			return false
		}
		return true
	})
	return k
}

// description reads the metadata of a chunk.
func (c *compact) description(k *parquetChunk) {
	k.codec, k.physical, k.values, k.size, k.data = -1, -1, -1, -1, -1
	c.structure(func(id int, w wire) bool {
		switch id {
		case 1:
			k.physical = physicalType(c.small(w))
		case 3:
			k.path = c.path(w)
		case 4:
			k.codec = pageCodec(c.small(w))
		case 5:
			k.values = c.integer(w)
		case 7:
			k.size = c.integer(w)
		case 9:
			k.data = c.integer(w)
		case 11:
			k.dict = c.integer(w)
		default:
			return false
		}
		return true
	})
	if k.codec < 0 || k.physical < 0 || k.size < 0 || k.data < 0 {
		c.fail("the description of a column lacks its type, codec, size or place")
	}
	k.known = true
}

func (c *compact) path(w wire) string {
	var path []byte
	first := true
	c.list(w, wireBytes, func() {
		if !first {
			path = append(path, '.')
		}
		first = false
		path = append(path, c.bytes(wireBytes)...)
	})
	return string(path)
}

// readFull reads all of b at an offset.
func readFull(r io.ReaderAt, b []byte, at int64) (int, error) {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("%d bytes at %d can't be read: %w", len(b), at, err)
}
