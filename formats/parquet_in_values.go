package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
)

// rawValues are the values of a page that are there, before they mean something. Which of the
// fields holds them follows from the physical type and the encoding.
type rawValues struct {
	fixed []byte  // values of a fixed number of bytes
	ints  []int64 // integers, where fixed is nil
	bools []byte  // 0 or 1
	// Value i of a BYTE_ARRAY is data[start[i]:start[i+1]-gap].
	data  []byte
	start []uint32
	gap   uint32
}

func (v *rawValues) bytes(i int) []byte { return v.data[v.start[i] : v.start[i+1]-v.gap] }

// loadValues decodes the values of a page, of which p.present must be there and no more.
func (p *pageReader) loadValues(e pageEncoding, src []byte) error {
	n := p.present
	if n == 0 {
		return nil // what is there then is padding, or the width of no indexes
	}
	switch ph := p.leaf.physical; e {
	case encodingPlain:
		return p.plain(src, n)
	case encodingPlainDict, encodingDict:
		return p.loadIndexes(src, n)
	case encodingRuns:
		if ph == physicalBool {
			return p.boolRuns(src, n)
		}
	case encodingDelta:
		if ph == physicalInt32 || ph == physicalInt64 {
			return p.deltas(src, n)
		}
	case encodingDeltaLen:
		if ph == physicalBytes {
			_, err := p.deltaLengths(src, n)
			return err
		}
	case encodingDeltaBytes:
		if ph == physicalBytes || ph == physicalFixed {
			return p.deltaBytes(src, n)
		}
	case encodingSplit:
		if ph != physicalBool && ph != physicalBytes {
			return p.split(src, n)
		}
	}
	return fmt.Errorf("%s can't be encoded so", p.leaf.physical)
}

// plain reads n values that lie one after the other.
func (p *pageReader) plain(src []byte, n int) (err error) {
	v := &p.values
	switch p.leaf.physical {
	case physicalBool:
		if len(src) != (n+7)/8 {
			return lengthError(len(src), n)
		}
		if v.bools, err = room(p, v.bools, n); err != nil {
			return err
		}
		for i := range v.bools {
			v.bools[i] = src[i>>3] >> (i & 7) & 1
		}
		return nil
	case physicalBytes:
		// Every value has four bytes of length, so the room is no larger than the page.
		if n > len(src)/4 {
			return lengthError(len(src), n)
		}
		if v.start, err = room(p, v.start, n+1); err != nil {
			return err
		}
		at := 0
		for i := range n {
			if len(src)-at < 4 {
				return lengthError(len(src), n)
			}
			size := binary.LittleEndian.Uint32(src[at:])
			at += 4
			if uint64(size) > uint64(len(src)-at) {
				return lengthError(len(src), n)
			}
			v.start[i] = uint32(at)
			at += int(size)
		}
		if at != len(src) {
			return lengthError(len(src), n)
		}
		v.start[n], v.data, v.gap = uint32(at)+4, src, 4
		return nil
	}
	if len(src) != n*p.leaf.width {
		return lengthError(len(src), n)
	}
	v.fixed = src
	return nil
}

func lengthError(bytes, values int) error {
	return fmt.Errorf("%d bytes do not hold %d values", bytes, values)
}

// loadIndexes reads indexes into the dictionary: a byte with their width, then runs.
func (p *pageReader) loadIndexes(src []byte, n int) (err error) {
	if !p.hasDict {
		return errors.New("there is no dictionary")
	}
	if len(src) == 0 {
		return errShort
	}
	width, src := int(src[0]), src[1:]
	if width > 32 {
		return fmt.Errorf("indexes of %d bits", width)
	}
	if p.indexes, err = room(p, p.indexes, n+overrun); err != nil {
		return err
	}
	if width == 0 {
		p.indexes = p.indexes[:n]
		clear(p.indexes)
	} else {
		used, _, _, err := checkRuns(src, width, n)
		if err != nil {
			return err
		}
		err = guarded(func() (err error) {
			p.indexes, err = (&rle.Encoding{BitWidth: width}).DecodeInt32(p.indexes, src[:used])
			return err
		})
		if err != nil {
			return err
		}
		if len(p.indexes) < n {
			return errShort
		}
		p.indexes = p.indexes[:n]
	}
	greatest := uint32(0)
	for _, i := range p.indexes {
		greatest = max(greatest, uint32(i))
	}
	if size := p.dictSize(); uint64(greatest) >= uint64(size) {
		return fmt.Errorf("index %d in a dictionary of %d values", greatest, size)
	}
	p.byIndex = true
	return nil
}

// boolRuns reads booleans as runs of one bit, with their size before them.
func (p *pageReader) boolRuns(src []byte, n int) (err error) {
	if len(src) < 4 || uint64(len(src)-4) < uint64(binary.LittleEndian.Uint32(src)) {
		return errShort
	}
	src = src[4 : 4+binary.LittleEndian.Uint32(src)]
	used, _, _, err := checkRuns(src, 1, n)
	if err != nil {
		return err
	}
	v := &p.values
	if v.bools, err = room(p, v.bools, n+overrun); err != nil {
		return err
	}
	err = guarded(func() (err error) {
		v.bools, err = (&rle.Encoding{BitWidth: 1}).DecodeLevels(v.bools, src[:used])
		return err
	})
	if err == nil && len(v.bools) < n {
		err = errShort
	}
	return err
}

// deltas reads integers as differences.
func (p *pageReader) deltas(src []byte, n int) (err error) {
	v := &p.values
	v.fixed = nil
	if p.leaf.physical == physicalInt32 {
		if _, err := p.delta32(&p.lengths, src, n); err != nil {
			return err
		}
		if v.ints, err = room(p, v.ints, n); err != nil {
			return err
		}
		for i, x := range p.lengths[:n] {
			v.ints[i] = int64(x)
		}
		return nil
	}
	used, err := checkDelta(src, 64, n)
	if err != nil {
		return err
	}
	if v.ints, err = room(p, v.ints, n); err != nil {
		return err
	}
	err = guarded(func() (err error) {
		v.ints, err = new(delta.BinaryPackedEncoding).DecodeInt64(v.ints, src[:used])
		return err
	})
	if err == nil && len(v.ints) != n {
		err = errShort
	}
	return err
}

// delta32 reads n integers of 32 bits into out and returns what is behind them.
func (p *pageReader) delta32(out *[]int32, src []byte, n int) (rest []byte, err error) {
	used, err := checkDelta(src, 32, n)
	if err != nil {
		return nil, err
	}
	if *out, err = room(p, *out, n); err != nil {
		return nil, err
	}
	err = guarded(func() (err error) {
		*out, err = new(delta.BinaryPackedEncoding).DecodeInt32(*out, src[:used])
		return err
	})
	if err == nil && len(*out) != n {
		err = errShort
	}
	return src[used:], err
}

// deltaLengths reads byte strings whose lengths come first.
func (p *pageReader) deltaLengths(src []byte, n int) (data []byte, err error) {
	rest, err := p.delta32(&p.lengths, src, n)
	if err != nil {
		return nil, err
	}
	v := &p.values
	if v.start, err = room(p, v.start, n+1); err != nil {
		return nil, err
	}
	at := 0
	for i, size := range p.lengths {
		if size < 0 || int(size) > len(rest)-at {
			return nil, fmt.Errorf("a value of %d bytes, where %d are left", size, len(rest)-at)
		}
		v.start[i] = uint32(at)
		at += int(size)
	}
	if at != len(rest) {
		return nil, lengthError(len(rest), n)
	}
	v.start[n], v.data, v.gap = uint32(at), rest, 0
	return rest, nil
}

// deltaBytes reads byte strings that share a beginning with the one before. A few bytes can share
// much, so the whole is measured before it is given room.
func (p *pageReader) deltaBytes(src []byte, n int) error {
	rest, err := p.delta32(&p.prefixes, src, n)
	if err != nil {
		return err
	}
	if _, err := p.deltaLengths(rest, n); err != nil {
		return err
	}
	total, last := 0, 0
	for i, size := range p.lengths {
		shared := int(p.prefixes[i])
		if shared < 0 || shared > last {
			return fmt.Errorf("a value shares %d bytes with one of %d", shared, last)
		}
		last = shared + int(size)
		if p.leaf.physical == physicalFixed && last != p.leaf.width {
			return fmt.Errorf("a value has %d bytes", last)
		}
		if total += last; total > maxPageBytes {
			return fmt.Errorf("more than %d bytes", maxPageBytes)
		}
	}
	v := &p.values
	out, err := room(p, p.text.joined, total)
	if err != nil {
		return err
	}
	p.text.joined = out
	at, before := 0, 0
	for i := range n {
		tail := v.data[v.start[i]:v.start[i+1]]
		shared := int(p.prefixes[i])
		copy(out[at:], out[before:before+shared])
		copy(out[at+shared:], tail)
		v.start[i], before = uint32(at), at
		at += shared + len(tail)
	}
	v.start[n], v.data, v.fixed = uint32(at), out, out
	return nil
}

// split reads values of a fixed number of bytes whose first bytes come first, then all second ones.
func (p *pageReader) split(src []byte, n int) (err error) {
	width := p.leaf.width
	if len(src) != n*width {
		return lengthError(len(src), n)
	}
	if p.text.joined, err = room(p, p.text.joined, len(src)); err != nil {
		return err
	}
	out := p.text.joined
	for k := range width {
		for i, b := range src[k*n : k*n+n] {
			out[i*width+k] = b
		}
	}
	p.values.fixed = out
	return nil
}

// half returns the value of a floating-point number of 16 bits.
func half(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10&31), float64(h&1023)
	if h>>15 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}
