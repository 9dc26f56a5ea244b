package formats

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"billctl/engine"
	"billctl/engine/decimal"
)

// fill gives v the next n rows, from as many pages as it takes. It fails at a row, counted from the
// first of the n.
func (p *pageReader) fill(v *vector, n int) (row int, err error) {
	if err := p.size(v, n); err != nil {
		return 0, err
	}
	for at := 0; at < n; {
		if p.row == p.rows {
			if err := p.load(); err != nil {
				return at, err
			}
			continue
		}
		m := min(n-at, p.rows-p.row)
		var levels []byte
		k := m
		if len(p.levels) > 0 {
			levels = p.levels[p.row : p.row+m]
			k = p.nulls(v, at, levels)
		}
		if bad, err := p.piece(v, at, m, k, levels); err != nil {
			return at + rowOf(levels, byte(p.leaf.levels), bad), err
		}
		at += m
		p.row += m
		p.seen += k
	}
	if p.leaf.kind == textVector {
		p.text.end(p, v)
	}
	return 0, nil
}

// size prepares v for n rows.
func (p *pageReader) size(v *vector, n int) (err error) {
	v.null, v.wide = nil, nil
	switch p.leaf.kind {
	case textVector:
		v.text.Index, err = room(p, v.text.Index, n)
		p.text.begin(p.file, n)
	case intVector, timeVector, dateVector:
		v.ints, err = room(p, v.ints, n)
	case numberVector:
		v.numbers, err = room(p, v.numbers, n)
	case floatVector:
		v.floats, err = room(p, v.floats, n)
	case boolVector:
		v.bools, err = room(p, v.bools, (n+63)/64)
		clear(v.bools)
	case bytesVector, uuidVector:
		v.bytes.Bytes = v.bytes.Bytes[:0]
		v.bytes.End, err = room(p, v.bytes.End, n)
	}
	return err
}

// nulls marks the rows that are null, from row at on, and returns how many are not.
func (p *pageReader) nulls(v *vector, at int, levels []byte) (k int) {
	there := byte(p.leaf.levels)
	for i, l := range levels {
		if l == there {
			k++
			continue
		}
		if v.null == nil {
			p.nullRoom = append(p.nullRoom[:0], make([]uint64, engine.MaxRows/64)...)
			v.null = p.nullRoom
		}
		v.null.Set(at + i)
	}
	return k
}

// piece converts the next k values of the page to the rows at to at+m of v; levels say which of the
// rows have them. It fails at one of the k values.
func (p *pageReader) piece(v *vector, at, m, k int, levels []byte) (bad int, err error) {
	there := byte(p.leaf.levels)
	var indexes []int32
	if p.byIndex {
		indexes = p.indexes[p.seen : p.seen+k]
	}
	switch p.leaf.kind {
	case textVector:
		out := v.text.Index[at : at+m]
		if p.byIndex {
			bad, err = p.takeText(out, indexes)
		} else {
			bad, err = p.text.intern(p, out[:k])
		}
		spread(out, levels, there, k, engine.Absent)
	case intVector, timeVector, dateVector:
		out := v.ints[at : at+m]
		if p.byIndex {
			take(out, p.dict.ints, indexes)
			bad, err = p.checkBad(indexes)
		} else {
			bad, err = p.ints(out[:k], p.seen)
		}
		spread(out, levels, there, k, 0)
	case numberVector:
		bad, err = p.pieceOfNumbers(v, at, m, k, levels)
	case floatVector:
		out := v.floats[at : at+m]
		if p.byIndex {
			take(out, p.dict.floats, indexes)
		} else {
			p.floats(out[:k], p.seen)
		}
		spread(out, levels, there, k, 0)
	case boolVector:
		seen := p.seen
		for i := range m {
			if levels != nil && levels[i] != there {
				continue
			}
			v.bools[(at+i)>>6] |= uint64(p.values.bools[seen]) << ((at + i) & 63)
			seen++
		}
	case bytesVector, uuidVector:
		bad, err = p.pieceOfBytes(v, at, m, levels)
	}
	return bad, err
}

