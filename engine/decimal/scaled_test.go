package decimal

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestScaled holds Scaled and FromScaled against big.Rat: whole and in range, or refused.
func TestScaled(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	cases := []int64{0, 1, -1, math.MaxInt64, math.MinInt64 + 1, 1e18, -1e18}
	for range 20_000 {
		cases = append(cases, rng.Int64()>>rng.IntN(63)-rng.Int64N(3))
	}
	for _, n := range cases {
		from, to := rng.IntN(Scale+1), rng.IntN(Scale+1)
		d := FromScaled(n, from)
		want := new(big.Rat).SetFrac(big.NewInt(n), pow(from))
		if got, _ := new(big.Rat).SetString(d.String()); got.Cmp(want) != 0 {
			t.Fatalf("FromScaled(%d, %d) = %s", n, from, d)
		}
		want.Mul(want, new(big.Rat).SetInt(pow(to)))
		got, ok := d.Scaled(to)
		fits := want.IsInt() && want.Num().IsInt64() && want.Num().Int64() != math.MinInt64
		if ok != fits {
			t.Fatalf("(%s).Scaled(%d) = %d, %t", d, to, got, ok)
		}
		if ok && got != want.Num().Int64() {
			t.Fatalf("(%s).Scaled(%d) = %d", d, to, got)
		}
	}
}

func pow(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }
