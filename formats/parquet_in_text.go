package formats

import (
	"fmt"
	"hash/maphash"
	"math/bits"
	"unicode/utf8"

	"billctl/engine"
)

// textRun gathers the texts of a run that are in no dictionary of the file.
type textRun struct {
	seed   maphash.Seed
	rows   int
	table  []uint32 // places in extra, plus one, by hash
	extra  []string
	tried  int // texts of the run that were looked up
	byDict bool
	held   int64  // bytes of the texts in extra that count as held
	joined []byte // values that an encoding takes apart
}

// begin begins a run of n rows. The texts of the last one are the reader's to keep from now on.
func (t *textRun) begin(f *parquetFile, n int) {
	f.held -= t.held
	t.held = 0
	t.rows, t.extra, t.tried, t.byDict = n, nil, 0, false
}

// end makes the values of v. The texts of the file's own dictionary come first, where a row of the
// run has one.
func (t *textRun) end(p *pageReader, v *vector) {
	dict := p.dict.text.Values
	switch {
	case len(t.extra) == 0:
		v.text.Values = dict
	case t.byDict:
		values := make([]string, 0, len(dict)+len(t.extra))
		v.text.Values = append(append(values, dict...), t.extra...)
	default:
		v.text.Values = t.extra
		for i, x := range v.text.Index {
			if x != engine.Absent {
				v.text.Index[i] = x - uint32(len(dict))
			}
		}
	}
}

// takeText picks texts of the dictionary.
func (p *pageReader) takeText(out []uint32, indexes []int32) (bad int, err error) {
	p.text.byDict = true
	for i, x := range indexes {
		out[i] = uint32(x)
	}
	return p.checkBad(indexes)
}

func notText(s string) error {
	return fmt.Errorf("the text %s is not valid UTF-8", quoted(s))
}

// keepTexts makes the dictionary. Its texts are one block of memory.
func (p *pageReader) keepTexts() error {
	n := p.present
	values, err := room(p, []string(nil), n)
	if err != nil {
		return err
	}
	p.dictHeld = int64(len(p.values.data))
	if err := p.file.hold(p.dictHeld); err != nil {
		return err
	}
	block := string(p.values.data)
	for i := range values {
		values[i] = block[p.values.start[i] : p.values.start[i+1]-p.values.gap]
		if !utf8.ValidString(values[i]) {
			p.bad.Set(i)
		}
	}
	p.dict.text.Values = values
	return nil
}

// once is how many texts of a run are looked up before they are judged.
const once = 2048

// intern gives out the next texts of a page that is in no dictionary. Texts that come again are
// given out once, as long as many of them do; ids, which never come again, are not looked up long.
func (t *textRun) intern(p *pageReader, out []uint32) (bad int, err error) {
	if len(out) == 0 {
		return 0, nil
	}
	if t.tried == 0 {
		if cap(t.table) == 0 {
			t.seed = maphash.MakeSeed()
		}
		size := 4 << bits.Len(uint(t.rows)) // more than four slots a row
		if cap(t.table) < size {
			t.table = make([]uint32, size)
		}
		t.table = t.table[:size]
		clear(t.table)
	}
	v := &p.values
	base := uint32(len(p.dict.text.Values))
	begin, end := v.start[p.seen], v.start[p.seen+len(out)]-v.gap
	if err := p.file.hold(int64(end - begin)); err != nil {
		return 0, err
	}
	t.held += int64(end - begin)
	block := string(v.data[begin:end])
	if t.extra == nil {
		t.extra = make([]string, 0, min(len(out), once))
	}
	for i := range out {
		at := p.seen + i
		s := block[v.start[at]-begin : v.start[at+1]-v.gap-begin]
		if !utf8.ValidString(s) {
			return i, notText(s)
		}
		if t.tried >= once && 2*len(t.extra) > t.tried {
			out[i] = base + uint32(len(t.extra))
			t.extra = append(t.extra, s)
			continue
		}
		t.tried++
		out[i] = base + t.find(s)
	}
	return 0, nil
}

// find returns the place of a text in extra, and adds it if it is new. The table has more slots
// than a run has rows, so one is empty.
func (t *textRun) find(s string) uint32 {
	mask := uint64(len(t.table) - 1)
	for i := maphash.String(t.seed, s) & mask; ; i = (i + 1) & mask {
		at := t.table[i]
		if at == 0 {
			t.extra = append(t.extra, s)
			t.table[i] = uint32(len(t.extra))
			return uint32(len(t.extra) - 1)
		}
		if t.extra[at-1] == s {
			return at - 1
		}
	}
}
