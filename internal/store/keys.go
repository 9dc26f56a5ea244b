package store

import (
	"fmt"
	"math/bits"
	"slices"

	"billctl/engine"
)

// KeyIndex remembers the keys of accepted rows in memory, exactly. It implements engine.Keys.
//
// Keys lie in flat chunks, one list of chunks a day, in the order of their admission. A table of
// 8-byte slots (32 bits of hash, 32 bits of place) finds them: 1,024 parts by the first bits of
// the hash, each an open-addressing table with linear probing that grows by a quarter on its own.
// So no growth stops the stream for longer than one part takes, a rebuild touches slots only, and
// a fresh key costs one cache miss. The misses of a run of keys overlap.
//
// Memory is 32 bytes a key for the chunks and 10 to 13 for the slots (docs/formats/checkpoint.md,
// "Keys in memory"). The zero value is not ready; see NewKeyIndex. Used by one goroutine at a
// time, but what Drain returned may be read by another one meanwhile: it never changes.
type KeyIndex struct {
	parts  []keyPart
	chunks [][]engine.Key // by chunk number; nil once its day is forgotten
	days   []keyDay       // by rising day
	last   int            // place in days of the key before: nearly always the next one's too
	len    int
	fresh  int // keys that no Drain has handed over

	// Chunk numbers of forgotten days are used again once no slot can name them: when every
	// part has been swept since.
	dead  []uint32 // forgotten since the sweep began, or before it did
	swept []uint32 // forgotten before the sweep that is under way
	free  []uint32
	sweep int // next part to sweep; len(parts) when none is under way
	spend int // slots that the sweep may still visit

	touched uint64 // keeps the reads of touch alive
}

// keyPart is an open-addressing table. A slot is 0, or hash<<32 | place+1.
type keyPart struct {
	slots []uint64
	used  int // slots that are not 0, those of forgotten keys included
}

// keyDay holds the chunks of one day; chunks before from were handed over, and off keys of it.
type keyDay struct {
	day    engine.Day
	chunks []uint32
	from   int
	off    int
	len    int
}

const (
	partBits  = 10
	chunkBits = 10
	chunkKeys = 1 << chunkBits
	probeRun  = 64  // keys whose slots are touched before the first is decided
	sweepStep = 16  // slots swept a key: a sweep costs little at a time, however big it is
	minSlots  = 8   // of a part that holds a key
	smallPart = 512 // below, slots are few and allocations would be many
	maxChunks = 1<<22 - 1
)

// NewKeyIndex returns an index that remembers nothing.
func NewKeyIndex() *KeyIndex {
	return &KeyIndex{parts: make([]keyPart, 1<<partBits), sweep: 1 << partBits}
}

// Admit decides keys[i] into verdicts[i], in order; see engine.Keys. It panics when the two
// lengths differ.
func (x *KeyIndex) Admit(keys []engine.Key, verdicts []engine.Verdict) {
	if len(keys) != len(verdicts) {
		panic("BUG: verdicts are not as many as keys")
	}
	var hashes [probeRun]uint64
	for len(keys) > 0 {
		n := min(probeRun, len(keys))
		x.touch(keys[:n], &hashes)
		for i := range keys[:n] {
			known := x.findOrAdd(&keys[i], hashes[i])
			switch {
			case known == nil:
				verdicts[i] = engine.Fresh
			case known.Digest == keys[i].Digest:
				verdicts[i] = engine.Duplicate
			default:
				verdicts[i] = engine.Conflict
			}
		}
		x.sweepSome(n)
		keys, verdicts = keys[n:], verdicts[n:]
	}
}

// Forget drops every key whose day is before d, in time proportional to the number of chunks.
// The slots that named them are reclaimed by later calls of Admit.
func (x *KeyIndex) Forget(d engine.Day) {
	n := 0
	for n < len(x.days) && x.days[n].day < d {
		day := &x.days[n]
		for _, c := range day.chunks {
			x.chunks[c] = nil
		}
		x.dead = append(x.dead, day.chunks...)
		x.fresh -= day.fresh()
		x.len -= day.len
		n++
	}
	if n == 0 {
		return
	}
	x.days = slices.Delete(x.days, 0, n)
	x.last = 0
	if x.sweep == len(x.parts) {
		x.beginSweep()
	}
}

// Len returns how many keys are remembered.
func (x *KeyIndex) Len() int { return x.len }

