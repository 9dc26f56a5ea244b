package formats

import "fmt"

// What a Parquet file may ask for. No number of a file is believed before it has been held against
// the bytes that are there; these bounds are for what the bytes alone do not bound. Nothing of a
// file is allocated by a number that it states and does not fill: a list grows by its elements, a
// page by bytes that its compressed form can give.
const (
	maxFooter     = 16 << 20  // bytes of the footer
	maxLeaves     = 10_000    // columns
	maxGroups     = 1 << 16   // row groups
	maxLevels     = 32        // structures in structures, of the schema and of the footer
	maxPageHeader = 1 << 20   // bytes; there may be a least and a greatest value in it
	maxPageBytes  = 256 << 20 // bytes of a page; DuckDB writes pages of a million values
	maxPageValues = 16 << 20  // values of a page, and of a dictionary
	maxHeld       = 1 << 30   // bytes of all buffers of a file that is read
	maxFixed      = 1 << 16   // bytes of a value of a FIXED_LEN_BYTE_ARRAY
	maxDecimal    = 64        // bytes of a DECIMAL
	maxScale      = 100       // fractional digits of a DECIMAL
)

// wire is the type of a field in Thrift's compact protocol, which Parquet's footer and page headers
// are written in.
type wire byte

const (
	wireTrue   wire = 1
	wireFalse  wire = 2
	wireByte   wire = 3
	wireI16    wire = 4
	wireI32    wire = 5
	wireI64    wire = 6
	wireDouble wire = 7
	wireBytes  wire = 8
	wireList   wire = 9
	wireSet    wire = 10
	wireMap    wire = 11
	wireStruct wire = 12
	wireUUID   wire = 13
)

// compact reads the compact protocol. Its first error stays: from then on everything is zero and
// every loop over it ends. It allocates nothing.
type compact struct {
	b     []byte
	i     int
	fault string
	short bool // the fault is the end of the bytes
}

// structure reads the fields of a structure. read takes a field, or is false if it does not know
// it; then it is passed over.
func (c *compact) structure(read func(id int, w wire) bool) {
	id := 0
	for c.fault == "" {
		b := c.byte()
		if b == 0 {
			return
		}
		if delta := int(b >> 4); delta != 0 {
			id += delta
		} else {
			id = int(int16(c.integer(wireI16)))
		}
		if w := wire(b & 15); c.fault == "" && !read(id, w) {
			c.skip(w, 0)
		}
	}
}

// list reads the head of a list of such elements, and its elements by read. Every element has a
// byte at least, so a count beyond the bytes that are left is a lie.
func (c *compact) list(w, element wire, read func()) {
	if w != wireList {
		c.fail("a list is of another type")
		return
	}
	got, n := c.listHead()
	if n > 0 && got != element {
		c.fail("the elements of a list are of another type")
	}
	for ; n > 0 && c.fault == ""; n-- {
		read()
	}
}

func (c *compact) listHead() (wire, int) {
	b := c.byte()
	n := uint64(b >> 4)
	if n == 15 {
		n = c.uvarint()
	}
	if n > uint64(len(c.b)-c.i) {
		c.end(fmt.Sprintf("a list claims %d elements, more than there are bytes", n))
		return 0, 0
	}
	return wire(b & 15), int(n)
}

// bool reads a boolean field, whose value is in its type.
func (c *compact) bool(w wire) bool {
	if w != wireTrue && w != wireFalse {
		c.fail("a boolean is of another type")
	}
	return w == wireTrue
}

// integer reads an integer of any size.
func (c *compact) integer(w wire) int64 {
	switch w {
	case wireByte:
		return int64(int8(c.byte()))
	case wireI16, wireI32, wireI64:
		u := c.uvarint()
		return int64(u>>1) ^ -int64(u&1)
	}
	c.fail("an integer is of another type")
	return 0
}

// small reads an integer of 32 bits.
func (c *compact) small(w wire) int {
	n := c.integer(w)
	if int64(int32(n)) != n {
		c.fail(fmt.Sprintf("%d is no integer of 32 bits", n))
		return 0
	}
	return int(n)
}

// bytes reads a byte string; it aliases the input.
func (c *compact) bytes(w wire) []byte {
	if w != wireBytes {
		c.fail("a byte string is of another type")
		return nil
	}
	n := c.uvarint()
	if n > uint64(len(c.b)-c.i) {
		c.end(fmt.Sprintf("a byte string claims %d bytes, more than there are", n))
		return nil
	}
	c.i += int(n)
	return c.b[c.i-int(n) : c.i]
}

// skip passes over a value.
func (c *compact) skip(w wire, depth int) {
	if depth > maxLevels {
		c.fail("structures are nested too deep")
	}
	if c.fault != "" {
		return
	}
	switch w {
	case wireTrue, wireFalse:
	case wireByte:
		c.byte()
	case wireI16, wireI32, wireI64:
		c.uvarint()
	case wireDouble:
		c.pass(8)
	case wireUUID:
		c.pass(16)
	case wireBytes:
		c.bytes(w)
	case wireList, wireSet:
		element, n := c.listHead()
		for ; n > 0 && c.fault == ""; n-- {
			c.skipElement(element, depth)
		}
	case wireMap:
		n := c.uvarint()
		if n == 0 || c.fault != "" {
			return
		}
		of := c.byte()
		if n > uint64(len(c.b)-c.i) {
			c.end(fmt.Sprintf("a map claims %d pairs, more than there are bytes", n))
		}
		for ; n > 0 && c.fault == ""; n-- {
			c.skipElement(wire(of>>4), depth)
			c.skipElement(wire(of&15), depth)
		}
	case wireStruct:
		c.skipStruct(depth)
	default:
		c.fail(fmt.Sprintf("there is no type %d", w))
	}
}

// skipElement passes over an element of a list, where a boolean takes a byte.
func (c *compact) skipElement(w wire, depth int) {
	if w == wireTrue || w == wireFalse {
		w = wireByte
	}
	c.skip(w, depth+1)
}

func (c *compact) skipStruct(depth int) {
	for c.fault == "" {
		b := c.byte()
		if b == 0 {
			return
		}
		if b>>4 == 0 {
			c.uvarint()
		}
		c.skip(wire(b&15), depth+1)
	}
}

func (c *compact) byte() byte {
	if c.i == len(c.b) {
		c.end("it ends too early")
		return 0
	}
	c.i++
	return c.b[c.i-1]
}

func (c *compact) uvarint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := c.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	c.fail("a number has too many bytes")
	return 0
}

func (c *compact) pass(n int) {
	if n > len(c.b)-c.i {
		c.end("it ends too early")
		return
	}
	c.i += n
}

// fail keeps the first fault and stops the reading.
func (c *compact) fail(fault string) {
	if c.fault == "" {
		c.fault = fault
	}
	c.i = len(c.b)
}

func (c *compact) end(fault string) {
	c.short = c.short || c.fault == ""
	c.fail(fault)
}
