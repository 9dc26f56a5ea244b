package engine

// table finds rows of some array by a hash of their content: open addressing with linear probing
// over indices. A slot keeps 32 bits of the hash, so a row is looked at, which often is a miss of
// the cache, only when it is most likely the right one; the caller compares it. The table is not
// pinned; readers do without.
type table struct {
	slots []tableSlot
	used  int // full slots and tombstones
}

type tableSlot struct {
	hash  uint32
	index int32 // index + 1; 0 empty; tombstone
}

const tombstone = -1

// find returns the index for which same says yes, or -1 and the slot where it belongs.
func (t *table) find(hash uint64, same func(int32) bool) (index int32, slot int) {
	if len(t.slots) == 0 {
		return -1, -1
	}
	h := uint32(hash)
	mask := uint32(len(t.slots) - 1)
	free := -1
	for i := h & mask; ; i = (i + 1) & mask {
		switch s := t.slots[i]; {
		case s.index == 0:
			if free < 0 {
				free = int(i)
			}
			return -1, free
		case s.index == tombstone:
			if free < 0 {
				free = int(i)
			}
		case s.hash == h && same(s.index-1):
			return s.index - 1, int(i)
		}
	}
}

// put stores an index at the slot that find gave.
func (t *table) put(hash uint64, slot int, index int32) {
	s := tableSlot{uint32(hash), index + 1}
	if slot >= 0 && t.used < len(t.slots)*3/4 {
		if t.slots[slot].index == 0 {
			t.used++
		}
		t.slots[slot] = s
		return
	}
	t.grow()
	t.insert(s)
}

// remove empties the slot that find gave with an index.
func (t *table) remove(slot int) { t.slots[slot].index = tombstone }

func (t *table) grow() {
	live := 0
	for _, s := range t.slots {
		if s.index > 0 {
			live++
		}
	}
	size := 64
	for size*3/8 < live+1 {
		size *= 2
	}
	old := t.slots
	t.slots, t.used = make([]tableSlot, size), 0
	for _, s := range old {
		if s.index > 0 {
			t.insert(s)
		}
	}
}

func (t *table) insert(s tableSlot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].index != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
	t.used++
}
