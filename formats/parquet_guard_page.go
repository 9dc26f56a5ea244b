package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of pages.
const (
	pageData   = 0
	pageIndex  = 1
	pageDict   = 2
	pageDataV2 = 3
)

// pageEncoding is how the values of a page lie in it.
type pageEncoding int

const (
	encodingPlain      pageEncoding = 0
	encodingPlainDict  pageEncoding = 2 // the older name of encodingDict, and of plain dictionaries
	encodingRuns       pageEncoding = 3
	encodingDelta      pageEncoding = 5
	encodingDeltaLen   pageEncoding = 6
	encodingDeltaBytes pageEncoding = 7
	encodingDict       pageEncoding = 8
	encodingSplit      pageEncoding = 9
)

func (e pageEncoding) String() string {
	names := []string{"PLAIN", "encoding 1", "PLAIN_DICTIONARY", "RLE", "BIT_PACKED",
		"DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "RLE_DICTIONARY",
		"BYTE_STREAM_SPLIT"}
	if e < 0 || int(e) >= len(names) {
		return fmt.Sprintf("encoding %d", int(e))
	}
	return names[e]
}

// pageHeader is what stands before a page.
type pageHeader struct {
	kind       int
	full, size int // bytes of the page, and as it is in the file
	sum        uint32
	summed     bool // there is a checksum
	values     int
	encoding   pageEncoding
	levels     pageEncoding // of the definition levels, in a page of data of version 1
	nulls      int          // from here on in a page of data of version 2
	rows       int
	defined    int // bytes of definition levels
	repeated   int // bytes of repetition levels
	packed     bool
}

// readPageHeader reads and checks the header at the beginning of b, and returns its length. left is
// how many bytes of the chunk are there. It is errMore if b is too short to tell.
func readPageHeader(b []byte, left int64) (pageHeader, int, error) {
	in := &compact{b: b}
	h := in.pageHeader()
	switch {
	case in.short && int64(len(b)) < left && len(b) < maxPageHeader:
		return h, 0, errMore
	case in.fault != "":
		return h, 0, fmt.Errorf("the header of a page can't be read: %s", in.fault)
	}
	return h, in.i, h.check(left - int64(in.i))
}

var errMore = errors.New("more bytes are needed")

func (h *pageHeader) check(left int64) error {
	switch {
	case h.size < 0 || int64(h.size) > left:
		return fmt.Errorf("a page claims %d bytes, its column has %d left", h.size, left)
	case h.full < 0 || h.full > maxPageBytes:
		return fmt.Errorf("a page claims %d bytes unpacked; at most %d are read", h.full,
			maxPageBytes)
	case h.kind == pageIndex:
		return nil
	case h.values < 0 || h.values > maxPageValues:
		return fmt.Errorf("a page claims %d values; at most %d are read", h.values, maxPageValues)
	case h.encoding < 0:
		return errors.New("the header of a page has no encoding")
	case h.kind != pageDataV2:
		return nil
	case h.defined < 0 || h.repeated < 0 || h.defined > min(h.size, h.full) ||
		h.repeated > min(h.size, h.full)-h.defined:
		return fmt.Errorf("a page claims %d and %d bytes of levels", h.defined, h.repeated)
	case h.nulls < 0 || h.nulls > h.values:
		return fmt.Errorf("a page claims %d nulls in %d values", h.nulls, h.values)
	}
	return nil
}

func (c *compact) pageHeader() pageHeader {
	h := pageHeader{kind: -1, full: -1, size: -1, encoding: -1, levels: encodingRuns, packed: true}
	body := -1
	c.structure(func(id int, w wire) bool {
		switch {
		case id == 1:
			h.kind = c.small(w)
		case id == 2:
			h.full = c.small(w)
		case id == 3:
			h.size = c.small(w)
		case id == 4:
			h.sum, h.summed = uint32(c.small(w)), true
		case id >= 5 && id <= 8 && w == wireStruct:
			body = id
			c.pageBody(id, &h)
		default:
			return false
		}
		return true
	})
	if h.kind != pageIndex && body != h.kind+5 {
		c.fail(fmt.Sprintf("a page of type %d has a header of another", h.kind))
	}
	return h
}

