package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"testing"

	"billctl/engine/decimal"
)

// TestEntryRoundTrip encodes and decodes random entries of every kind.
func TestEntryRoundTrip(t *testing.T) {
	const seeds = 20_000
	kinds := map[entryKind]int{}
	for seed := range uint64(seeds) {
		e := randomEntry(seed)
		kinds[e.Body.kind()]++
		b := AppendEntry(nil, e)
		got, err := DecodeEntry(b)
		if err != nil {
			t.Fatalf("seed %d: %T: %v", seed, e.Body, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("seed %d: %T comes back as another", seed, e.Body)
		}
		if !bytes.Equal(AppendEntry(nil, got), b) {
			t.Fatalf("seed %d: %T has other bytes after a decode", seed, e.Body)
		}
	}
	if len(kinds) != int(kindVoid) {
		t.Errorf("kinds: %v", kinds)
	}
}

// TestEntryRoundTripOfWideDictionaries is about the widths of indices.
func TestEntryRoundTripOfWideDictionaries(t *testing.T) {
	for _, values := range []int{254, 255, 256, 65_534, 65_535, 65_536} {
		b := emptyBatch(values)
		for i := range values {
			b.Type.Index[i], b.Source.Index[i], b.Subject.Index[i] = 0, 0, uint32(i)
			b.Subject.Values = append(b.Subject.Values, fmt.Sprint(i))
		}
		b.Type.Values, b.Source.Values = []string{"t"}, []string{"s"}
		e := &Entry{Seq: 1, Body: b}
		got, err := DecodeEntry(AppendEntry(nil, e))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%d values: %v", values, err)
		}
	}
}

// TestDecodeDamaged cuts and changes entries everywhere. What is accepted has no other encoding.
func TestDecodeDamaged(t *testing.T) {
	accepted, refused := 0, 0
	for seed := range uint64(40) {
		whole := AppendEntry(nil, randomEntry(seed))
		for n := range whole {
			if _, err := DecodeEntry(whole[:n]); !errors.Is(err, ErrFormat) {
				t.Fatalf("seed %d: accepted %d of %d bytes: %v", seed, n, len(whole), err)
			}
			b := bytes.Clone(whole)
			for _, flip := range []byte{1, 0x80, 0xff, byte(1 + seed)} {
				b[n] = whole[n] ^ flip
				if checkDecode(t, b) {
					accepted++
				} else {
					refused++
				}
			}
		}
		if _, err := DecodeEntry(append(whole, 0)); !errors.Is(err, ErrFormat) {
			t.Fatalf("seed %d: accepted a trailing byte: %v", seed, err)
		}
	}
	t.Logf("of changed entries %d were accepted as others, %d refused", accepted, refused)
}

// checkDecode reports whether b is an entry. It must have one encoding then.
func checkDecode(t *testing.T, b []byte) bool {
	t.Helper()
	e, err := DecodeEntry(b)
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Fatalf("another error: %v", err)
		}
		return false
	}
	if again := AppendEntry(nil, e); !bytes.Equal(again, b) {
		t.Fatalf("two encodings of one %T:\n%x\n%x", e.Body, b, again)
	}
	return true
}

func FuzzDecodeEntry(f *testing.F) {
	for seed := range uint64(60) {
		f.Add(AppendEntry(nil, randomEntry(seed)))
	}
	f.Fuzz(func(t *testing.T, b []byte) { checkDecode(t, b) })
}

