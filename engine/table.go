package engine

// table finds rows of some array by a hash of their content: open addressing with linear probing
// over indices. It holds no keys: the caller compares rows. It is not pinned; readers do without.
type table struct {
	slots []int32 // index + 1; 0 empty; tombstone
	used  int     // full slots and tombstones
}

const tombstone = -1

// find returns the index for which same says yes, or -1 and the slot where it belongs.
func (t *table) find(hash uint64, same func(int32) bool) (index int32, slot int) {
	if len(t.slots) == 0 {
		return -1, -1
	}
	mask := uint64(len(t.slots) - 1)
	free := -1
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s := t.slots[i]; {
		case s == 0:
			if free < 0 {
				free = int(i)
			}
			return -1, free
		case s == tombstone:
			if free < 0 {
				free = int(i)
			}
		case same(s - 1):
			return s - 1, int(i)
		}
	}
}

// put stores an index at the slot that find gave; rehash tells the hash of any stored index.
func (t *table) put(hash uint64, slot int, index int32, rehash func(int32) uint64) {
	if slot >= 0 && t.used < len(t.slots)*3/4 {
		if t.slots[slot] == 0 {
			t.used++
		}
		t.slots[slot] = index + 1
		return
	}
	t.grow(rehash)
	t.insert(hash, index)
}

// remove empties the slot that find gave with an index.
func (t *table) remove(slot int) { t.slots[slot] = tombstone }

func (t *table) grow(rehash func(int32) uint64) {
	live := 0
	for _, s := range t.slots {
		if s > 0 {
			live++
		}
	}
	size := 64
	for size*3/8 < live+1 {
		size *= 2
	}
	old := t.slots
	t.slots, t.used = make([]int32, size), 0
	for _, s := range old {
		if s > 0 {
			t.insert(rehash(s-1), s-1)
		}
	}
}

func (t *table) insert(hash uint64, index int32) {
	mask := uint64(len(t.slots) - 1)
	i := hash & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = index + 1
	t.used++
}
