package formats

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// vector reads n rows of a column from a row of the batch on. Where it can't, it says why and in
// which of the rows.
func (d *arrowData) vector(
	f *arrowField, dict *arrowDict, from, n int, v *vector,
) (reason string, row int) {
	*v = vector{
		kind: f.kind, null: v.null[:0], text: emptyDict(v.text), ints: v.ints[:0],
		numbers: v.numbers[:0], floats: v.floats[:0], bools: v.bools[:0],
		bytes: engine.Strings{Bytes: v.bytes.Bytes[:0], End: v.bytes.End[:0]},
	}
	d.readNulls(from, n, &v.null)
	switch {
	case f.typ == arrowNull:
		for i := range n {
			v.null.Set(i)
		}
		v.text.Index = padAbsent(v.text.Index, n)
		return "", 0
	case f.dict != nil:
		return d.coded(f, dict, from, n, v)
	}
	switch f.kind {
	case textVector, bytesVector:
		return d.texts(f, from, n, v)
	case uuidVector:
		for i := range n {
			if !v.null.Has(i) {
				v.bytes.Bytes = append(v.bytes.Bytes, d.data[16*(from+i):16*(from+i)+16]...)
			}
			v.bytes.End = append(v.bytes.End, uint32(len(v.bytes.Bytes)))
		}
	case numberVector:
		d.decimals(f, from, n, v)
	case floatVector:
		for i := range n {
			x := 0.0
			if !v.null.Has(i) {
				x = d.float(f.bits, from+i)
			}
			v.floats = append(v.floats, x)
		}
	case boolVector:
		for i := range n {
			if at := from + i; !v.null.Has(i) && d.data[at>>3]>>(at&7)&1 == 1 {
				v.bools.Set(i)
			}
		}
	default:
		d.integers(f, from, n, v)
	}
	return "", 0
}

// readNulls sets the rows that are null in one of the bitmaps.
func (d *arrowData) readNulls(from, n int, null *engine.Bits) {
	for _, bitmap := range d.nulls {
		for i := range n {
			at := from + i
			if bitmap[at>>3]>>(at&7)&1 == 0 {
				null.Set(i)
			}
		}
	}
}

// coded reads rows that are numbers of a dictionary's values.
func (d *arrowData) coded(
	f *arrowField, dict *arrowDict, from, n int, v *vector,
) (reason string, row int) {
	if dict == nil {
		dict = &arrowDict{}
	}
	if v.kind == textVector {
		v.text.Values = append(v.text.Values, dict.text...)
	}
	for i := range n {
		at, ok := engine.Absent, false
		if !v.null.Has(i) {
			x := d.integer(f.dict.bits, f.dict.signed, from+i)
			if x < 0 || x >= int64(dict.size) {
				return "number " + strconv.FormatInt(x, 10) + " is not in the dictionary", i
			}
			if ok = !dict.null.Has(int(x)); ok {
				at = uint32(x)
			} else {
				v.null.Set(i)
			}
		}
		if v.kind == textVector {
			v.text.Index = append(v.text.Index, at)
		} else if ok {
			v.ints = append(v.ints, dict.ints[at])
		} else {
			v.ints = append(v.ints, 0)
		}
	}
	return "", 0
}

// texts reads strings, or bytes without a meaning.
func (d *arrowData) texts(f *arrowField, from, n int, v *vector) (reason string, row int) {
	if f.typ != arrowFixedBinary && d.offsets == nil && d.data == nil && n > 0 && len(d.more) == 0 {
		panic("BUG: strings without offsets")
	}
	for i := range n {
		var b []byte
		if !v.null.Has(i) {
			var ok bool
			if b, ok = d.textAt(f, from+i); !ok {
				return "a string reaches beyond the data", i
			}
		}
		v.bytes.Bytes = append(v.bytes.Bytes, b...)
		if len(v.bytes.Bytes) > maxArrowBatch {
			return "its strings are too long", i
		}
		v.bytes.End = append(v.bytes.End, uint32(len(v.bytes.Bytes)))
	}
	if v.kind == bytesVector {
		return "", 0
	}
	all, at := string(v.bytes.Bytes), uint32(0)
	v.text.Values = slices.Grow(v.text.Values, n)
	for i, end := range v.bytes.End {
		if v.null.Has(i) {
			v.text.Index = append(v.text.Index, engine.Absent)
			continue
		}
		s := all[at:end]
		if !utf8.ValidString(s) {
			return "the text " + quoted(s) + " is not valid UTF-8", i
		}
		v.text.Index = append(v.text.Index, uint32(len(v.text.Values)))
		v.text.Values = append(v.text.Values, s)
		at = end
	}
	v.bytes = engine.Strings{Bytes: v.bytes.Bytes[:0], End: v.bytes.End[:0]}
	return "", 0
}

