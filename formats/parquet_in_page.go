package formats

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/rle"

	"billctl/engine"
)

// pageReader reads the pages of one column, row group after row group.
type pageReader struct {
	file   *parquetFile
	leaf   *parquetLeaf
	column int

	chunk  *parquetChunk
	at     int64  // of the chunk: bytes that were read into the window
	window []byte // bytes from the file; used of them are behind
	used   int
	pages  int   // that were read
	left   int64 // values of the chunk that no page gave yet

	hasDict  bool
	dict     vector      // the dictionary's values
	bad      engine.Bits // values of it that no row may have
	dictHeld int64       // bytes of it that count as held

	// The page: rows of it, those that are behind, and the same for the values that are there.
	rows, row     int
	present, seen int
	levels        []byte  // of the rows; empty if all are there
	indexes       []int32 // into the dictionary, if byIndex
	byIndex       bool
	values        rawValues

	unpacked, levelRoom []byte
	lengths, prefixes   []int32
	scratch             []int64
	nullRoom            engine.Bits
	digits              [192]byte
	text                textRun
}

// padding is bytes behind a buffer that the decoders read in one go.
const padding = 64

// begin goes to a chunk.
func (p *pageReader) begin(c *parquetChunk) {
	p.chunk, p.at, p.used, p.pages, p.left = c, 0, 0, 0, c.values
	p.window = p.window[:0]
	p.file.held -= p.dictHeld
	p.hasDict, p.dict, p.dictHeld, p.bad = false, vector{}, 0, nil
	p.rows, p.row, p.present, p.seen = 0, 0, 0, 0
	p.byIndex = false
}

// finish reads what is left of a chunk when all its rows are read, which may only be pages without
// values.
func (p *pageReader) finish() error {
	for p.more() {
		if err := p.load(); err != nil {
			return err
		}
	}
	return nil
}

// more reports whether the chunk has bytes that were not read.
func (p *pageReader) more() bool {
	return p.at < p.chunk.size || p.used < len(p.window)
}

// load reads the next page. Afterwards the page may have no rows: it was a dictionary.
func (p *pageReader) load() error {
	if !p.more() {
		return fmt.Errorf("its pages end %d values before its rows", p.left)
	}
	h, body, err := p.fetch()
	if err != nil {
		return err
	}
	p.rows, p.row, p.present, p.seen, p.byIndex = 0, 0, 0, 0, false
	p.pages++
	switch h.kind {
	case pageIndex:
		p.pages--
		return nil
	case pageDict:
		if p.pages > 1 {
			return errors.New("it has a dictionary that is not in front of its pages")
		}
		return p.loadDict(&h, body)
	}
	if int64(h.values) > p.left {
		return fmt.Errorf("a page claims %d values, its column has %d left", h.values, p.left)
	}
	if err := p.loadData(&h, body); err != nil {
		return err
	}
	p.rows = h.values
	p.left -= int64(h.values)
	return nil
}

// fetch returns the next page's header and its bytes, as they are in the file.
func (p *pageReader) fetch() (h pageHeader, body []byte, err error) {
	n := 0
	for want := 1 << 10; ; want *= 8 {
		left := int64(len(p.window)-p.used) + p.chunk.size - p.at
		if err := p.want(int(min(int64(want), left))); err != nil {
			return h, nil, err
		}
		h, n, err = readPageHeader(p.window[p.used:], left)
		if err == nil {
			break
		}
		if err != errMore {
			return h, nil, err
		}
	}
	p.used += n
	if err := p.want(h.size); err != nil {
		return h, nil, err
	}
	body = p.window[p.used : p.used+h.size]
	p.used += h.size
	if h.summed && !p.file.unsummed && crc32.ChecksumIEEE(body) != h.sum {
		return h, nil, errors.New("the checksum of a page is wrong: the file is damaged")
	}
	return h, body, nil
}

// want reads from the file until the window has n bytes more; the caller knows they are there.
func (p *pageReader) want(n int) error {
	const ahead = 32 << 10
	have := len(p.window) - p.used
	if have >= n {
		return nil
	}
	size := int(min(int64(max(n, ahead)), int64(have)+p.chunk.size-p.at))
	old := p.window[p.used:]
	window, err := room(p, p.window, size)
	if err != nil {
		return err
	}
	copy(window, old)
	p.window, p.used = window, 0
	if _, err := readFull(p.file.in, window[have:], p.chunk.from+p.at); err != nil {
		return err
	}
	p.at += int64(size - have)
	return nil
}

// unpack returns the bytes of a page, or of the part of it that is compressed.
func (p *pageReader) unpack(body []byte, full int) ([]byte, error) {
	c := p.chunk.codec
	if c == codecNone {
		if len(body) != full {
			return nil, fmt.Errorf("a page claims %d bytes, it has %d", full, len(body))
		}
		return body, nil
	}
	if full == 0 && len(body) == 0 {
		return nil, nil
	}
	most, err := c.most(body)
	if err == nil && most < int64(full) {
		err = fmt.Errorf("%d bytes can't give the %d that the page claims", len(body), full)
	}
	if err == nil {
		p.unpacked, err = room(p, p.unpacked, full)
	}
	if err == nil {
		err = guarded(func() error { return p.file.unpack(c, p.unpacked, body) })
	}
	if err != nil {
		return nil, fmt.Errorf("a page can't be unpacked (%s): %w", c, err)
	}
	return p.unpacked, nil
}