// checkBad fails at the first of the values of a dictionary that is none.
func (p *pageReader) checkBad(indexes []int32) (bad int, err error) {
	if p.bad == nil {
		return 0, nil
	}
	for i, x := range indexes {
		switch {
		case !p.bad.Has(int(x)):
		case p.leaf.kind == textVector:
			return i, notText(p.dict.text.Values[x])
		default:
			return i, errTime
		}
	}
	return 0, nil
}

// take picks the values of a dictionary.
func take[T any](out, dict []T, indexes []int32) {
	for i, x := range indexes {
		out[i] = dict[x]
	}
}

// spread moves the first k elements of s to the rows that have values, from the end on.
func spread[T any](s []T, levels []byte, there byte, k int, none T) {
	if levels == nil {
		return
	}
	for i := len(s) - 1; i >= 0; i-- {
		if levels[i] == there {
			k--
			s[i] = s[k]
		} else {
			s[i] = none
		}
	}
}

// rowOf returns the row that has value i of those that are there.
func rowOf(levels []byte, there byte, i int) int {
	if levels == nil {
		return i
	}
	for row, l := range levels {
		if l == there {
			if i == 0 {
				return row
			}
			i--
		}
	}
	return 0
}

// keepDict makes the values of the page the dictionary of the chunk.
func (p *pageReader) keepDict() error {
	d, n := &p.dict, p.present
	var err error
	switch p.leaf.kind {
	case textVector:
		err = p.keepTexts()
	case intVector, timeVector, dateVector:
		if d.ints, err = room(p, d.ints, n); err != nil {
			return err
		}
		if _, wrong := p.ints(d.ints, 0); wrong != nil {
			for i := range d.ints { // a value may be wrong that no row has
				if _, wrong := p.ints(d.ints[i:i+1], i); wrong != nil {
					p.bad.Set(i)
				}
			}
		}
	case numberVector:
		if d.numbers, err = room(p, d.numbers, n); err == nil {
			_, err = p.decimals(d, d.numbers, 0)
		}
	case floatVector:
		if d.floats, err = room(p, d.floats, n); err == nil {
			p.floats(d.floats, 0)
		}
	case bytesVector, uuidVector:
		if d.bytes.End, err = room(p, d.bytes.End, n); err == nil {
			_, err = p.pieceOfBytes(d, 0, n, nil)
		}
	}
	return err
}

// dictSize returns how many values the dictionary has.
func (p *pageReader) dictSize() int {
	d := &p.dict
	return max(len(d.text.Values), len(d.ints), len(d.numbers), len(d.floats), len(d.bytes.End))
}

var errTime = errors.New("a time is beyond 64 bits of microseconds")

// ints converts values from the one at from on.
func (p *pageReader) ints(out []int64, from int) (bad int, err error) {
	l, v := p.leaf, &p.values
	switch {
	case l.physical == physicalInt96:
		return p.oldTimes(out, from)
	case v.fixed == nil:
		copy(out, v.ints[from:])
	case l.width == 4:
		src := v.fixed[4*from:]
		for i := range out {
			out[i] = int64(int32(binary.LittleEndian.Uint32(src[4*i:])))
		}
	default:
		src := v.fixed[8*from:]
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
		}
	}
	switch t := &l.logical; {
	case t.id == logicalInteger && !t.signed && l.width == 4:
		for i, n := range out {
			out[i] = int64(uint32(n))
		}
	case t.id == logicalTimestamp && t.unit == millis:
		for i, n := range out {
			if n > math.MaxInt64/1000 || n < math.MinInt64/1000 {
				return i, errTime
			}
			out[i] = n * 1000
		}
	case t.id == logicalTimestamp && t.unit == nanos:
		for i, n := range out {
			q := n / 1000
			if n%1000 < 0 {
				q--
			}
			out[i] = q
		}
	}
	return 0, nil
}

