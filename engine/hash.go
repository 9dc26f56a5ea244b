package engine

import (
	"encoding/binary"
	"math/bits"

	"billctl/engine/decimal"
)

// RowDigest tells two events with one id apart. It is the wrapping sum of one 64-bit hash a field
// (type, subject, time unless defaulted, every scalar property, every member of Rest), so it does
// not depend on the order of members. It is in the journal for ever: none of this may change.
//
// A digest is built by adding to the zero value; the order of the calls does not matter.
type RowDigest uint64

// The seeds of the fields; a property's seed is PathSeed of its path.
const (
	seedType    = 0x9ae16a3b2f90404f
	seedSubject = 0xc3a5c85c97cb3127
	seedTime    = 0xb492b66fbe98f273
	seedPath    = 0x2545f4914f6cdd1d
)

// DigestType returns the part of a row's digest that its type gives.
func DigestType(s string) RowDigest { return RowDigest(hash64(seedType, s)) }

// DigestSubject returns the part of a row's digest that its subject gives.
func DigestSubject(s string) RowDigest { return RowDigest(hash64(seedSubject, s)) }

// DigestTime returns the part of a row's digest that its time gives, unless it was defaulted.
func DigestTime(t Micros) RowDigest { return RowDigest(mix(seedTime, uint64(t))) }

// PathSeed returns the seed for the values of one property path.
func PathSeed(path string) uint64 { return hash64(seedPath, path) }

// DigestText returns the part of a string property.
func DigestText(path uint64, s string) RowDigest { return RowDigest(hash64(path+1, s)) }

// DigestNumber returns the part of a number property; 5, 5.0 and 5e0 are one number.
func DigestNumber(path uint64, d decimal.Decimal) RowDigest {
	hi, lo := d.Words()
	return RowDigest(mix(mix(path+2, uint64(hi)), lo))
}

// DigestWide returns the part of a number beyond decimal.Decimal, by its text.
func DigestWide(path uint64, s string) RowDigest { return RowDigest(hash64(path+3, s)) }

// DigestBool returns the part of a bool property.
func DigestBool(path uint64, v bool) RowDigest {
	if v {
		return RowDigest(mix(path+4, 1))
	}
	return RowDigest(mix(path+4, 0))
}

// DigestRest returns the part of a member that no column holds, by its text without white space
// between tokens.
func DigestRest(path uint64, s string) RowDigest { return RowDigest(hash64(path+5, s)) }

// mix folds two words into one by a 128-bit product, as wyhash does.
func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	return hi ^ lo
}

// hash64 is unkeyed: it guards against accidents, Key against intent.
func hash64(seed uint64, s string) uint64 {
	h := mix(seed, uint64(len(s)))
	for len(s) >= 8 {
		h = mix(h, word(s))
		s = s[8:]
	}
	if len(s) > 0 {
		var tail [8]byte
		copy(tail[:], s)
		h = mix(h, binary.LittleEndian.Uint64(tail[:]))
	}
	return mix(h, 0x8ebc6af09c88c6e3)
}

func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// keyHash is SipHash-2-4 with 128 bits of output (Aumasson and Bernstein) of length-prefixed
// parts. A customer who chooses ids can't make two of them collide without the journal's key, and
// at 10^9 ids the chance that any two collide is below 10^-20.
type keyHash struct{ k0, k1 uint64 }

func newKeyHash(key [16]byte) keyHash {
	return keyHash{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// sum hashes the message; buf holds it whole.
func (k keyHash) sum(buf []byte) (hi, lo uint64) {
	v0, v1 := k.k0^0x736f6d6570736575, k.k1^0x646f72616e646f6d^0xee
	v2, v3 := k.k0^0x6c7967656e657261, k.k1^0x7465646279746573
	last := uint64(len(buf)) << 56
	for len(buf) >= 8 {
		m := binary.LittleEndian.Uint64(buf)
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
		buf = buf[8:]
	}
	for i, c := range buf {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xee
	v0, v1, v2, v3 = sipFinish(v0, v1, v2, v3)
	hi = v0 ^ v1 ^ v2 ^ v3
	v1 ^= 0xdd
	v0, v1, v2, v3 = sipFinish(v0, v1, v2, v3)
	return hi, v0 ^ v1 ^ v2 ^ v3
}

func sipFinish(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0, v1, v2, v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