// Bytes returns how much memory chunks and slots take.
func (x *KeyIndex) Bytes() int {
	const keyBytes, sliceBytes = 32, 24
	n := len(x.parts)*(sliceBytes+8) + cap(x.chunks)*sliceBytes
	for i := range x.parts {
		n += cap(x.parts[i].slots) * 8
	}
	for _, c := range x.chunks {
		n += cap(c) * keyBytes
	}
	return n
}

// Drain hands over the remembered keys that were admitted since the last Drain (or Load): by
// rising day, within a day in the order of admission, without copying. The slices never change.
// Keys that were forgotten before Drain are not among them: nobody needs them any more.
func (x *KeyIndex) Drain() [][]engine.Key {
	if x.fresh == 0 {
		return nil
	}
	var runs [][]engine.Key
	for i := range x.days {
		d := &x.days[i]
		for ; d.from < len(d.chunks); d.from++ {
			c := x.chunks[d.chunks[d.from]]
			if d.off < len(c) {
				runs = append(runs, c[d.off:len(c):len(c)])
			}
			if len(c) < chunkKeys {
				d.off = len(c)
				break
			}
			d.off = 0
		}
	}
	x.fresh = 0
	return runs
}

// Load adds keys of a checkpoint; the next Drain does not hand them over. It fails on a key that
// is there already, and panics when admitted keys wait for a Drain.
func (x *KeyIndex) Load(keys []engine.Key) error {
	if x.fresh != 0 {
		panic("BUG: keys are loaded after others were admitted")
	}
	var hashes [probeRun]uint64
	for len(keys) > 0 {
		n := min(probeRun, len(keys))
		x.touch(keys[:n], &hashes)
		for i := range keys[:n] {
			if k := &keys[i]; x.findOrAdd(k, hashes[i]) != nil {
				return fmt.Errorf("load key %016x%016x of day %d: it is there already",
					k.Hi, k.Lo, k.Day)
			}
		}
		keys = keys[n:]
	}
	for i := range x.days {
		x.days[i].drained(x.chunks)
	}
	x.fresh = 0
	return nil
}

// touch hashes a run of keys and reads their slots, so that the cache misses overlap.
func (x *KeyIndex) touch(keys []engine.Key, hashes *[probeRun]uint64) {
	var sum uint64
	for i := range keys {
		h := hashOf(&keys[i])
		hashes[i&(probeRun-1)] = h
		if p := &x.parts[h>>(64-partBits)]; len(p.slots) > 0 {
			sum += p.slots[home(tagOf(h), len(p.slots))]
		}
	}
	x.touched = sum
}

// Find returns a key as it was remembered and whether it is; see engine.Keys. It changes nothing.
func (x *KeyIndex) Find(hi, lo uint64) (out engine.Key, found bool) {
	k := engine.Key{Hi: hi, Lo: lo}
	hash := hashOf(&k)
	p := &x.parts[hash>>(64-partBits)]
	if len(p.slots) == 0 {
		return out, false
	}
	known, _ := x.find(p, &k, hash)
	if known == nil {
		return out, false
	}
	return *known, true
}

// findOrAdd returns the remembered key that equals k, or remembers k and returns nil.
func (x *KeyIndex) findOrAdd(k *engine.Key, hash uint64) *engine.Key {
	p := &x.parts[hash>>(64-partBits)]
	if (p.used+1)*5 > len(p.slots)*4 {
		x.rebuild(p)
	}
	known, free := x.find(p, k, hash)
	if known != nil {
		return known
	}
	p.slots[free] = uint64(tagOf(hash))<<32 | uint64(x.place(k)+1)
	p.used++
	return nil
}

// find returns the remembered key that equals k, or nil and the slot where it belongs. The part has
// a free slot.
func (x *KeyIndex) find(p *keyPart, k *engine.Key, hash uint64) (known *engine.Key, free int) {
	tag := tagOf(hash)
	i := home(tag, len(p.slots))
	for {
		s := p.slots[i]
		if s == 0 {
			return nil, i
		}
		if uint32(s>>32) == tag {
			at := uint32(s) - 1
			if c := x.chunks[at>>chunkBits]; c != nil {
				if known := &c[at&(chunkKeys-1)]; known.Lo == k.Lo && known.Hi == k.Hi {
					return known, i
				}
			}
		}
		if i++; i == len(p.slots) {
			i = 0
		}
	}
}