// oldTimes converts times of 12 bytes: nanoseconds of a day, and a Julian day.
func (p *pageReader) oldTimes(out []int64, from int) (bad int, err error) {
	const epoch, day, days64 = 2_440_588, 86_400_000_000, 106_000_000
	for i := range out {
		b := p.values.fixed[12*(from+i):]
		n := int64(binary.LittleEndian.Uint64(b))
		days := int64(int32(binary.LittleEndian.Uint32(b[8:]))) - epoch
		q := n / 1000
		if n%1000 < 0 {
			q--
		}
		// So many days leave room for any 2^63 nanoseconds.
		if days > days64 || days < -days64 {
			return i, errTime
		}
		out[i] = days*day + q
	}
	return 0, nil
}

func (p *pageReader) floats(out []float64, from int) {
	src := p.values.fixed
	switch p.leaf.width {
	case 2:
		for i := range out {
			out[i] = half(binary.LittleEndian.Uint16(src[2*(from+i):]))
		}
	case 4:
		for i := range out {
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*(from+i):])))
		}
	case 8:
		for i := range out {
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*(from+i):]))
		}
	}
}

// pieceOfNumbers is piece of a numberVector. Numbers beyond a Decimal are by their row in v.wide.
func (p *pageReader) pieceOfNumbers(v *vector, at, m, k int, levels []byte) (bad int, err error) {
	there := byte(p.leaf.levels)
	out := v.numbers[at : at+m]
	from := vector{}
	if p.byIndex {
		indexes := p.indexes[p.seen : p.seen+k]
		take(out, p.dict.numbers, indexes)
		for i := 0; i < k && p.dict.wide != nil; i++ {
			if text, ok := p.dict.wide[int(indexes[i])]; ok {
				from.addWide(i, text)
			}
		}
	} else if bad, err = p.decimals(&from, out[:k], p.seen); err != nil {
		return bad, err
	}
	spread(out, levels, there, k, decimal.Decimal{})
	if from.wide == nil {
		return 0, nil
	}
	i := 0
	for row := range m {
		if levels != nil && levels[row] != there {
			continue
		}
		if text, ok := from.wide[i]; ok {
			v.addWide(at+row, text)
		}
		i++
	}
	return 0, nil
}

func (v *vector) addWide(row int, text string) {
	if v.wide == nil {
		v.wide = map[int]string{}
	}
	v.wide[row] = text
}