// textAt returns the bytes of one row, false if they are not there.
func (d *arrowData) textAt(f *arrowField, i int) ([]byte, bool) {
	switch f.typ {
	case arrowFixedBinary:
		return d.data[f.width*i : f.width*i+f.width], true
	case arrowUtf8View, arrowBinaryView:
		view := d.data[16*i : 16*i+16]
		size := int64(int32(binary.LittleEndian.Uint32(view)))
		if size <= 12 {
			return view[4 : 4+max(size, 0)], size >= 0
		}
		at := int64(int32(binary.LittleEndian.Uint32(view[12:])))
		n := int(int32(binary.LittleEndian.Uint32(view[8:])))
		if n < 0 || n >= len(d.more) || at < 0 || at+size > int64(len(d.more[n])) {
			return nil, false
		}
		return d.more[n][at : at+size], true
	}
	size := 4
	if f.typ == arrowLargeUtf8 || f.typ == arrowLargeBinary {
		size = 8
	}
	a, z := arrowOffset(d.offsets, size, i), arrowOffset(d.offsets, size, i+1)
	if a < 0 || a > z || z > int64(len(d.data)) {
		return nil, false
	}
	return d.data[a:z], true
}

// integers reads numbers, dates and timestamps.
func (d *arrowData) integers(f *arrowField, from, n int, v *vector) {
	width := f.fixedBits()
	signed := f.signed || f.typ != arrowInt
	for i := range n {
		x := int64(0)
		if !v.null.Has(i) {
			x = d.integer(width, signed, from+i)
		}
		switch {
		case f.kind == timeVector:
			x = arrowMicros(x, f.unit)
		case f.kind == dateVector && f.unit == 1:
			x = floorDiv(x, 86_400_000)
		}
		v.ints = append(v.ints, x)
	}
}

// integer returns number i of a size in bits.
func (d *arrowData) integer(size int, signed bool, i int) int64 {
	switch b := d.data[size/8*i:]; size {
	case 8:
		if signed {
			return int64(int8(b[0]))
		}
		return int64(b[0])
	case 16:
		if x := binary.LittleEndian.Uint16(b); !signed {
			return int64(x)
		} else {
			return int64(int16(x))
		}
	case 32:
		if x := binary.LittleEndian.Uint32(b); !signed {
			return int64(x)
		} else {
			return int64(int32(x))
		}
	default:
		x := int64(binary.LittleEndian.Uint64(b))
		if !signed && x < 0 {
			return math.MaxInt64 // number of a dictionary's value: too high in any case
		}
		return x
	}
}

// float returns number i.
func (d *arrowData) float(size, i int) float64 {
	switch size {
	case 64:
		return math.Float64frombits(binary.LittleEndian.Uint64(d.data[8*i:]))
	case 32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(d.data[4*i:])))
	}
	return half(binary.LittleEndian.Uint16(d.data[2*i:]))
}

// decimals reads decimals, and integers of 64 bits without a sign.
func (d *arrowData) decimals(f *arrowField, from, n int, v *vector) {
	width := f.bits / 8
	for i := range n {
		var x decimal.Decimal
		if !v.null.Has(i) {
			b := d.data[width*(from+i) : width*(from+i)+width]
			var wide string
			if x, wide = arrowNumber(b, f.typ == arrowDecimal, f.scale); wide != "" {
				if v.wide == nil {
					v.wide = map[int]string{}
				}
				v.wide[i] = wide
			}
		}
		v.numbers = append(v.numbers, x)
	}
}

// arrowNumber reads an integer, lowest byte first, of which scale digits are a fraction. wide is
// its text where no Decimal holds it.
func arrowNumber(b []byte, signed bool, scale int) (d decimal.Decimal, wide string) {
	if !signed {
		hi, lo := bits.Mul64(binary.LittleEndian.Uint64(b), 1e18)
		d, _ = decimal.FromWords(int64(hi), lo) // below 2^64 it always fits
		return d, ""
	}
	var low int64
	switch len(b) {
	case 4:
		low = int64(int32(binary.LittleEndian.Uint32(b)))
	default:
		low = int64(binary.LittleEndian.Uint64(b))
	}
	small := true
	for _, c := range b[min(8, len(b)):] {
		small = small && c == byte(low>>63)
	}
	if small && scale >= 0 && scale <= decimal.Scale {
		return decimal.FromScaled(low, scale), ""
	}
	big := slices.Clone(b)
	slices.Reverse(big)
	text := decimalText(big, scale)
	d, err := decimal.Parse(text)
	if err != nil {
		return decimal.Decimal{}, text
	}
	return d, ""
}

// decimalText writes a two's complement number, highest byte first, of which scale digits are a
// fraction, without zeros at the fraction's end.
func decimalText(b []byte, scale int) string {
	x := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	sign := ""
	if x.Sign() < 0 {
		sign = "-"
	}
	text := x.Abs(x).String()
	if scale <= 0 {
		if text != "0" {
			text += strings.Repeat("0", -scale)
		}
		return sign + text
	}
	if len(text) <= scale {
		text = strings.Repeat("0", scale+1-len(text)) + text
	}
	text = text[:len(text)-scale] + "." + text[len(text)-scale:]
	return sign + strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// arrowMicros returns microseconds for a number of units, floored. What no int64 holds is beyond
// every time that is allowed, and so are the ends of the range.
func arrowMicros(x int64, unit int) int64 {
	if unit == 3 {
		return floorDiv(x, 1000)
	}
	factor := []int64{1_000_000, 1_000, 1}[unit]
	if x > math.MaxInt64/factor {
		return math.MaxInt64
	}
	if x < math.MinInt64/factor {
		return math.MinInt64
	}
	return x * factor
}

func floorDiv(x, n int64) int64 {
	q := x / n
	if x%n < 0 {
		q--
	}
	return q
}
