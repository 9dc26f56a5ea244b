package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"billctl/engine/decimal"
)

// Canonical bytes are the only form in which entries and state are hashed and stored
// (docs/formats/canonical.md). Unsigned numbers are uvarints, signed ones zigzag varints, strings
// and lists carry their length first, decimals are words. A value has one encoding only, and a
// decoder refuses what no encoder writes where that is cheap to see.

// appends of plain values

func appendUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }
func appendInt(b []byte, v int64) []byte   { return binary.AppendVarint(b, v) }

func appendBool(b []byte, v bool) []byte { return append(b, byte(one(v))) }

func appendString(b []byte, s string) []byte { return append(appendUint(b, uint64(len(s))), s...) }

func appendBytes(b, s []byte) []byte { return append(appendUint(b, uint64(len(s))), s...) }

func appendDecimal(b []byte, d decimal.Decimal) []byte {
	hi, lo := d.Words()
	b = binary.BigEndian.AppendUint64(b, uint64(hi))
	return binary.BigEndian.AppendUint64(b, lo)
}

func appendSum(b []byte, s decimal.Sum) []byte {
	for _, w := range s.Words() {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func appendAmount(b []byte, a decimal.Amount) []byte {
	for _, w := range a.Words() {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

// appendRat writes the reduced fraction as text: Rats are in documents only, not on the hot path.
func appendRat(b []byte, r decimal.Rat) []byte { return appendString(b, r.String()) }

func appendList[T any](b []byte, list []T, one func([]byte, *T) []byte) []byte {
	b = appendUint(b, uint64(len(list)))
	for i := range list {
		b = one(b, &list[i])
	}
	return b
}

func appendStrings(b []byte, list []string) []byte {
	return appendList(b, list, func(b []byte, s *string) []byte { return appendString(b, *s) })
}

// equalCanonical reports whether two values have the same canonical bytes.
func equalCanonical[T any](one func([]byte, *T) []byte, x, y *T) bool {
	return string(one(nil, x)) == string(one(nil, y))
}

// ErrFormat is what decoders return, wrapped with the offset of the damage.
var ErrFormat = errors.New("not canonical bytes")

// reader takes values off canonical bytes. After the first fault it returns zero values; the
// caller asks for the error once at the end.
type reader struct {
	b    []byte
	size int
	err  error
}

func newReader(b []byte) *reader { return &reader{b: b, size: len(b)} }

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("decode at byte %d: %s: %w", r.size-len(r.b), what, ErrFormat)
		r.b = nil
	}
}

// end returns the first fault, or one if bytes are left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("trailing bytes")
	}
	return r.err
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 1 && r.b[n-1] == 0 {
		r.fail("uvarint")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	u := r.uint()
	return int64(u>>1) ^ -int64(u&1)
}

// int32 reads a signed number and refuses one of more than 32 bits.
func (r *reader) int32() int32 {
	v := r.int()
	if int64(int32(v)) != v {
		r.fail("number beyond 32 bits")
	}
	return int32(v)
}

// upTo reads a number and refuses one above the limit.
func (r *reader) upTo(limit uint64, what string) uint64 {
	v := r.uint()
	if v > limit {
		r.fail(what)
		return 0
	}
	return v
}

// count reads the length of a list of items that take at least size bytes each, so that a forged
// length allocates nothing.
func (r *reader) count(size int) int {
	return int(r.upTo(uint64(len(r.b)/size), "length"))
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail("short")
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) bool() bool { return r.upTo(1, "bool") == 1 }

func (r *reader) bytes() []byte { return r.take(r.count(1)) }

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) micros() Micros { return Micros(r.int()) }

func (r *reader) digest() (d Digest) {
	copy(d[:], r.take(len(d)))
	return d
}

func (r *reader) word() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) decimal() decimal.Decimal {
	hi, lo := r.word(), r.word()
	d, ok := decimal.FromWords(int64(hi), lo)
	if !ok {
		r.fail("decimal out of range")
	}
	return d
}

func (r *reader) sum() decimal.Sum {
	return decimal.SumFromWords([3]uint64{r.word(), r.word(), r.word()})
}

func (r *reader) amount() decimal.Amount {
	return decimal.AmountFromWords([4]uint64{r.word(), r.word(), r.word(), r.word()})
}

// readList reads what appendList wrote; size is the least number of bytes of an item.
func readList[T any](r *reader, size int, one func(*reader) T) []T {
	n := r.count(size)
	if n == 0 {
		return nil
	}
	list := make([]T, n)
	for i := range list {
		list[i] = one(r)
	}
	return list
}

func readStrings(r *reader) []string {
	return readList(r, 1, func(r *reader) string { return r.string() })
}
