package formats

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// MaxArchiveColumns is how many property columns a file has at most; what is beyond goes to rest.
const MaxArchiveColumns = 256

// A column has a dictionary if its values repeat so much.
const (
	fewTexts    = 16 << 10 // distinct texts of a path that are counted
	fewNumbers  = 1 << 10
	plannedHash = 1 << 20 // distinct values that are counted over all paths
	longText    = 256     // bytes; a least value so long is worth less than its room
)

// columnPlan says which columns a file of events has: one for each property path that is used
// enough, of the kind that most of its values have. It depends on nothing but the batches, so the
// same batches give the same file. Every value of a plan's columns fits its type exactly; all
// other values go to rest (docs/formats/archive.md, "Properties").
type columnPlan struct {
	columns []planColumn // by path
	uuids   bool         // every id is the canonical text of a UUID, in lower case
	rows    int64        // of the batches
	events  int64        // rows that are no malformed ones
}

// planColumn is a property column of a file.
type planColumn struct {
	path       string
	kind       engine.ColumnKind // TextColumn, NumberColumn or BoolColumn
	form       numberForm        // of a NumberColumn
	scale      int               // fractional digits of a NumberColumn, 0 to 18
	dictionary bool              // there are few distinct values
	long       bool              // a text has more than longText bytes
	values     int64
}

// numberForm is how the numbers of a column are stored.
type numberForm uint8

const (
	wholeNumbers  numberForm = iota // INT64
	smallDecimals                   // DECIMAL(18, scale) on 64 bits
	wideDecimals                    // DECIMAL(38, scale) on 128 bits
)

// smallLimit is 10^18: small decimals have 18 digits.
const smallLimit = 1_000_000_000_000_000_000

// what returns the column's type for people: "STRING", "DECIMAL(18,3)".
func (c *planColumn) what() string {
	switch {
	case c.kind == engine.TextColumn:
		return "STRING"
	case c.kind == engine.BoolColumn:
		return "BOOLEAN"
	case c.form == wholeNumbers:
		return "INT64"
	case c.form == smallDecimals:
		return fmt.Sprintf("DECIMAL(18,%d)", c.scale)
	}
	return fmt.Sprintf("DECIMAL(38,%d)", c.scale)
}

