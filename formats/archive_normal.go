package formats

import (
	"cmp"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// Normalize returns the batch in the form in which an archive gives it back. Dictionaries are in
// the order of first appearance and have no unused values; property columns without a value are
// gone, the others are sorted by (Path, Kind); malformed rows hold nothing in any column.
// Partitions that no row has stand behind the used ones, sorted, since Resume speaks of them. The
// engine makes the same of both batches. The given batch stays as it is; the two share memory.
func Normalize(b *engine.Batch) *engine.Batch {
	n := normalizer{bad: badRows(b), rows: b.Len}
	out := &engine.Batch{
		Len:    b.Len,
		Source: n.dict(&b.Source), Type: n.dict(&b.Type), Subject: n.dict(&b.Subject),
		ID: n.strings(&b.ID), Rest: n.strings(&b.Rest), Time: b.Time, Digest: b.Digest,
		TimeDefaulted: n.bits(b.TimeDefaulted), Malformed: b.Malformed,
	}
	if n.bad != nil {
		out.Time, out.Digest = slices.Clone(b.Time), slices.Clone(b.Digest)
		for i := range b.Malformed {
			row := b.Malformed[i].Row
			out.Time[row], out.Digest[row] = 0, 0
		}
	}
	for i := range b.Props {
		if c, ok := n.column(&b.Props[i]); ok {
			out.Props = append(out.Props, c)
		}
	}
	slices.SortStableFunc(out.Props, compareColumns)
	out.Origin = normalOrigins(&b.Origin)
	return out
}

func compareColumns(a, b engine.Column) int {
	return cmp.Or(strings.Compare(a.Path, b.Path), cmp.Compare(a.Kind, b.Kind))
}

// normalizer brings columns of one batch into the form of an archive.
type normalizer struct {
	bad  engine.Bits // malformed rows
	rows int
}

func (n *normalizer) dict(d *engine.Dict) engine.Dict {
	if n.bad == nil && isNormal(d) {
		return *d
	}
	out := engine.Dict{Index: make([]uint32, n.rows)}
	to := make([]uint32, len(d.Values)) // index+1 in out; 0: not there yet
	for row, i := range d.Index[:n.rows] {
		if i == engine.Absent || n.bad.Has(row) {
			out.Index[row] = engine.Absent
			continue
		}
		if to[i] == 0 {
			out.Values = append(out.Values, d.Values[i])
			to[i] = uint32(len(out.Values))
		}
		out.Index[row] = to[i] - 1
	}
	return out
}

// isNormal reports whether the dictionary is in the order of first appearance and all used.
func isNormal(d *engine.Dict) bool {
	next := uint32(0)
	for _, i := range d.Index {
		if i == next {
			next++
		} else if i != engine.Absent && i > next {
			return false
		}
	}
	return int(next) == len(d.Values)
}

func (n *normalizer) strings(s *engine.Strings) engine.Strings {
	if n.bad == nil {
		return *s
	}
	out := engine.Strings{End: make([]uint32, n.rows)}
	for row := range n.rows {
		if !n.bad.Has(row) {
			out.Bytes = append(out.Bytes, s.At(row)...)
		}
		out.End[row] = uint32(len(out.Bytes))
	}
	return out
}

func (n *normalizer) bits(b engine.Bits) engine.Bits {
	if n.bad == nil {
		return b
	}
	out := slices.Clone(b)
	for i := range out {
		if i < len(n.bad) {
			out[i] &^= n.bad[i]
		}
	}
	return out
}

// column is false if the column has no value.
func (n *normalizer) column(c *engine.Column) (engine.Column, bool) {
	if countValues(c, n.bad, n.rows) == 0 {
		return engine.Column{}, false
	}
	out := engine.Column{Path: c.Path, Kind: c.Kind}
	switch c.Kind {
	case engine.TextColumn, engine.WideColumn:
		out.Text = n.dict(&c.Text)
	case engine.BoolColumn:
		out.Present, out.Bools = n.bits(c.Present), slices.Clone(n.bits(c.Bools))
		for i := range out.Bools {
			if i < len(out.Present) {
				out.Bools[i] &= out.Present[i]
			} else {
				out.Bools[i] = 0
			}
		}
	case engine.NumberColumn:
		out.Present, out.Numbers = n.bits(c.Present), c.Numbers
		if n.bad != nil {
			out.Numbers = slices.Clone(c.Numbers)
			for row := range out.Numbers {
				if !out.Present.Has(row) {
					out.Numbers[row] = decimal.Decimal{}
				}
			}
		}
	}
	return out, true
}

// normalOrigins orders the partitions. Malformed rows have one as well.
func normalOrigins(o *engine.Origins) engine.Origins {
	if isNormal(&o.Partition) {
		return *o
	}
	n := normalizer{rows: len(o.Partition.Index)}
	out := engine.Origins{Source: o.Source, Partition: n.dict(&o.Partition), Offset: o.Offset}
	used := len(out.Partition.Values)
	resume := make(map[string]int64, len(o.Resume))
	for i, name := range o.Partition.Values {
		resume[name] = o.Resume[i]
		if !slices.Contains(out.Partition.Values[:used], name) {
			out.Partition.Values = append(out.Partition.Values, name)
		}
	}
	slices.Sort(out.Partition.Values[used:])
	for _, name := range out.Partition.Values {
		out.Resume = append(out.Resume, resume[name])
	}
	return out
}

// RowDigests returns the digests that the rows of a batch must have, computed anew from its
// columns, in dst. Malformed rows have 0. A difference from Batch.Digest shows that a row was
// changed since it was read. What repeats is hashed once for each distinct value.
func RowDigests(b *engine.Batch, dst []uint64) []uint64 {
	dst = slices.Grow(dst[:0], b.Len)[:b.Len]
	clear(dst)
	var parts []uint64
	parts = addDigests(dst, &b.Type, parts, engine.DigestType)
	parts = addDigests(dst, &b.Subject, parts, engine.DigestSubject)
	for row, t := range b.Time[:b.Len] {
		if !b.TimeDefaulted.Has(row) {
			dst[row] += uint64(engine.DigestTime(t))
		}
	}
	for i := range b.Props {
		c := &b.Props[i]
		seed := engine.PathSeed(c.Path)
		switch c.Kind {
		case engine.TextColumn:
			parts = addDigests(dst, &c.Text, parts, func(s string) engine.RowDigest {
				return engine.DigestText(seed, s)
			})
		case engine.WideColumn:
			parts = addDigests(dst, &c.Text, parts, func(s string) engine.RowDigest {
				return engine.DigestWide(seed, s)
			})
		case engine.NumberColumn:
			for row := range dst {
				if c.Present.Has(row) {
					dst[row] += uint64(engine.DigestNumber(seed, c.Numbers[row]))
				}
			}
		case engine.BoolColumn:
			for row := range dst {
				if c.Present.Has(row) {
					dst[row] += uint64(engine.DigestBool(seed, c.Bools.Has(row)))
				}
			}
		}
	}
	addRestDigests(dst, &b.Rest)
	for i := range b.Malformed {
		dst[b.Malformed[i].Row] = 0
	}
	return dst
}

// addDigests adds the parts of a dictionary's values to the rows that have them. parts is memory.
func addDigests(
	dst []uint64, d *engine.Dict, parts []uint64, digest func(string) engine.RowDigest,
) []uint64 {
	parts = parts[:0]
	for _, s := range d.Values {
		parts = append(parts, uint64(digest(s)))
	}
	for row, i := range d.Index[:len(dst)] {
		if int(i) < len(parts) {
			dst[row] += parts[i]
		}
	}
	return parts
}

// addRestDigests adds the parts of the members that no column holds. A text that is no list of
// members counts as one member without a name: it gives another digest than any event.
func addRestDigests(dst []uint64, rest *engine.Strings) {
	if len(rest.Bytes) == 0 {
		return
	}
	seeds := map[string]uint64{}
	var path []byte
	for row := range dst {
		text := rest.At(row)
		if len(text) == 0 {
			continue
		}
		sum := uint64(0)
		ok := eachMember(text, func(key, value []byte) bool {
			var plain bool
			if path, plain = unquoteJSON(path[:0], key); !plain {
				return false
			}
			seed, known := seeds[string(path)]
			if !known {
				seed = engine.PathSeed(string(path))
				seeds[string(path)] = seed
			}
			sum += uint64(engine.DigestRest(seed, string(value)))
			return true
		})
		if !ok {
			sum = uint64(engine.DigestRest(engine.PathSeed(""), string(text)))
		}
		dst[row] += sum
	}
}
