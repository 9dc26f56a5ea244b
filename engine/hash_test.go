package engine

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"billctl/engine/decimal"
)

// sipVectors are SipHash-2-4 with 128 bits of output under the key 00 01 .. 0f of the messages
// "", 00, 00 01, ...: vectors_sip128 of the reference implementation, made anew with OpenSSL.
var sipVectors = [...]string{
	"a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45",
	"8177228da4a45dc7fca38bdef60affe4", "9c70b60c5267a94e5f33b6b02985ed51",
	"f88164c12d9c8faf7d0f6e7c7bcd5579", "1368875980776f8854527a07690e9627",
	"14eeca338b208613485ea0308fd7a15e", "a1f1ebbed8dbc153c0b84aa61ff08239",
	"3b62a9ba6258f5610f83e264f31497b4", "264499060ad9baabc47f8b02bb6d71ed",
	"00110dc378146956c95447d3f3d0fbba", "0151c568386b6677a2b4dc6f81e5dc18",
	"d626b266905ef35882634df68532c125", "9869e247e9c08b10d029934fc4b952f7",
	"31fcefac66d7de9c7ec7485fe4494902", "5493e99933b0a8117e08ec0f97cfc3d9",
	"6ee2a4ca67b054bbfd3315bf85230577",
}

func TestKeyHash(t *testing.T) {
	var key [16]byte
	var message []byte
	for i := range key {
		key[i] = byte(i)
	}
	for n, want := range sipVectors {
		hi, lo := newKeyHash(key).sum(message)
		var got [16]byte
		binary.LittleEndian.PutUint64(got[:8], hi)
		binary.LittleEndian.PutUint64(got[8:], lo)
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("message of %d bytes: got %x, want %s", n, got, want)
		}
		message = append(message, byte(n))
	}
}

// TestRowDigestGolden pins the parts of a row's digest: journals hold sums of them for ever.
func TestRowDigestGolden(t *testing.T) {
	number := func(s string) decimal.Decimal {
		d, err := decimal.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	path := PathSeed("data.output_tokens")
	golden := []struct {
		name string
		got  RowDigest
		want RowDigest
	}{
		{"type", DigestType("llm.request"), 0x5fe4768c3a5c8775},
		{"empty type", DigestType(""), 0x0570e1fa825fac2c},
		{"subject", DigestSubject("acme-prod"), 0xccf699c203a8efb7},
		{"time", DigestTime(1_788_602_400_000_000), 0x1410fd3e35ac2716},
		{"path", RowDigest(path), 0xb8a05ba06bc0fb35},
		{"text", DigestText(path, "large"), 0x1131df75d64a5759},
		{"empty text", DigestText(path, ""), 0x1ac313e684fc2f28},
		{"number", DigestNumber(path, number("500")), 0xf987d059ebfcafc6},
		{"same number", DigestNumber(path, number("5.00e2")), 0xf987d059ebfcafc6},
		{"negative", DigestNumber(path, number("-0.000000000000000001")), 0x4c086e48921442dc},
		{"wide", DigestWide(path, "1e30"), 0xef5756fd7ce12784},
		{"true", DigestBool(path, true), 0x72d962105a72ab30},
		{"false", DigestBool(path, false), 0x6beea9d467f4c45e},
		{"rest", DigestRest(path, `{"a":[1,2]}`), 0xfdcf2ff155716338},
	}
	for _, g := range golden {
		if g.got != g.want {
			t.Errorf("%s: got %#016x, want %#016x", g.name, g.got, g.want)
		}
	}
}

// TestRowDigestTellsApart shows that no two of the parts that must differ are equal.
func TestRowDigestTellsApart(t *testing.T) {
	a, b := PathSeed("data.a"), PathSeed("data.b")
	one, err := decimal.Parse("1")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[RowDigest]string{}
	for name, d := range map[string]RowDigest{
		"type a": DigestType("a"), "subject a": DigestSubject("a"), "time 1": DigestTime(1),
		"text 1": DigestText(a, "1"), "number 1": DigestNumber(a, one),
		"wide 1": DigestWide(a, "1"), "rest 1": DigestRest(a, "1"), "true": DigestBool(a, true),
		"false": DigestBool(a, false), "text of b": DigestText(b, "1"), "empty": DigestText(a, ""),
		"zero byte": DigestText(a, "\x00"), "8 zeros": DigestText(a, "\x00\x00\x00\x00\x00\x00\x00\x00"),
	} {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
}