// planColumns goes through the batches and returns the columns for their events.
func planColumns(batches func(yield func(*engine.Batch) error) error) (*columnPlan, error) {
	p := planner{paths: map[string]*pathUse{}, budget: plannedHash, uuids: true}
	err := batches(func(b *engine.Batch) error {
		p.add(b)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.plan(), nil
}

// place returns, for each property column of the batch, the plan's column that holds its values,
// -1 where rest does.
func (p *columnPlan) place(b *engine.Batch) []int {
	out := make([]int, len(b.Props))
	for i := range b.Props {
		c := &b.Props[i]
		at, ok := slices.BinarySearchFunc(p.columns, c.Path, func(c planColumn, path string) int {
			return strings.Compare(c.path, path)
		})
		out[i] = -1
		if ok && p.columns[at].kind == c.Kind {
			out[i] = at
		}
	}
	return out
}

// whole returns a number as a multiple of 10^-scale, for a column of INT64 or of small decimals. It
// is false if that is not exact, or has more digits than the type.
func (c *planColumn) whole(d decimal.Decimal) (int64, bool) {
	n, ok := d.Scaled(c.scale)
	if c.form == smallDecimals && (n <= -smallLimit || n >= smallLimit) {
		return 0, false
	}
	return n, ok
}

// unscaled returns a number as a multiple of 10^-scale, in two's complement, for a column of wide
// decimals, whose 38 digits hold every number. It is false if there are more fractional digits.
func (c *planColumn) unscaled(d decimal.Decimal) (hi int64, lo uint64, ok bool) {
	neg, h, l := magnitude(d)
	unit := pow10(decimal.Scale - c.scale)
	qh, rest := bits.Div64(0, h, unit)
	ql, rest := bits.Div64(rest, l, unit)
	if neg {
		var borrow uint64
		ql, borrow = bits.Sub64(0, ql, 0)
		qh, _ = bits.Sub64(0, qh, borrow)
	}
	return int64(qh), ql, rest == 0
}

// planner counts what the batches hold.
type planner struct {
	paths        map[string]*pathUse
	budget       int // distinct values that may still be counted
	uuids        bool
	rows, events int64
}

// pathUse is what was seen of one path.
type pathUse struct {
	kinds    [engine.BoolColumn + 1]int64
	scale    int             // greatest number of fractional digits
	least    decimal.Decimal // of all numbers
	greatest decimal.Decimal
	last     decimal.Decimal // the number before
	long     bool
	texts    distinct
	numbers  distinct
}

// distinct counts distinct values until they are too many.
type distinct struct {
	hashes map[uint64]struct{}
	full   bool
	values int64 // that were looked at until it was full
}

func (p *planner) add(b *engine.Batch) {
	bad := badRows(b)
	p.rows += int64(b.Len)
	p.events += int64(b.Len - len(b.Malformed))
	for row := 0; p.uuids && row < b.Len; row++ {
		p.uuids = bad.Has(row) || isUUID(b.ID.At(row))
	}
	for i := range b.Props {
		c := &b.Props[i]
		if !namesColumn(c.Path) {
			continue
		}
		u := p.paths[c.Path]
		if u == nil {
			u = &pathUse{}
			p.paths[c.Path] = u
		}
		switch c.Kind {
		case engine.TextColumn:
			p.addTexts(u, c, bad, b.Len)
		case engine.NumberColumn:
			p.addNumbers(u, c, bad, b.Len)
		default:
			u.kinds[c.Kind] += int64(countValues(c, bad, b.Len))
		}
	}
}

func (p *planner) addTexts(u *pathUse, c *engine.Column, bad engine.Bits, rows int) {
	n := int64(countValues(c, bad, rows))
	u.kinds[engine.TextColumn] += n
	for _, s := range c.Text.Values {
		u.long = u.long || len(s) > longText
	}
	if u.texts.full {
		return
	}
	u.texts.values += n
	for _, s := range c.Text.Values {
		p.count(&u.texts, uint64(engine.DigestText(0, s)), fewTexts)
	}
}

func (p *planner) addNumbers(u *pathUse, c *engine.Column, bad engine.Bits, rows int) {
	for row := range rows {
		if !c.Present.Has(row) || bad.Has(row) {
			continue
		}
		d := c.Numbers[row]
		first := u.kinds[engine.NumberColumn] == 0
		u.kinds[engine.NumberColumn]++
		if !u.numbers.full {
			u.numbers.values++
		}
		if !first && d == u.last {
			continue
		}
		u.last = d
		u.scale = max(u.scale, scaleOf(d, u.scale))
		if first || d.Cmp(u.least) < 0 {
			u.least = d
		}
		if first || d.Cmp(u.greatest) > 0 {
			u.greatest = d
		}
		if !u.numbers.full {
			p.count(&u.numbers, uint64(engine.DigestNumber(0, d)), fewNumbers)
		}
	}
}

func (p *planner) count(d *distinct, hash uint64, limit int) {
	if d.full {
		return
	}
	if _, ok := d.hashes[hash]; ok {
		return
	}
	if len(d.hashes) >= limit || p.budget == 0 {
		d.full = true
		return
	}
	if d.hashes == nil {
		d.hashes = map[uint64]struct{}{}
	}
	d.hashes[hash] = struct{}{}
	p.budget--
}

// repeat reports whether a value comes again a few times on the average.
func (d *distinct) repeat(times int64) bool { return int64(len(d.hashes))*times <= d.values }

// plan chooses the columns: the most used paths first, ties by path.
func (p *planner) plan() *columnPlan {
	out := &columnPlan{uuids: p.uuids && p.events > 0, rows: p.rows, events: p.events}
	var all []planColumn
	for path, u := range p.paths {
		if c := u.column(path); c.kind != 0 {
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b planColumn) int {
		return cmp.Or(cmp.Compare(b.values, a.values), strings.Compare(a.path, b.path))
	})
	folded := map[string]bool{}
	for _, c := range all {
		// Names that differ in case only are one name to many tools, which then invent others.
		if name := strings.ToLower(c.path); !folded[name] && len(out.columns) < MaxArchiveColumns {
			folded[name] = true
			out.columns = append(out.columns, c)
		}
	}
	slices.SortFunc(out.columns, func(a, b planColumn) int { return strings.Compare(a.path, b.path) })
	return out
}

// column returns the column for the path; its kind is 0 if there is nothing to hold.
func (u *pathUse) column(path string) planColumn {
	c := planColumn{path: path}
	most := int64(0)
	for kind, n := range u.kinds {
		c.values += n
		// Numbers beyond decimal.Decimal have no type in Parquet.
		if n > most && engine.ColumnKind(kind) != engine.WideColumn {
			c.kind, most = engine.ColumnKind(kind), n
		}
	}
	switch c.kind {
	case engine.TextColumn:
		c.dictionary, c.long = u.texts.repeat(2), u.long
	case engine.NumberColumn:
		c.scale = u.scale
		c.form = u.form()
		c.dictionary = !u.numbers.full && u.numbers.repeat(4)
	}
	return c
}

func (u *pathUse) form() numberForm {
	low, okLow := u.least.Scaled(u.scale)
	high, okHigh := u.greatest.Scaled(u.scale)
	switch {
	case !okLow || !okHigh:
		return wideDecimals
	case u.scale == 0:
		return wholeNumbers
	case low > -smallLimit && high < smallLimit:
		return smallDecimals
	}
	return wideDecimals
}

// namesColumn reports whether a property's path can name a column. A comma in a name and control
// characters trip readers of Parquet.
func namesColumn(path string) bool {
	if !strings.HasPrefix(path, "data.") || len(path) > engine.MaxName {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == ',' || c == 0x7f {
			return false
		}
	}
	return true
}

// scaleOf returns the number of fractional digits of d if it is above at least, or at least.
func scaleOf(d decimal.Decimal, least int) int {
	_, hi, lo := magnitude(d)
	for least < decimal.Scale {
		unit := pow10(decimal.Scale - least)
		_, rest := bits.Div64(0, hi, unit)
		if _, rest = bits.Div64(rest, lo, unit); rest == 0 {
			break
		}
		least++
	}
	return least
}

func magnitude(d decimal.Decimal) (neg bool, hi, lo uint64) {
	h, lo := d.Words()
	hi = uint64(h)
	if h >= 0 {
		return false, hi, lo
	}
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	return true, hi, lo
}

// pow10 returns 10^n, n from 0 to 19.
func pow10(n int) uint64 {
	p := uint64(1)
	for range n {
		p *= 10
	}
	return p
}

// badRows returns the malformed rows as a set.
func badRows(b *engine.Batch) (bad engine.Bits) {
	for i := range b.Malformed {
		bad.Set(b.Malformed[i].Row)
	}
	return bad
}

// hasValue reports whether the row has a value in the column.
func hasValue(c *engine.Column, row int) bool {
	if c.Kind == engine.TextColumn || c.Kind == engine.WideColumn {
		return c.Text.Index[row] != engine.Absent
	}
	return c.Present.Has(row)
}

// countValues returns how many readable rows have a value in the column.
func countValues(c *engine.Column, bad engine.Bits, rows int) int {
	n := 0
	if bad == nil && (c.Kind == engine.NumberColumn || c.Kind == engine.BoolColumn) {
		for _, w := range c.Present {
			n += bits.OnesCount64(w)
		}
		return n
	}
	for row := range rows {
		if hasValue(c, row) && !bad.Has(row) {
			n++
		}
	}
	return n
}

// isUUID reports whether the text is a UUID as RFC 9562 writes it, in lower case.
func isUUID(s []byte) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if c-'0' > 9 && c-'a' > 5 {
				return false
			}
		}
	}
	return true
}