// pageBody reads the part of a header that is of the page's kind.
func (c *compact) pageBody(body int, h *pageHeader) {
	c.structure(func(id int, w wire) bool {
		switch {
		case id == 1 && body != 6:
			h.values = c.small(w)
		case id == 2 && body != 8 && body != 6, id == 4 && body == 8:
			h.encoding = pageEncoding(c.small(w))
		case id == 3 && body == 5:
			h.levels = pageEncoding(c.small(w))
		case id == 2 && body == 8:
			h.nulls = c.small(w)
		case id == 3 && body == 8:
			h.rows = c.small(w)
		case id == 5 && body == 8:
			h.defined = c.small(w)
		case id == 6 && body == 8:
			h.repeated = c.small(w)
		case id == 7 && body == 8:
			h.packed = c.bool(w)
		default:
			return false
		}
		return true
	})
}

// overrun is how many values more than it needs a page may have in its last group of packed bits.
const overrun = 512

// checkRuns walks runs of n values of so many bits (the encoding RLE) and returns how many bytes
// they take. A run of a few bytes may claim 2^31 values, so no decoder may see one that was not
// counted. one tells whether a single run gives all values, and which.
func checkRuns(src []byte, bits, n int) (used int, one bool, value uint32, err error) {
	for got := 0; got < n; {
		u, k := binary.Uvarint(src[used:])
		if k <= 0 {
			return 0, false, 0, errShort
		}
		used += k
		count := u >> 1
		if u&1 == 0 {
			size := (bits + 7) / 8
			if count > uint64(n-got) {
				return 0, false, 0, fmt.Errorf("a run claims %d values; %d are left", count, n-got)
			}
			if size > len(src)-used {
				return 0, false, 0, errShort
			}
			if one = got == 0 && int(count) == n; one {
				for i := range size {
					value |= uint32(src[used+i]) << (8 * i)
				}
			}
			got, used = got+int(count), used+size
			continue
		}
		if count > uint64(n-got+overrun)/8 {
			return 0, false, 0, fmt.Errorf("a run claims %d values; %d are left", count, n-got)
		}
		if int(count)*bits > len(src)-used {
			return 0, false, 0, errShort
		}
		got, used = got+8*int(count), used+int(count)*bits
	}
	return used, one, value, nil
}

// checkDelta walks n integers of the encoding DELTA_BINARY_PACKED and returns how many bytes they
// take; most is the bits of an integer.
func checkDelta(src []byte, most, n int) (used int, err error) {
	var head [3]uint64
	for i := range head {
		u, k := binary.Uvarint(src[used:])
		if k <= 0 {
			return 0, errShort
		}
		head[i], used = u, used+k
	}
	size, parts, total := head[0], head[1], head[2]
	if size == 0 || size > 1<<16 || size%128 != 0 || parts == 0 || parts > size/32 ||
		size%parts != 0 || size/parts%32 != 0 {
		return 0, fmt.Errorf("blocks of %d values in %d parts", size, parts)
	}
	if total != uint64(n) {
		return 0, fmt.Errorf("there are %d values, %d were claimed", total, n)
	}
	_, k := binary.Varint(src[used:])
	if k <= 0 {
		return 0, errShort
	}
	used += k
	each := int(size / parts)
	for left := n - 1; left > 0; {
		_, k := binary.Varint(src[used:])
		if k <= 0 || int(parts) > len(src)-used-k {
			return 0, errShort
		}
		used += k
		widths := src[used : used+int(parts)]
		used += int(parts)
		for _, w := range widths {
			if left <= 0 {
				break // the widths of parts that have no values mean nothing
			}
			if int(w) > most {
				return 0, fmt.Errorf("an integer of %d bits", w)
			}
			if each/8*int(w) > len(src)-used {
				return 0, errShort
			}
			used += each / 8 * int(w)
			left -= each
		}
	}
	return used, nil
}
