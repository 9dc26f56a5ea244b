package decimal

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

// bigSum returns the units of s, by way of its words and not of its methods.
func bigSum(s Sum) *big.Int {
	w := s.Words()
	b := new(big.Int).Lsh(big.NewInt(int64(w[0])), 128)
	b.Add(b, new(big.Int).Lsh(new(big.Int).SetUint64(w[1]), 64))
	return b.Add(b, new(big.Int).SetUint64(w[2]))
}

// sumOfBig returns the Sum of so many units, which must fit.
func sumOfBig(b *big.Int) Sum {
	m, _ := wideOf(b)
	if b.Sign() < 0 {
		m = m.neg()
	}
	return SumFromWords([3]uint64{m.w2, m.w1, m.w0})
}

// randSum returns a Sum within the magnitude that 2^63 Decimals can reach.
func randSum(r *rand.Rand) Sum {
	b := randBits(r, 190)
	if r.IntN(2) == 0 {
		b = new(big.Int).Neg(b)
	}
	return sumOfBig(b)
}

// TestSumOperations compares every method of Sum with math/big.
func TestSumOperations(t *testing.T) {
	r := newRand(20)
	for range 20000 {
		x, y, d := randSum(r), randSum(r), randDecimal(t, r)
		if r.IntN(8) == 0 {
			y = x
		}
		bx, by, bd := bigSum(x), bigSum(y), bigUnits(d)
		check := func(op string, want *big.Int, f func(*Sum)) {
			t.Helper()
			got := x
			if f(&got); bigSum(got).Cmp(want) != 0 {
				t.Fatalf("%s: %v, %v, %v gives %v, want %v", op, bx, by, bd, bigSum(got), want)
			}
		}
		check("Add", new(big.Int).Add(bx, bd), func(s *Sum) { s.Add(d) })
		check("Sub", new(big.Int).Sub(bx, bd), func(s *Sum) { s.Sub(d) })
		check("AddSum", new(big.Int).Add(bx, by), func(s *Sum) { s.AddSum(y) })
		check("SubSum", new(big.Int).Sub(bx, by), func(s *Sum) { s.SubSum(y) })
		check("Neg", new(big.Int).Neg(bx), func(s *Sum) { *s = s.Neg() })
		check("SumOf", bd, func(s *Sum) { *s = SumOf(d) })
		if x.Cmp(y) != bx.Cmp(by) || (x == y) != (bx.Cmp(by) == 0) {
			t.Fatalf("comparison of %v and %v is wrong", bx, by)
		}
		if x.Sign() != bx.Sign() || x.IsZero() != (bx.Sign() == 0) {
			t.Fatalf("the sign of %v is wrong", bx)
		}
		if back, ok := SumOf(d).Decimal(); !ok || back != d {
			t.Fatalf("%v comes back as %v, %v", d, back, ok)
		}
		back, ok := x.Decimal()
		if ok != (bx.CmpAbs(bigPow(10, 38)) < 0) || ok && bigUnits(back).Cmp(bx) != 0 {
			t.Fatalf("%v as a Decimal is %v, %v", bx, back, ok)
		}
		value := new(big.Rat).SetFrac(bx, bigPow(10, Scale))
		if x.String() != plain(value) {
			t.Fatalf("text of %v units is %v, want %v", bx, x, plain(value))
		}
		sameRat(t, "Sum.Rat", x.Rat(), value)
	}
}

// TestSumExtremes takes a Sum to the greatest magnitude that its comment promises: 2^63-1 terms of
// the greatest magnitude, made by doubling.
func TestSumExtremes(t *testing.T) {
	greatest, err := Parse("99999999999999999999.999999999999999999")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Decimal{greatest, greatest.Neg()} {
		var total Sum
		for range 63 {
			total.AddSum(total)
			total.Add(d)
		}
		want := new(big.Int).Mul(bigUnits(d), new(big.Int).Sub(bigPow(2, 63), big.NewInt(1)))
		if bigSum(total).Cmp(want) != 0 {
			t.Errorf("2^63-1 times %v is %v units, want %v", d, bigSum(total), want)
		}
		if got := new(big.Rat).SetFrac(want, bigPow(10, Scale)); total.String() != plain(got) {
			t.Errorf("2^63-1 times %v is written %v", d, total)
		}
		if _, ok := total.Decimal(); ok {
			t.Errorf("2^63-1 times %v fits a Decimal", d)
		}
	}
	least := SumFromWords([3]uint64{1 << 63, 0, 0})
	value := new(big.Rat).SetFrac(new(big.Int).Neg(bigPow(2, 191)), bigPow(10, Scale))
	if least.String() != plain(value) {
		t.Errorf("the least Sum is written %v, want %v", least, plain(value))
	}
	sameRat(t, "least Sum", least.Rat(), value)
}

// TestSumOrder checks that a total does not depend on the order nor the grouping of its terms.
func TestSumOrder(t *testing.T) {
	r := newRand(21)
	terms := make([]Decimal, 2000)
	var forward, backward, left, right Sum
	for i := range terms {
		terms[i] = randDecimal(t, r)
		forward.Add(terms[i])
	}
	for i := range terms {
		backward.Add(terms[len(terms)-1-i])
		if i%3 == 0 {
			left.Add(terms[i])
		} else {
			right.Sub(terms[i])
		}
	}
	left.SubSum(right)
	if forward != backward || forward != left {
		t.Errorf("the same terms sum to %v, %v and %v", forward, backward, left)
	}
}