// TestDecodeAllocations forges lengths: memory stays a small multiple of the input, but for the
// cells of a batch, which have a bound of their own.
func TestDecodeAllocations(t *testing.T) {
	const cells = MaxCells*16 + 8<<20 // numbers, and the columns every batch has
	worst := 0.0
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 3))
		e := randomEntry(seed)
		b := AppendEntry(nil, e)
		for range 4 { // a long length, somewhere
			at := r.IntN(len(b))
			b = slices.Concat(b[:at], []byte{0xff, 0xff, 0x03}, b[at:])
		}
		b = append(b, make([]byte, 10_000)...)
		used := allocated(func() { _, _ = DecodeEntry(b) })
		limit := uint64(64 * len(b))
		if _, batch := e.Body.(*Batch); batch {
			limit += cells
		} else {
			worst = max(worst, float64(used)/float64(len(b)))
		}
		if used > limit {
			t.Fatalf("seed %d: %T of %d bytes took %d bytes", seed, e.Body, len(b), used)
		}
	}
	// A change that is one list of as many items as its bytes could hold, then zeros.
	for list := range 4 {
		for _, size := range []int{2, 6, 7, 8} {
			b := append([]byte{byte(kindChange), 1, 0}, make([]byte, 32+2+list)...)
			b = append(appendUint(b, 100_000/uint64(size)), make([]byte, 100_000)...)
			used := allocated(func() { _, _ = DecodeEntry(b) })
			worst = max(worst, float64(used)/float64(len(b)))
		}
	}
	t.Logf("control entries took at most %.1f bytes for one of input", worst)
	if worst > 64 {
		t.Error("that is too much")
	}
}

// TestDecodeLargestBatch decodes the batch that takes most memory for its bytes.
func TestDecodeLargestBatch(t *testing.T) {
	b := emptyBatch(MaxRows)
	b.Type.Values, b.Source.Values, b.Subject.Values = []string{""}, []string{""}, []string{""}
	clear(b.Type.Index)
	clear(b.Source.Index)
	clear(b.Subject.Index)
	for i := range MaxCells / MaxRows {
		b.Props = append(b.Props, Column{
			Path: fmt.Sprint(i), Kind: NumberColumn, Numbers: make([]decimal.Decimal, MaxRows),
		})
	}
	data := AppendEntry(nil, &Entry{Seq: 1, Body: b})
	used := allocated(func() {
		if _, err := DecodeEntry(data); err != nil {
			t.Error(err)
		}
	})
	t.Logf("%d bytes of %d rows and %d cells took %d bytes", len(data), b.Len, MaxCells, used)
	if used > MaxCells*16+8<<20 {
		t.Error("that is too much")
	}
	b.Props = append(b.Props, Column{Path: "more", Kind: BoolColumn})
	if _, err := DecodeEntry(AppendEntry(nil, &Entry{Seq: 1, Body: b})); !errors.Is(err, ErrFormat) {
		t.Errorf("one column too many: %v", err)
	}
}

