package store

import (
	"flag"
	"math/rand/v2"
	"testing"

	"billctl/engine"
)

var _ engine.Keys = (*KeyIndex)(nil)

var keySeed = flag.Uint64("keyseed", 0, "seed of TestKeysAgainstMap; 0: many")

// keyModel is engine.Keys as plainly as it can be said.
type keyModel map[[2]uint64]engine.Key

func (m keyModel) admit(keys []engine.Key, verdicts []engine.Verdict) {
	for i, k := range keys {
		old, ok := m[[2]uint64{k.Hi, k.Lo}]
		switch {
		case !ok:
			m[[2]uint64{k.Hi, k.Lo}] = k
			verdicts[i] = engine.Fresh
		case old.Digest == k.Digest:
			verdicts[i] = engine.Duplicate
		default:
			verdicts[i] = engine.Conflict
		}
	}
}

func (m keyModel) forget(d engine.Day) {
	for id, k := range m {
		if k.Day < d {
			delete(m, id)
		}
	}
}

// Admit and Forget agree with a map in any order of calls; what Drain hands over, less what was
// forgotten, is what the index remembers, and an index loaded with it goes on alike.
func TestKeysAgainstMap(t *testing.T) {
	first, last := uint64(1), uint64(3000)
	if testing.Short() {
		last = 300
	}
	if *keySeed != 0 {
		first, last = *keySeed, *keySeed
	}
	var admitted [3]int
	for seed := first; seed <= last; seed++ {
		if !compareKeys(t, seed, &admitted) {
			t.Fatalf("repeat: go test ./internal/store -run TestKeysAgainstMap -keyseed %d", seed)
		}
	}
	t.Logf("%d seeds: %d fresh, %d duplicates, %d conflicts",
		last-first+1, admitted[0], admitted[1], admitted[2])
	for _, n := range admitted {
		if n == 0 && *keySeed == 0 {
			t.Error("a verdict never came up")
		}
	}
}

func compareKeys(t *testing.T, seed uint64, admitted *[3]int) bool {
	rng := rand.New(rand.NewPCG(seed, 0))
	space := 1 + rng.Uint64N(1<<(1+rng.Uint64N(13)))
	steps := 1 + rng.IntN(60)
	x, model, drained := NewKeyIndex(), keyModel{}, keyModel{}
	day, floor := engine.Day(1000), engine.Day(0)
	for range steps {
		switch op := rng.IntN(10); {
		case op == 0:
			day += engine.Day(rng.IntN(3))
			floor = max(floor, day-engine.Day(rng.IntN(6)))
			x.Forget(floor)
			model.forget(floor)
			drained.forget(floor)
		case op == 1:
			if !drainInto(t, x, drained) {
				return false
			}
		case op == 2 && rng.IntN(4) == 0:
			if !drainInto(t, x, drained) {
				return false
			}
			x = NewKeyIndex()
			for _, k := range drained {
				if err := x.Load([]engine.Key{k}); err != nil {
					t.Error(err)
					return false
				}
			}
		default:
			keys := make([]engine.Key, rng.IntN(300))
			for i := range keys {
				keys[i] = engine.Key{
					Hi: rng.Uint64N(space), Lo: rng.Uint64N(2) << 63,
					Digest: rng.Uint64N(2), Day: day - engine.Day(rng.IntN(5)), Bucket: 7,
				}
			}
			got, want := make([]engine.Verdict, len(keys)), make([]engine.Verdict, len(keys))
			x.Admit(keys, got)
			model.admit(keys, want)
			for i := range got {
				admitted[want[i]]++
				if got[i] != want[i] {
					t.Errorf("seed %d: key %+v: got %d, want %d", seed, keys[i], got[i], want[i])
					return false
				}
			}
		}
		if x.Len() != len(model) {
			t.Errorf("seed %d: Len %d, want %d", seed, x.Len(), len(model))
			return false
		}
		if !findsAsModel(t, seed, x, model, rng, space) {
			return false
		}
	}
	if !drainInto(t, x, drained) {
		return false
	}
	for id, k := range model {
		if drained[id] != k {
			t.Errorf("seed %d: drained %+v, want %+v", seed, drained[id], k)
			return false
		}
	}
	if len(drained) != len(model) {
		t.Errorf("seed %d: drained %d keys, want %d", seed, len(drained), len(model))
		return false
	}
	return true
}