// place appends a key to its day and returns where it lies.
func (x *KeyIndex) place(k *engine.Key) uint32 {
	if x.last >= len(x.days) || x.days[x.last].day != k.Day {
		x.last = x.dayOf(k.Day)
	}
	d := &x.days[x.last]
	if d.len == 0 || len(x.chunks[d.chunks[len(d.chunks)-1]]) == chunkKeys {
		d.chunks = append(d.chunks, x.newChunk())
	}
	n := d.chunks[len(d.chunks)-1]
	c := x.chunks[n]
	if len(c) == cap(c) {
		// What Drain handed over keeps the old array, whose keys never change.
		size := chunkKeys
		if len(d.chunks) == 1 {
			size = min(max(2*len(c), 16), chunkKeys)
		}
		c = append(make([]engine.Key, 0, size), c...)
	}
	x.chunks[n] = append(c, *k)
	d.len++
	x.len++
	x.fresh++
	return n<<chunkBits | uint32(len(c))
}

// dayOf returns the place of a day in days, which it may have to make.
func (x *KeyIndex) dayOf(d engine.Day) int {
	i, found := slices.BinarySearchFunc(x.days, d, func(k keyDay, d engine.Day) int {
		return int(k.day) - int(d)
	})
	if !found {
		x.days = slices.Insert(x.days, i, keyDay{day: d})
	}
	return i
}

func (x *KeyIndex) newChunk() uint32 {
	if n := len(x.free); n > 0 {
		c := x.free[n-1]
		x.free = x.free[:n-1]
		return c
	}
	if len(x.chunks) == maxChunks {
		panic("BUG: a key index holds more than 4 billion keys; use more shards")
	}
	x.chunks = append(x.chunks, nil)
	return uint32(len(x.chunks) - 1)
}

// beginSweep starts to clear the slots of all keys that were forgotten up to now.
func (x *KeyIndex) beginSweep() {
	x.swept, x.dead = x.dead, nil
	x.sweep = 0
}

// sweepSome clears the slots of forgotten keys in as many parts as n admitted keys pay for.
func (x *KeyIndex) sweepSome(n int) {
	if x.sweep == len(x.parts) {
		return
	}
	for x.spend += n * sweepStep; x.spend > 0 && x.sweep < len(x.parts); x.sweep++ {
		p := &x.parts[x.sweep]
		x.spend -= len(p.slots) + 1
		if len(p.slots) > 0 {
			x.rebuild(p)
		}
	}
	if x.sweep < len(x.parts) {
		return
	}
	x.free = append(x.free, x.swept...)
	x.swept, x.spend = nil, 0
	if len(x.dead) > 0 {
		x.beginSweep()
	}
}

// rebuild moves the slots of remembered keys into a table that has room for one more. 64 % of it
// is used then, so that it is rebuilt after a quarter more keys; while the part is small, 40 %.
func (x *KeyIndex) rebuild(p *keyPart) {
	if len(x.dead)+len(x.swept) > 0 {
		for i, s := range p.slots {
			if s != 0 && x.chunks[(uint32(s)-1)>>chunkBits] == nil {
				p.slots[i] = 0
				p.used--
			}
		}
	}
	size := (p.used + 1) * 25 / 16
	if p.used < smallPart {
		size = max((p.used+1)*5/2, minSlots)
	}
	slots := make([]uint64, size)
	for _, s := range p.slots {
		if s == 0 {
			continue
		}
		i := home(uint32(s>>32), size)
		for slots[i] != 0 {
			if i++; i == size {
				i = 0
			}
		}
		slots[i] = s
	}
	p.slots = slots
}

// fresh returns how many keys of the day no Drain has handed over.
func (d *keyDay) fresh() int { return d.len - d.from*chunkKeys - d.off }

// drained marks every key of the day as handed over.
func (d *keyDay) drained(chunks [][]engine.Key) {
	d.from = d.len / chunkKeys
	d.off = d.len % chunkKeys
}

// hashOf mixes the two words of a key: they come from a keyed hash, but a part and a slot must
// spread also where they do not, as in tests.
func hashOf(k *engine.Key) uint64 {
	hi, lo := bits.Mul64(k.Lo^0xa0761d6478bd642f, k.Hi^0xe7037ed1a0b428db)
	h := (hi ^ lo) + k.Lo
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>29
}

// tagOf returns the bits of a hash that a slot keeps; the part has the first ones.
func tagOf(hash uint64) uint32 { return uint32(hash >> (32 - partBits)) }

// home returns the slot where the search for a tag begins: tags spread evenly over n slots,
// which need not be a power of two.
func home(tag uint32, n int) int { return int(uint64(tag) * uint64(n) >> 32) }
