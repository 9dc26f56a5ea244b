package decimal

import (
	"math/big"
	"testing"
)

// TestMultiples holds CeilTo, FloorTo and NearestTo against math/big.
func TestMultiples(t *testing.T) {
	r := newRand(11)
	refused := 0
	for range 20_000 {
		d, to := randDecimal(t, r), randDecimal(t, r)
		if r.IntN(3) == 0 { // multiples and halves are rare otherwise
			d = unitsOf(t, big.NewInt(int64(r.IntN(400)-200)))
			to = unitsOf(t, big.NewInt(int64(r.IntN(20)+1)))
		}
		if to.Sign() < 0 {
			to = to.Neg()
		}
		if to.IsZero() {
			continue
		}
		units, unit := bigUnits(d), bigUnits(to)
		floor, rest := new(big.Int).DivMod(units, unit, new(big.Int))
		ceil := new(big.Int).Set(floor)
		if rest.Sign() != 0 {
			ceil.Add(ceil, big.NewInt(1))
		}
		nearest := floor
		if c := rest.Lsh(rest, 1).Cmp(unit); c > 0 || c == 0 && d.Sign() > 0 {
			nearest = ceil
		}
		for i, x := range []struct {
			round func(Decimal, Decimal) (Decimal, bool)
			want  *big.Int
		}{
			{Decimal.CeilTo, ceil}, {Decimal.FloorTo, floor}, {Decimal.NearestTo, nearest},
		} {
			want := new(big.Int).Mul(x.want, unit)
			got, ok := x.round(d, to)
			if fits := new(big.Int).Abs(want).Cmp(bigPow(10, 38)) < 0; ok != fits {
				t.Fatalf("rounding %d of %s to %s: in range %t, want %t", i, d, to, ok, fits)
			}
			if !ok {
				refused++
			} else if bigUnits(got).Cmp(want) != 0 {
				t.Fatalf("rounding %d of %s to %s is %s, want %s units", i, d, to, got, want)
			}
		}
	}
	if refused == 0 {
		t.Error("nothing was out of range")
	}
}

func TestMultiplesAllocateNothing(t *testing.T) {
	d, to := FromInt(1234567), FromInt(60)
	if n := testing.AllocsPerRun(100, func() { d.CeilTo(to) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