// decimals converts values from the one at from on; those beyond a Decimal are 0 in out, and in the
// wide of v by their place in out.
func (p *pageReader) decimals(v *vector, out []decimal.Decimal, from int) (bad int, err error) {
	l := p.leaf
	if l.physical == physicalInt32 || l.physical == physicalInt64 {
		if p.scratch, err = room(p, p.scratch, len(out)); err != nil {
			return 0, err
		}
		if bad, err = p.ints(p.scratch, from); err != nil {
			return bad, err
		}
		unsigned := l.logical.id == logicalInteger
		for i, n := range p.scratch {
			switch {
			case unsigned && n < 0:
				out[i] = v.number(i, strconv.AppendUint(p.digits[:0], uint64(n), 10))
			case l.logical.scale <= decimal.Scale:
				out[i] = decimal.FromScaled(n, l.logical.scale)
			default:
				out[i] = v.number(i, p.places(strconv.AppendInt(p.digits[:0], n, 10)))
			}
		}
		return 0, nil
	}
	for i := range out {
		b := p.value(from + i)
		if len(b) == 0 || len(b) > maxDecimal {
			return i, fmt.Errorf("a decimal of %d bytes; 1 to %d are read", len(b), maxDecimal)
		}
		hi, lo, ok := words(b)
		if ok && hi == int64(lo)>>63 && l.logical.scale <= decimal.Scale {
			out[i] = decimal.FromScaled(int64(lo), l.logical.scale)
			continue
		}
		if ok && l.logical.scale == decimal.Scale {
			if out[i], ok = decimal.FromWords(hi, lo); ok {
				continue
			}
		}
		n := new(big.Int).SetBytes(b)
		if b[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		out[i] = v.number(i, p.places(n.Append(p.digits[:0], 10)))
	}
	return 0, nil
}

// value returns the bytes of a value of a byte array, fixed or not.
func (p *pageReader) value(i int) []byte {
	if p.leaf.physical == physicalFixed {
		return p.values.fixed[i*p.leaf.width : (i+1)*p.leaf.width]
	}
	return p.values.bytes(i)
}

// words reads a big-endian number in two's complement of at most 16 bytes.
func words(b []byte) (hi int64, lo uint64, ok bool) {
	if len(b) > 16 {
		return 0, 0, false
	}
	fill := uint64(int64(int8(b[0])) >> 7)
	h, l := fill, fill
	for _, c := range b {
		h = h<<8 | l>>56
		l = l<<8 | uint64(c)
	}
	return int64(h), l, true
}

// number returns the Decimal of a text, or keeps the text as wide.
func (v *vector) number(i int, text []byte) decimal.Decimal {
	d, err := decimal.ParseBytes(text)
	if err != nil {
		v.addWide(i, string(text))
	}
	return d
}

// places puts the decimal point into the digits of an integer. Zeros at the end of the fraction go,
// so that equal numbers have equal texts.
func (p *pageReader) places(digits []byte) []byte {
	scale := p.leaf.logical.scale
	if scale == 0 {
		return digits
	}
	sign := 0
	if digits[0] == '-' {
		sign = 1
	}
	for len(digits)-sign <= scale {
		digits = append(digits[:sign], append([]byte{'0'}, digits[sign:]...)...)
	}
	end := len(digits)
	for end > len(digits)-scale && digits[end-1] == '0' {
		end--
	}
	point := len(digits) - scale
	if end == point {
		return digits[:end]
	}
	out := append(digits[:end:end], 0)
	copy(out[point+1:], out[point:])
	out[point] = '.'
	return out
}

// pieceOfBytes is piece of a vector of bytes. A row that is null is empty, in a uuidVector it is
// 16 zeros.
func (p *pageReader) pieceOfBytes(v *vector, at, m int, levels []byte) (bad int, err error) {
	there := byte(p.leaf.levels)
	var none [16]byte
	seen := p.seen
	out := v.bytes.Bytes
	if p.leaf.physical == physicalFixed && levels == nil && !p.byIndex {
		return p.pieceOfFixed(v, at, m)
	}
	for i := range m {
		var b []byte
		switch {
		case levels != nil && levels[i] != there:
			if p.leaf.kind == uuidVector {
				b = none[:]
			}
		case p.byIndex:
			b = p.dict.bytes.At(int(p.indexes[seen]))
			seen++
		default:
			b = p.value(seen)
			seen++
		}
		if len(out)+len(b) > cap(out) {
			// Few bytes of a dictionary can give very many of a run.
			larger, err := room(p, out, max(2*len(out), len(out)+len(b)))
			if err != nil {
				return max(seen-p.seen-1, 0), err
			}
			out = larger[:copy(larger, out)]
		}
		out = append(out, b...)
		v.bytes.End[at+i] = uint32(len(out))
	}
	v.bytes.Bytes = out
	return 0, nil
}

// pieceOfFixed is pieceOfBytes of m values of one size that lie side by side.
func (p *pageReader) pieceOfFixed(v *vector, at, m int) (bad int, err error) {
	width, out := p.leaf.width, v.bytes.Bytes
	if need := len(out) + m*width; need > cap(out) {
		larger, err := room(p, out, max(2*len(out), need))
		if err != nil {
			return 0, err
		}
		out = larger[:copy(larger, out)]
	}
	end := len(out)
	v.bytes.Bytes = append(out, p.values.fixed[p.seen*width:(p.seen+m)*width]...)
	for i := range m {
		end += width
		v.bytes.End[at+i] = uint32(end)
	}
	return 0, nil
}
