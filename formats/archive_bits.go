package formats

import (
	"math/bits"

	"billctl/engine"
)

// Sets of rows are copied in words of 64 bits.

// bitsAt returns 64 bits of a set from a row on.
func bitsAt(b engine.Bits, row int) uint64 {
	w, shift := row>>6, uint(row&63)
	var out uint64
	if w < len(b) {
		out = b[w] >> shift
	}
	if shift > 0 && w+1 < len(b) {
		out |= b[w+1] << (64 - shift)
	}
	return out
}

// appendBitRange adds the rows from to to of src to dst, as the rows from n on.
func appendBitRange(dst *engine.Bits, n int, src engine.Bits, from, to int) {
	appendWordRange(dst, n, from, to, func(row int) uint64 { return bitsAt(src, row) })
}

// appendPresent adds the rows that are not in null.
func appendPresent(dst *engine.Bits, n int, null engine.Bits, from, to int) {
	appendWordRange(dst, n, from, to, func(row int) uint64 { return ^bitsAt(null, row) })
}

func appendWordRange(dst *engine.Bits, n, from, to int, word func(row int) uint64) {
	for row := from; row < to; row += 64 {
		w := word(row)
		if left := to - row; left < 64 {
			w &= 1<<left - 1
		}
		if w == 0 {
			continue
		}
		at, shift := (n+row-from)>>6, uint(n+row-from)&63
		grown := at
		if shift > 0 && w>>(64-shift) != 0 {
			grown++
		}
		for len(*dst) <= grown {
			*dst = append(*dst, 0)
		}
		(*dst)[at] |= w << shift
		if grown > at {
			(*dst)[grown] |= w >> (64 - shift)
		}
	}
}

// firstBit returns the first row from from on that is in the set, to if there is none.
func firstBit(b engine.Bits, from, to int) int {
	for row := from; row < to; row += 64 {
		if row>>6 >= len(b) {
			return to
		}
		if w := bitsAt(b, row); w != 0 {
			return min(to, row+bits.TrailingZeros64(w))
		}
	}
	return to
}

// countBits returns how many of the rows are in the set.
func countBits(b engine.Bits, from, to int) int {
	n := 0
	for row := from; row < to && row>>6 < len(b); row += 64 {
		w := bitsAt(b, row)
		if left := to - row; left < 64 {
			w &= 1<<left - 1
		}
		n += bits.OnesCount64(w)
	}
	return n
}

// firstWord returns the first row with a text, to if there is none.
func firstWord(index []uint32, from, to int) int {
	for row := from; row < to; row++ {
		if index[row] != engine.Absent {
			return row
		}
	}
	return to
}
