package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestVecPinsAreImmutable writes to a vec at random and pins it now and then. Every pin must stay
// what a plain slice was at that moment, while a reader goroutine goes through it all the time:
// the race detector sees any page that is shared and written to.
func TestVecPinsAreImmutable(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 5))
		var v vec[int]
		var model []int
		var pins []vec[int]
		var wants [][]int
		faults := make(chan int, 100)
		readers := 0
		for step := range 3000 {
			switch n := r.IntN(100); {
			case n < 55 || len(model) == 0:
				if i := v.add(step); int(i) != len(model) {
					t.Fatalf("seed %d: add returns %d for row %d", seed, i, len(model))
				}
				model = append(model, step)
			case n < 97:
				i := r.IntN(len(model))
				*v.mut(int32(i)) = -step
				model[i] = -step
			default:
				p, want := v.pin(), slices.Clone(model)
				pins, wants = append(pins, p), append(wants, want)
				readers++
				go func() { faults <- differences(&p, want) }()
			}
		}
		pins, wants = append(pins, v), append(wants, model)
		for i := range pins {
			if n := differences(&pins[i], wants[i]); n > 0 {
				t.Fatalf("seed %d: pin %d of %d: %d rows differ", seed, i, len(pins), n)
			}
		}
		for range readers {
			if n := <-faults; n > 0 {
				t.Fatalf("seed %d: a reader saw %d other rows", seed, n)
			}
		}
	}
}

// differences counts the rows in which a vec is not what it should be.
func differences(v *vec[int], want []int) int {
	n := max(int(v.len()), len(want)) - min(int(v.len()), len(want))
	for i := range min(int(v.len()), len(want)) {
		if *v.at(int32(i)) != want[i] {
			n++
		}
	}
	return n
}

// TestVecCopiesOnlyPages shows what a pin costs: one page a written page, and the list of pages.
func TestVecCopiesOnlyPages(t *testing.T) {
	var v vec[int]
	for i := range 100 * pageRows {
		v.add(i)
	}
	pinned := v.pin()
	for range 1000 {
		*v.mut(5*pageRows + 7)++
	}
	other := 0
	for i := range v.pages {
		if v.pages[i] != pinned.pages[i] {
			other++
		}
	}
	if other != 1 {
		t.Errorf("%d pages were copied", other)
	}
}