// TestRestoreDamaged changes a state everywhere: restoring it fails or not, but never panics.
func TestRestoreDamaged(t *testing.T) {
	s := newSteady(1000)
	s.apply()
	w := &Watermark{W: 40 * OneDay}
	s.engine.Apply(&Entry{Seq: s.engine.Seq() + 1, At: 40 * OneDay, Body: w}, &s.fx)
	view := Pin([]*Engine{s.engine})
	globals := view.AppendGlobals(nil)
	var account []byte
	err := view.EachAccount(func(record []byte) error {
		account = bytes.Clone(record)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	restore := func(globals, account []byte) error {
		e := New(0, 1, freshKeys{})
		if err := e.RestoreGlobals(globals); err != nil {
			return err
		}
		if err := e.RestoreAccount(account); err != nil {
			return err
		}
		e.RestoreDone()
		return nil
	}
	if err := restore(globals, account); err != nil {
		t.Fatal(err)
	}
	changed := func(b []byte, try func([]byte)) {
		for i := range b {
			for _, flip := range []byte{1, 0x80, 0xff} {
				c := bytes.Clone(b)
				c[i] ^= flip
				try(c)
			}
			try(b[:i])
		}
	}
	changed(globals, func(c []byte) { _ = restore(c, account) })
	changed(account, func(c []byte) { _ = restore(globals, c) })
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// entryMaker makes random values in the form in which they are decoded: no empty slices.
type entryMaker struct{ *rand.Rand }

func randomEntry(seed uint64) *Entry {
	g := entryMaker{rand.New(rand.NewPCG(seed, 17))}
	return &Entry{Seq: Seq(g.Uint64N(1 << 50)), At: g.micros(), Body: g.body(entryKind(1 + seed%16))}
}

func (g entryMaker) body(kind entryKind) Body {
	switch kind {
	case kindBatch:
		return g.batch()
	case kindGenesis:
		v := &Genesis{Partition: g.Uint32(), Format: uint16(g.Uint32())}
		v.Journal, v.HashKey = [16]byte(g.digest().bytes()), [16]byte(g.digest().bytes())
		return v
	case kindRules:
		return &Rules{uint16(g.Uint32())}
	case kindSettings:
		return &Settings{g.micros(), g.micros(), g.micros(), g.micros()}
	case kindSource:
		return &Source{g.text(), g.text(), g.micros(), g.micros(), g.yes()}
	case kindZone:
		return g.zone()
	case kindChange:
		return g.change()
	case kindCredit:
		return &Credit{g.text(), g.text(), g.text(), g.amount(), g.text(), g.text(), 0, 0}
	case kindGrant:
		return &Credit{
			g.text(), g.text(), g.text(), g.amount(), g.text(), g.text(), g.micros(),
			1 + g.IntN(MaxPriority),
		}
	case kindWide:
		return g.wideChange()
	case kindVoid:
		v := &Void{Of: Seq(g.Uint64() >> 8), Row: g.row(), Actor: g.text(), Reason: g.text()}
		if g.yes() {
			v.Amend = g.row()
		}
		return v
	case kindWatermark:
		return &Watermark{g.micros()}
	case kindClose:
		return &Close{g.micros(), g.text(), g.text()}
	case kindClock:
		return &Clock{g.yes(), g.text()}
	case kindMark:
		return &Mark{}
	}
	return &Seal{Seq(g.Uint64()), g.digest(), g.digest(), g.digest()}
}

func (d Digest) bytes() []byte { return d[:16] }

func (g entryMaker) yes() bool { return g.IntN(2) == 0 }

func (g entryMaker) text() string {
	return []string{"", "a", "data.model", "é\x00\xff", "0123456789abcdef"}[g.IntN(5)]
}

func (g entryMaker) micros() Micros {
	return []Micros{Past, Future, 0, -1, Micros(g.Int64N(1 << 52))}[g.IntN(5)]
}

func (g entryMaker) day() Day { return []Day{Always, -1, 0, Day(g.IntN(80_000))}[g.IntN(4)] }

func (g entryMaker) digest() (d Digest) {
	for i := range d {
		d[i] = byte(g.Uint32())
	}
	return d
}

func (g entryMaker) decimal() decimal.Decimal {
	d, err := decimal.Parse([]string{
		"0", "7", "-2.5", "0.001", "99999999999999999999.999999999999999999",
		"0.000000000000000001", "12345678.123456", "1000000000000000000",
	}[g.IntN(8)])
	if err != nil {
		panic(fmt.Sprintf("BUG: %v", err))
	}
	return d
}

func (g entryMaker) amount() decimal.Amount {
	return decimal.AmountFromWords([4]uint64{g.Uint64(), g.Uint64(), g.Uint64(), g.Uint64()})
}

func (g entryMaker) zone() *Zone {
	z := &Zone{Name: "z" + g.text(), Offset: int32(g.IntN(9000) - 4500)}
	at := int64(0)
	for range g.IntN(5) {
		at += 1 + g.Int64N(1<<28)
		z.Transitions = append(z.Transitions, Transition{at, int32(g.IntN(9000) - 4500)})
	}
	return z
}

// few returns up to two values, nil for none.
func few[T any](g entryMaker, one func() T) []T {
	var out []T
	for range g.IntN(3) {
		out = append(out, one())
	}
	return out
}

func (g entryMaker) change() *Change {
	return &Change{
		File: g.digest(), Actor: g.text(), Reason: g.text(),
		Meters: few(g, g.meter), Plans: few(g, g.plan),
		Defaults: few(g, func() Default { return Default{g.text(), g.text()} }),
		Accounts: few(g, func() AccountChange {
			return AccountChange{
				g.text(), g.text(), g.text(), few(g, g.ownership), few(g, g.ownership),
				few(g, g.subscription),
			}
		}),
	}
}

func (g entryMaker) wideChange() *Change {
	c := g.change()
	c.Coupons = few(g, func() Coupon {
		return Coupon{
			g.text(), g.text(), g.text(), g.decimal(), g.decimal(), g.text(), g.micros(), g.IntN(99),
		}
	})
	c.Taxes = few(g, func() AccountTaxes {
		return AccountTaxes{g.text(), g.day(), g.yes(), few(g, func() TaxRate {
			return TaxRate{g.text(), g.decimal()}
		})}
	})
	c.Budgets = append(few(g, g.budget), g.budget())
	return c
}

func (g entryMaker) budget() Budget {
	return Budget{
		g.text(), g.text(), g.text(), g.text(), g.text(), g.decimal(), few(g, g.decimal),
	}
}

func (g entryMaker) meter() Meter {
	m := Meter{
		Key: g.text(), Event: g.text(), Aggregate: Aggregate(1 + g.IntN(int(Percentile))),
		Value:   g.text(),
		GroupBy: few(g, func() Dimension { return Dimension{g.text(), g.text()} }),
		Where:   few(g, func() Filter { return Filter{g.text(), few(g, g.text)} }), Unit: g.text(),
	}
	if d := g.decimal(); g.yes() {
		m.Constant, m.RoundEach = &d, &RoundEach{g.decimal(), ConvertRound(g.IntN(4))}
		m.Percent, m.Window, m.Of = g.decimal(), g.micros(), Aggregate(g.IntN(10))
		m.Per, m.Correctable = g.micros(), g.yes()
	}
	return m
}

func (g entryMaker) plan() Plan {
	return Plan{
		g.text(), 1 + g.IntN(1000), g.day(), g.text(), g.IntN(5),
		Interval(1 + g.IntN(int(Year))), Anchor(g.IntN(int(StartAnchor) + 1)),
		[]decimal.Rounding{decimal.HalfAway, decimal.HalfEven}[g.IntN(2)],
		few(g, func() Price { return g.price(Model(1 + g.IntN(int(Dynamic)))) }),
	}
}

func (g entryMaker) price(model Model) Price {
	p := Price{
		Key: g.text(), Model: model, Meter: g.text(),
		Match: few(g, func() Match { return Match{g.text(), few(g, g.text)} }), Per: few(g, g.text),
		Amount: g.decimal(), Advance: g.yes(), Prorate: g.yes(), Unit: g.decimal(), Size: g.decimal(),
		Tiers: few(g, func() Tier {
			return Tier{g.decimal(), g.yes(), g.decimal(), g.decimal(), g.decimal(), g.decimal()}
		}),
		Free: g.decimal(), Discount: g.decimal(), ZeroFree: g.yes(), TaxCode: g.text(),
	}
	if g.yes() {
		p.Convert = &Convert{g.decimal(), g.decimal(), ConvertRound(g.IntN(4))}
	}
	if d := g.decimal(); g.yes() {
		p.Minimum = &d
	}
	if d := g.decimal(); g.yes() {
		p.Maximum = &d
	}
	if d := g.decimal(); g.yes() {
		p.Rate, p.Fixed, p.FreeEvents, p.FreeAmount = g.decimal(), g.decimal(), g.Int64(), g.decimal()
		p.MinEach, p.MaxEach, p.Multiplier, p.Off = &d, &d, g.decimal(), g.decimal()
		p.Commitment = &Commitment{g.decimal(), g.decimal()}
		p.Matrix = &Matrix{few(g, g.text), few(g, func() MatrixRow {
			return MatrixRow{few(g, g.text), g.decimal()}
		})}
	}
	return p
}

func (g entryMaker) ownership() Ownership {
	return Ownership{g.text(), g.text(), g.micros(), g.micros()}
}

func (g entryMaker) subscription() Subscription {
	return Subscription{
		g.text(), g.text(), g.IntN(9), g.micros(), g.micros(), few(g, func() Override {
			return Override{g.text(), PriceFields(g.Uint32()), g.price(Model(g.IntN(10)))}
		}), Micros(g.IntN(2) * g.IntN(1<<40)),
	}
}

// emptyBatch returns a batch of rows whose dictionaries hold nothing.
func emptyBatch(rows int) *Batch {
	absent := func() Dict { return Dict{Index: fill(make([]uint32, 0), rows, Absent)} }
	return &Batch{
		Len: rows, Source: absent(), Type: absent(), Subject: absent(),
		ID: Strings{End: make([]uint32, rows)}, Rest: Strings{End: make([]uint32, rows)},
		Time: make([]Micros, rows), Digest: make([]uint64, rows),
		Origin: Origins{Partition: absent(), Offset: make([]int64, rows), Resume: []int64{}},
	}
}

// batch fills the columns of 0 to 150 rows, some of which are malformed.
func (g entryMaker) batch() *Batch {
	return g.batchOf([]int{0, 1, 3, 64, 65, g.IntN(150)}[g.IntN(6)])
}

// row is a batch of one event.
func (g entryMaker) row() *Batch {
	for {
		if b := g.batchOf(1); len(b.Malformed) == 0 {
			return b
		}
	}
}

func (g entryMaker) batchOf(rows int) *Batch {
	b := emptyBatch(rows)
	for row := range rows {
		b.Digest[row], b.Origin.Offset[row] = g.Uint64(), g.Int64()
		if g.IntN(8) == 0 {
			b.Malformed = append(b.Malformed, Malformed{
				row, g.text(), few(g, func() byte { return '{' }), g.Int64N(1 << 40),
			})
		} else {
			b.Time[row] = Micros(g.Int64N(int64(MaxTime)))
		}
		if g.IntN(3) == 0 {
			b.TimeDefaulted.Set(row)
		}
	}
	b.TimeDefaulted = full(b.TimeDefaulted, rows)
	for _, d := range []*Dict{&b.Source, &b.Type, &b.Subject, &b.Origin.Partition} {
		g.dict(d, rows, false)
	}
	for range b.Origin.Partition.Values {
		b.Origin.Resume = append(b.Origin.Resume, g.Int64())
	}
	b.Origin.Source = g.text()
	g.strings(&b.ID)
	g.strings(&b.Rest)
	for range g.IntN(6) {
		b.Props = append(b.Props, g.column(rows))
	}
	return b
}

// full gives a set the words of all rows, none if it is empty.
func full(b Bits, rows int) Bits {
	for len(b) > 0 && len(b) < (rows+63)/64 {
		b = append(b, 0)
	}
	return b
}

func (g entryMaker) dict(d *Dict, rows int, absent bool) {
	if rows == 0 {
		return
	}
	n := 1 + g.IntN(rows)
	for i := range n {
		d.Values = append(d.Values, fmt.Sprint(g.text(), i))
	}
	for i := range rows {
		if !absent || g.yes() {
			d.Index[i] = uint32(g.IntN(n))
		}
	}
}

func (g entryMaker) strings(s *Strings) {
	some := g.yes()
	for i := range s.End {
		if some {
			s.Bytes = append(s.Bytes, g.text()...)
		}
		s.End[i] = uint32(len(s.Bytes))
	}
}

func (g entryMaker) column(rows int) Column {
	c := Column{Path: g.text(), Kind: ColumnKind(1 + g.IntN(4))}
	switch c.Kind {
	case TextColumn, WideColumn:
		c.Text.Index = fill(make([]uint32, 0), rows, Absent)
		if g.yes() {
			g.dict(&c.Text, rows, true)
		}
		return c
	case NumberColumn:
		c.Numbers = make([]decimal.Decimal, rows)
	}
	kind := g.IntN(4)
	for row := range rows {
		if g.yes() {
			continue
		}
		c.Present.Set(row)
		if c.Kind == BoolColumn && g.yes() {
			c.Bools.Set(row)
		}
		if c.Kind == NumberColumn {
			c.Numbers[row] = g.number(kind)
		}
	}
	c.Present, c.Bools = full(c.Present, rows), full(c.Bools, rows)
	return c
}

// number returns one that fits one of the forms of a column.
func (g entryMaker) number(form int) decimal.Decimal {
	if form == 3 {
		return g.decimal()
	}
	return decimal.FromScaled(g.Int64N(1<<40)-1<<39, 3*form)
}
