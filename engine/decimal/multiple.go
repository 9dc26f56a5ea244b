package decimal

import "math/bits"

// CeilTo returns the least multiple of to that is not below d, and false if that is beyond a
// Decimal. to is above zero: the catalog holds no other.
func (d Decimal) CeilTo(to Decimal) (Decimal, bool) {
	neg, down, cut, up := d.multiples(to)
	if cut != none && !neg {
		return within(neg, up)
	}
	return within(neg, down)
}

// FloorTo returns the greatest multiple of to that is not above d, as CeilTo does.
func (d Decimal) FloorTo(to Decimal) (Decimal, bool) {
	neg, down, cut, up := d.multiples(to)
	if cut != none && neg {
		return within(neg, up)
	}
	return within(neg, down)
}

// NearestTo returns the multiple of to that is nearest to d, and of two the one away from zero, as
// CeilTo does.
func (d Decimal) NearestTo(to Decimal) (Decimal, bool) {
	neg, down, cut, up := d.multiples(to)
	if cut >= half {
		return within(neg, up)
	}
	return within(neg, down)
}

// multiples returns the multiples of to around the magnitude of d, and how what is above the lower
// one compares to half of to. All of it fits 128 bits, because both magnitudes are below 2^127.
func (d Decimal) multiples(to Decimal) (neg bool, down [2]uint64, cut part, up [2]uint64) {
	if to.Sign() <= 0 {
		panic("BUG: a number is rounded to multiples of nothing")
	}
	neg, hi, lo := d.abs()
	thi, tlo := uint64(to.hi), to.lo
	rhi, rlo := mod128(hi, lo, thi, tlo)
	var c uint64
	down[1], c = bits.Sub64(lo, rlo, 0)
	down[0], _ = bits.Sub64(hi, rhi, c)
	up[1], c = bits.Add64(down[1], tlo, 0)
	up[0], _ = bits.Add64(down[0], thi, c)
	if rhi|rlo == 0 {
		return neg, down, none, up
	}
	// The remainder against what is missing to the next multiple.
	olo, c := bits.Sub64(tlo, rlo, 0)
	ohi, _ := bits.Sub64(thi, rhi, c)
	switch {
	case rhi < ohi || rhi == ohi && rlo < olo:
		return neg, down, below, up
	case rhi == ohi && rlo == olo:
		return neg, down, half, up
	}
	return neg, down, above, up
}

// within returns the Decimal of a sign and a magnitude, false if it is out of range.
func within(neg bool, m [2]uint64) (Decimal, bool) {
	if !inRange(m[0], m[1]) {
		return Decimal{}, false
	}
	return decimalOf(neg, m[0], m[1]), true
}

// mod128 returns the remainder of one 128-bit number by another, which is not zero.
func mod128(hi, lo, dhi, dlo uint64) (rhi, rlo uint64) {
	if dhi == 0 {
		_, r := bits.Div64(hi%dlo, lo, dlo)
		return 0, r
	}
	// Divide half of the number by the divisor's upper bits, which gives the quotient or one more
	// than it once it is scaled back (Hacker's Delight, 9-5); take one off and correct once.
	n := uint(bits.LeadingZeros64(dhi))
	v := dhi<<n | dlo>>(64-n)
	q, _ := bits.Div64(hi>>1, hi<<63|lo>>1, v)
	q >>= 63 - n
	if q != 0 {
		q--
	}
	phi, plo := bits.Mul64(q, dlo)
	phi += q * dhi
	rlo, c := bits.Sub64(lo, plo, 0)
	rhi, _ = bits.Sub64(hi, phi, c)
	if rhi > dhi || rhi == dhi && rlo >= dlo {
		rlo, c = bits.Sub64(rlo, dlo, 0)
		rhi, _ = bits.Sub64(rhi, dhi, c)
	}
	return rhi, rlo
}