// findsAsModel asks for keys that may be there, be forgotten or never have been.
func findsAsModel(
	t *testing.T, seed uint64, x *KeyIndex, model keyModel, rng *rand.Rand, space uint64,
) bool {
	before := x.Len()
	for range 20 {
		hi, lo := rng.Uint64N(space+2), rng.Uint64N(2)<<63
		want, known := model[[2]uint64{hi, lo}]
		got, found := x.Find(hi, lo)
		if found != known || got.Digest != want.Digest || got.Day != want.Day {
			t.Errorf("seed %d: Find(%d, %d) gives %v, %v; want %v, %v",
				seed, hi, lo, got, found, want, known)
			return false
		}
	}
	if x.Len() != before {
		t.Errorf("seed %d: Find remembered something", seed)
		return false
	}
	return true
}

func drainInto(t *testing.T, x *KeyIndex, m keyModel) bool {
	for _, run := range x.Drain() {
		for _, k := range run {
			if _, twice := m[[2]uint64{k.Hi, k.Lo}]; twice {
				t.Errorf("key %+v drained twice", k)
				return false
			}
			m[[2]uint64{k.Hi, k.Lo}] = k
		}
	}
	return true
}

// What Drain handed over does not change while the index grows.
func TestKeysDrainedStayAsTheyAre(t *testing.T) {
	x := NewKeyIndex()
	rng := rand.New(rand.NewPCG(1, 1))
	var held [][]engine.Key
	var copies [][]engine.Key
	total := 0
	for range 400 {
		keys := randomKeys(rng, rng.IntN(50), 1000+engine.Day(rng.IntN(3)))
		x.Admit(keys, make([]engine.Verdict, len(keys)))
		total += len(keys)
		for _, run := range x.Drain() {
			held = append(held, run)
			copies = append(copies, append([]engine.Key(nil), run...))
			total -= len(run)
		}
	}
	x.Forget(1001)
	for i := range held {
		for j := range held[i] {
			if held[i][j] != copies[i][j] {
				t.Fatalf("run %d key %d changed", i, j)
			}
		}
	}
	if total != 0 {
		t.Fatalf("%d keys were not drained, or drained twice", total)
	}
}

// Keys whose words differ in few bits are told apart, at every size a part grows through.
func TestKeysThatLookAlike(t *testing.T) {
	makers := map[string]func(i uint64) engine.Key{
		"equal low bits":  func(i uint64) engine.Key { return engine.Key{Hi: i << 44, Lo: i << 40} },
		"equal high bits": func(i uint64) engine.Key { return engine.Key{Hi: 5, Lo: i} },
		"equal low word":  func(i uint64) engine.Key { return engine.Key{Hi: i} },
		"one hash": func(i uint64) engine.Key { // the product of the mix is 0
			return engine.Key{Hi: i, Lo: 0xa0761d6478bd642f}
		},
	}
	for name, maker := range makers {
		x := NewKeyIndex()
		v := make([]engine.Verdict, 1)
		for i := uint64(0); i < 4000; i++ {
			k := maker(i)
			x.Admit([]engine.Key{k}, v)
			if v[0] != engine.Fresh {
				t.Fatalf("%s: key %d is %d, want fresh", name, i, v[0])
			}
			back := maker(i / 2)
			back.Digest, back.Day = 1, 99
			x.Admit([]engine.Key{back}, v)
			if v[0] != engine.Conflict {
				t.Fatalf("%s: key %d again is %d, want conflict", name, i/2, v[0])
			}
		}
		if x.Len() != 4000 {
			t.Fatalf("%s: Len %d", name, x.Len())
		}
	}
}

// Find tells every remembered key from what is forgotten, before and after the sweep that frees the
// slots, and from keys that differ in one bit; and a loaded index finds what the one before it did.
func TestKeysFind(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	x := NewKeyIndex()
	if _, found := x.Find(1, 2); found {
		t.Fatal("an empty index finds a key")
	}
	old, kept := randomKeys(rng, 30_000, 10), randomKeys(rng, 30_000, 11)
	x.Admit(old, make([]engine.Verdict, len(old)))
	x.Admit(kept, make([]engine.Verdict, len(kept)))
	check := func(what string, x *KeyIndex, keys []engine.Key, want bool) {
		t.Helper()
		for i := range keys {
			k := &keys[i]
			got, found := x.Find(k.Hi, k.Lo)
			if found != want || found && got != *k {
				t.Fatalf("%s: key %d: %v, %v", what, i, got, found)
			}
			if _, found = x.Find(k.Hi^1<<(i%64), k.Lo); found {
				t.Fatalf("%s: key %d with another bit in Hi is found", what, i)
			}
			if _, found = x.Find(k.Hi, k.Lo^1<<(i%64)); found {
				t.Fatalf("%s: key %d with another bit in Lo is found", what, i)
			}
		}
	}
	check("admitted", x, old, true)
	check("admitted", x, kept, true)
	x.Forget(11)
	check("forgotten", x, old, false)
	check("kept", x, kept, true)
	more := randomKeys(rng, 30_000, 12)
	x.Admit(more, make([]engine.Verdict, len(more))) // sweeps the slots, uses chunks again
	check("forgotten and swept", x, old, false)
	check("kept after the sweep", x, kept, true)
	restored := NewKeyIndex()
	for _, run := range x.Drain() {
		if err := restored.Load(run); err != nil {
			t.Fatal(err)
		}
	}
	check("restored", restored, kept, true)
	check("restored", restored, more, true)
	check("forgotten before", restored, old, false)
}

