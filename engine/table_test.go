package engine

import (
	"math/rand/v2"
	"testing"
)

// TestTableAgainstMap finds, puts and removes at random, with hashes that collide often.
func TestTableAgainstMap(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 6))
		spread := []uint64{1, 3, 1 << 20}[seed%3] // all rows in one chain, in three, nearly none
		var tab table
		var rows []int // content by index; -1 for removed
		model := map[int]int32{}
		hash := func(content int) uint64 { return mix(uint64(content)%spread, seed) }
		find := func(content int) (int32, int) {
			return tab.find(hash(content), func(i int32) bool { return rows[i] == content })
		}
		for step := range 4000 {
			content := r.IntN(300)
			index, slot := find(content)
			want, ok := model[content]
			if !ok {
				want = -1
			}
			if index != want {
				t.Fatalf("seed %d, step %d: found %d for %d, want %d", seed, step, index, content, want)
			}
			switch {
			case ok && r.IntN(2) == 0:
				tab.remove(slot)
				rows[index] = -1
				delete(model, content)
			case !ok:
				index = int32(len(rows))
				rows = append(rows, content)
				tab.put(hash(content), slot, index)
				model[content] = index
			}
		}
		for content, want := range model {
			if index, _ := find(content); index != want {
				t.Fatalf("seed %d: found %d for %d at the end, want %d", seed, index, content, want)
			}
		}
		if size := len(tab.slots); size > 2048 {
			t.Errorf("seed %d: %d slots for %d rows: tombstones pile up", seed, size, len(model))
		}
	}
}