func (p *pageReader) loadDict(h *pageHeader, body []byte) error {
	if h.encoding != encodingPlain && h.encoding != encodingPlainDict {
		return fmt.Errorf("its dictionary is encoded with %s", h.encoding)
	}
	if p.leaf.physical == physicalBool {
		return errors.New("it has a dictionary of BOOLEAN")
	}
	data, err := p.unpack(body, h.full)
	if err != nil {
		return err
	}
	if err := p.plain(data, h.values); err != nil {
		return fmt.Errorf("its dictionary: %w", err)
	}
	p.present = h.values
	err = p.keepDict()
	p.present = 0
	p.hasDict = err == nil
	d := &p.dict
	p.dictHeld += int64(8*cap(d.ints) + 16*cap(d.numbers) + 8*cap(d.floats) + 4*cap(d.bytes.End) +
		cap(d.bytes.Bytes) + 16*cap(d.text.Values))
	return err
}

func (p *pageReader) loadData(h *pageHeader, body []byte) error {
	var data, levels []byte
	var err error
	if h.kind == pageData {
		if data, err = p.unpack(body, h.full); err != nil {
			return err
		}
		if p.leaf.levels > 0 {
			if h.levels != encodingRuns {
				return fmt.Errorf("its levels are encoded with %s", h.levels)
			}
			if len(data) < 4 || uint64(len(data)-4) < uint64(binary.LittleEndian.Uint32(data)) {
				return fmt.Errorf("its levels: %w", errShort)
			}
			n := 4 + int(binary.LittleEndian.Uint32(data))
			levels, data = data[4:n], data[n:]
		}
	} else {
		if h.rows != h.values {
			return fmt.Errorf("a page has %d rows and %d values", h.rows, h.values)
		}
		// Levels of repetition of what does not repeat say nothing; some programs write them.
		levels = body[h.repeated : h.repeated+h.defined]
		data = body[h.repeated+h.defined:]
		if h.packed && p.chunk.codec != codecNone {
			data, err = p.unpack(data, h.full-h.repeated-h.defined)
		}
		if err != nil {
			return err
		}
	}
	if err := p.loadLevels(levels, h.values); err != nil {
		return fmt.Errorf("its levels: %w", err)
	}
	if h.kind == pageDataV2 && h.values-p.present != h.nulls {
		return fmt.Errorf("a page claims %d nulls, it has %d", h.nulls, h.values-p.present)
	}
	if err := p.loadValues(h.encoding, data); err != nil {
		return fmt.Errorf("values encoded with %s: %w", h.encoding, err)
	}
	return nil
}

// loadLevels decodes the definition levels of n rows. A page without a null, which most are, is one
// run and leaves levels empty.
func (p *pageReader) loadLevels(src []byte, n int) (err error) {
	p.levels, p.present = p.levels[:0], n
	if p.leaf.levels == 0 || n == 0 {
		return nil
	}
	width := bits.Len(uint(p.leaf.levels))
	used, one, value, err := checkRuns(src, width, n)
	if err != nil {
		return err
	}
	if one && int(value) == p.leaf.levels {
		return nil
	}
	if p.levelRoom, err = room(p, p.levelRoom, n+overrun); err != nil {
		return err
	}
	err = guarded(func() (err error) {
		p.levels, err = (&rle.Encoding{BitWidth: width}).DecodeLevels(p.levelRoom, src[:used])
		return err
	})
	if err != nil {
		return err
	}
	if len(p.levels) < n {
		return errShort
	}
	p.levels = p.levels[:n]
	highest := byte(0)
	for _, l := range p.levels {
		highest = max(highest, l)
	}
	if int(highest) > p.leaf.levels {
		return fmt.Errorf("there is a level of %d above %d", highest, p.leaf.levels)
	}
	if p.present = bytes.Count(p.levels, []byte{byte(p.leaf.levels)}); p.present == n {
		p.levels = p.levels[:0]
	}
	return nil
}

// room returns a buffer of n elements, s if it is large enough, and counts what it adds against the
// memory that the file may have.
func room[T any](p *pageReader, s []T, n int) ([]T, error) {
	if n+padding <= cap(s) {
		return s[:n], nil
	}
	var t T
	more := int64(n+padding-cap(s)) * int64(unsafe.Sizeof(t))
	if err := p.file.hold(more); err != nil {
		return nil, err
	}
	return make([]T, n, n+padding), nil
}

// hold counts bytes that are allocated next.
func (f *parquetFile) hold(more int64) error {
	if f.held+more > maxHeld {
		return fmt.Errorf("the file needs more than %d MiB of memory; its pages are too large",
			maxHeld>>20)
	}
	f.held += more
	return nil
}

// guarded calls a decoder of others, which may panic over what we could not check.
func guarded(decode func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the decoder gave up: %v", r)
		}
	}()
	return decode()
}