// Forgotten days give their memory back, and their chunk numbers are used again.
func TestKeysMemoryStaysBounded(t *testing.T) {
	x := NewKeyIndex()
	rng := rand.New(rand.NewPCG(2, 2))
	var most, chunks int
	for day := engine.Day(1); day <= 60; day++ {
		for range 20 {
			keys := randomKeys(rng, 1000, day)
			x.Admit(keys, make([]engine.Verdict, len(keys)))
			x.Drain()
		}
		x.Forget(day - 3)
		if day == 20 {
			most, chunks = x.Bytes(), len(x.chunks)
		}
	}
	if x.Bytes() > most*5/4 || len(x.chunks) > chunks {
		t.Fatalf("%d bytes and %d chunks after 60 days, %d and %d after 20",
			x.Bytes(), len(x.chunks), most, chunks)
	}
}

func TestKeysAllocateNothing(t *testing.T) {
	x := NewKeyIndex()
	rng := rand.New(rand.NewPCG(3, 3))
	keys := randomKeys(rng, 50_000, 1)
	verdicts := make([]engine.Verdict, len(keys))
	x.Admit(keys, verdicts)
	if n := testing.AllocsPerRun(10, func() { x.Admit(keys, verdicts) }); n != 0 {
		t.Errorf("%v allocations for 50,000 known keys", n)
	}
	few := make([]engine.Key, 100)
	n := testing.AllocsPerRun(1000, func() {
		for i := range few {
			few[i] = engine.Key{Hi: rng.Uint64(), Lo: rng.Uint64(), Day: 1}
		}
		x.Admit(few, verdicts[:len(few)])
	})
	if n > 10 { // a chunk for 1,024 keys, a part that grows for some 12 keys of its own
		t.Errorf("%v allocations for 100 fresh keys", n)
	}
}

func randomKeys(rng *rand.Rand, n int, day engine.Day) []engine.Key {
	keys := make([]engine.Key, n)
	for i := range keys {
		keys[i] = engine.Key{
			Hi: rng.Uint64(), Lo: rng.Uint64(), Digest: rng.Uint64(), Day: day,
			Bucket: uint16(rng.Uint32()),
		}
	}
	return keys
}

// BenchmarkKeys admits fresh keys with 1 % duplicates; the peer is Go's map in the same run.
func BenchmarkKeys(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"1M", 1_000_000}, {"10M", 10_000_000}} {
		b.Run("index/"+size.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(4, 4))
			batch := make([]engine.Key, 10_000)
			verdicts := make([]engine.Verdict, len(batch))
			for range b.N {
				x := NewKeyIndex()
				for done := 0; done < size.n; done += len(batch) {
					b.StopTimer()
					fillBatch(rng, batch)
					b.StartTimer()
					x.Admit(batch, verdicts)
				}
				b.ReportMetric(float64(x.Bytes())/float64(x.Len()), "bytes/key")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size.n), "ns/key")
		})
		b.Run("map/"+size.name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(4, 4))
			batch := make([]engine.Key, 10_000)
			for range b.N {
				m := map[[16]byte]uint64{}
				for done := 0; done < size.n; done += len(batch) {
					b.StopTimer()
					fillBatch(rng, batch)
					b.StartTimer()
					for i := range batch {
						id := mapKey(&batch[i])
						if _, ok := m[id]; !ok {
							m[id] = batch[i].Digest
						}
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size.n), "ns/key")
		})
	}
}

func fillBatch(rng *rand.Rand, batch []engine.Key) {
	for i := range batch {
		batch[i] = engine.Key{Hi: rng.Uint64(), Lo: rng.Uint64(), Digest: 1, Day: 1}
		if i%100 == 99 {
			batch[i] = batch[i-50]
		}
	}
}

func mapKey(k *engine.Key) (id [16]byte) {
	for i := range 8 {
		id[i], id[8+i] = byte(k.Hi>>(8*i)), byte(k.Lo>>(8*i))
	}
	return id
}
