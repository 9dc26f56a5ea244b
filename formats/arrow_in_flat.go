package formats

import "encoding/binary"

// flat reads the FlatBuffers in which Arrow keeps what it says about data. It looks at nothing
// beyond the bytes: what a file claims falsely reads as absent, and sets bad.
type flat struct {
	b   []byte
	bad bool
}

// flatTable is a table of FlatBuffers. Its fields are numbered as in Arrow's Schema.fbs,
// Message.fbs and File.fbs.
type flatTable struct {
	f        *flat
	at       int // of the table; 0: there is none
	slots    int // of the table of its fields' places
	slotsLen int
}

func (f *flat) word(at, size int) uint64 {
	if at < 0 || at > len(f.b)-size {
		f.bad = true
		return 0
	}
	switch b := f.b[at:]; size {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(f.b[at:])
}

// root returns the table that the bytes are.
func (f *flat) root() flatTable { return f.table(f.follow(0)) }

// follow returns the place that the offset at a place leads to.
func (f *flat) follow(at int) int { return at + int(f.word(at, 4)) }

func (f *flat) table(at int) flatTable {
	slots := at - int(int32(f.word(at, 4)))
	size := int(f.word(slots, 2))
	if f.bad || at <= 0 || size < 4 || slots+size > len(f.b) {
		f.bad = true
		return flatTable{f: f}
	}
	return flatTable{f, at, slots, size}
}

// place returns where field n stands, 0 if it has its default.
func (t flatTable) place(n int) int {
	slot := 4 + 2*n
	if t.at == 0 || slot+2 > t.slotsLen {
		return 0
	}
	offset := int(t.f.word(t.slots+slot, 2))
	if offset == 0 {
		return 0
	}
	return t.at + offset
}

// number returns a number of size bytes with its sign.
func (t flatTable) number(n, size int, absent int64) int64 {
	at := t.place(n)
	if at == 0 {
		return absent
	}
	v := t.f.word(at, size)
	shift := 64 - 8*size
	return int64(v<<shift) >> shift
}

func (t flatTable) flag(n int) bool { return t.number(n, 1, 0) != 0 }

// child returns the table of a field.
func (t flatTable) child(n int) (flatTable, bool) {
	at := t.place(n)
	if at == 0 {
		return flatTable{f: t.f}, false
	}
	c := t.f.table(t.f.follow(at))
	return c, c.at != 0
}

// list returns where a list of items of size bytes begins, and how many there are.
func (t flatTable) list(n, size int) (at, count int) {
	at = t.place(n)
	if at == 0 {
		return 0, 0
	}
	at = t.f.follow(at)
	count = int(t.f.word(at, 4))
	if t.f.bad || count > (len(t.f.b)-at-4)/size {
		t.f.bad = true
		return 0, 0
	}
	return at + 4, count
}

// bytes returns a text, which aliases the metadata.
func (t flatTable) bytes(n int) []byte {
	at, count := t.list(n, 1)
	return t.f.b[at : at+count : at+count]
}
