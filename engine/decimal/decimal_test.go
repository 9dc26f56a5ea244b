package decimal

import (
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/apd/v3"
)

// newRand returns a generator with a fixed seed, so that a failure can be repeated.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0xb111)) }

// bigPow returns b^e.
func bigPow(b, e int64) *big.Int {
	return new(big.Int).Exp(big.NewInt(b), big.NewInt(e), nil)
}

// bigUnits returns the units of 10^-18 of d, by way of its words and not of its methods.
func bigUnits(d Decimal) *big.Int {
	hi, lo := d.Words()
	b := new(big.Int).Lsh(big.NewInt(hi), 64)
	return b.Add(b, new(big.Int).SetUint64(lo))
}

// bigRatOf returns the value of d.
func bigRatOf(d Decimal) *big.Rat { return new(big.Rat).SetFrac(bigUnits(d), bigPow(10, Scale)) }

// unitsOf returns the Decimal of so many units, which must be in range.
func unitsOf(t testing.TB, b *big.Int) Decimal {
	t.Helper()
	hi := new(big.Int).Rsh(b, 64)
	lo := new(big.Int).Sub(b, new(big.Int).Lsh(hi, 64))
	d, ok := FromWords(hi.Int64(), lo.Uint64())
	if !ok {
		t.Fatalf("FromWords refuses %v units", b)
	}
	return d
}

// randBits returns an integer of up to n bits whose bit length is uniform, and which is often next
// to a power of two, where the carries are.
func randBits(r *rand.Rand, n int) *big.Int {
	b := new(big.Int)
	size := r.IntN(n + 1)
	switch r.IntN(4) {
	case 0:
		b.Lsh(big.NewInt(1), uint(size))
		b.Add(b, big.NewInt(int64(r.IntN(5)-2)))
	case 1:
		b.Exp(big.NewInt(10), big.NewInt(int64(size*3/10)), nil)
		b.Mul(b, big.NewInt(int64(r.IntN(20))))
	default:
		for range (size + 63) / 64 {
			b.Lsh(b, 64)
			b.Add(b, new(big.Int).SetUint64(r.Uint64()))
		}
	}
	b.Abs(b)
	if b.BitLen() > n {
		b.Rsh(b, uint(b.BitLen()-n))
	}
	return b
}

// randDecimal returns a Decimal of any magnitude, and often the greatest one.
func randDecimal(t testing.TB, r *rand.Rand) Decimal {
	greatest := new(big.Int).Sub(bigPow(10, 38), big.NewInt(1))
	b := randBits(r, 127)
	if b.Cmp(greatest) > 0 || r.IntN(20) == 0 {
		b = greatest
	}
	if r.IntN(2) == 0 {
		b = new(big.Int).Neg(b)
	}
	return unitsOf(t, b)
}

// TestParse covers the accepted forms, their canonical text and the bounds of the range.
func TestParse(t *testing.T) {
	long := strings.Repeat("0", 100000)
	for _, c := range []struct{ in, want string }{
		{"0", "0"}, {"-0", "0"}, {"-0.0", "0"}, {"0.000000000000000000000000", "0"},
		{"0e99", "0"}, {"-0E-99", "0"}, {"0e99999999999999", "0"}, {"0e-99999999999999", "0"},
		{"0.0e+12", "0"},
		{"1", "1"}, {"-1", "-1"}, {"10", "10"}, {"512", "512"}, {"0.125", "0.125"},
		{"-0.125", "-0.125"}, {"1.50", "1.5"}, {"100.00", "100"}, {"1.0", "1"},
		{"12.34", "12.34"}, {"9.99", "9.99"},
		{"1e0", "1"}, {"1e1", "10"}, {"1E+2", "100"}, {"15e-1", "1.5"}, {"1.5e1", "15"},
		{"1.25e1", "12.5"}, {"100e-2", "1"}, {"120e-1", "12"}, {"0.001e3", "1"}, {"1e00005", "100000"},
		{"0.000123e2", "0.0123"}, {"1e-0", "1"},
		{"1e-18", "0.000000000000000001"}, {"10e-19", "0.000000000000000001"},
		{"0.000000000000000001", "0.000000000000000001"},
		{"0.1234567890123456780000", "0.123456789012345678"},
		{"0.12345678901234567", "0.12345678901234567"},
		{"1234567890123456789", "1234567890123456789"},
		{"9999999999999999999", "9999999999999999999"},
		{"18446744073709551616", "18446744073709551616"},
		{"1e19", "10000000000000000000"}, {"99999999999999999999", "99999999999999999999"},
		{"99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"},
		{"-99999999999999999999.9999999999999999990", "-99999999999999999999.999999999999999999"},
		{"9999999999999999999.9999999999999999999e0", ""},
		{"123456789.123456789012345678", "123456789.123456789012345678"},
		{"0." + long + "1e100001", "1"}, {"1" + long + "e-100000", "1"},
		{"1" + long + "e-100018", "0.000000000000000001"},
		{"1" + long + "e-100019", ""},
		{"100000000000000000000", ""}, {"-100000000000000000000", ""}, {"1e20", ""}, {"0.1e21", ""},
		{"99999999999999999999.9999999999999999999", ""},
		{"1e-19", ""}, {"0.0000000000000000001", ""}, {"1.0000000000000000001", ""},
		{"0.1234567890123456789", ""}, {"1e999999999999", ""}, {"1e-999999999999", ""},
		{"-1e99999999999999999999999999999999", ""}, {"1e-99999999999999999999999999999999", ""},
		{"1" + long, ""},
	} {
		name := c.in[:min(len(c.in), 60)]
		d, err := Parse(c.in)
		b, berr := ParseBytes([]byte(c.in))
		if d != b || err != berr {
			t.Errorf("%s: Parse gives %v, %v and ParseBytes gives %v, %v", name, d, err, b, berr)
		}
		if c.want == "" {
			if !errors.Is(err, ErrRange) || d != (Decimal{}) {
				t.Errorf("%s: got %v, %v, want ErrRange", name, d, err)
			}
			continue
		}
		if err != nil || d.String() != c.want {
			t.Errorf("%s: got %v, %v, want %s", name, d, err, c.want)
		}
	}
}

// TestParseSyntax covers every form that is not a JSON number.
func TestParseSyntax(t *testing.T) {
	for _, in := range []string{
		"", "-", "+", ".", "e", "-.", "+1", "--1", "-+1", "01", "-01", "00", "-00", "00.1", "0123456",
		"01e1", "1.", "-1.", ".5", "-.5", "1..2", "1.2.3", "1.e5", "1e", "1e+", "1e-", "1e++1", "1e1.5",
		"1e 5", "e5", "1e5e5", "1.5e", "1E", "0.", "0.e1",
		" 1", "1 ", "1\n", "\t1", "1 2", "1,5", "1_000",
		"0x10", "0b1", "0o7", "1f", "1L", "NaN", "nan", "Inf", "-Infinity", "null", "true", `"1"`, "１",
		"1\x00", "\x001", "1/2", "1:", "-a", "12345678901234567890x", "99999999999999999999999999999e",
		"1e99999999999999999999x", "0e99999999999999-", "1-", "1+1", "-1-", "−1", "1٫5",
	} {
		if d, err := Parse(in); !errors.Is(err, ErrSyntax) || d != (Decimal{}) {
			t.Errorf("Parse(%q) = %v, %v, want ErrSyntax", in, d, err)
		}
		if d, err := ParseBytes([]byte(in)); !errors.Is(err, ErrSyntax) || d != (Decimal{}) {
			t.Errorf("ParseBytes(%q) = %v, %v, want ErrSyntax", in, d, err)
		}
	}
}

// TestParseRandom compares the parser with apd and math/big on random spellings of random values.
func TestParseRandom(t *testing.T) {
	r := newRand(1)
	for range 30000 {
		in := randNumber(r)
		want, ok := new(big.Rat).SetString(in)
		if !ok {
			t.Fatalf("math/big does not read %q", in)
		}
		got, err := Parse(in)
		if fits := ratFits(want); fits != (err == nil) || err != nil && err != ErrRange {
			t.Fatalf("Parse(%q) = %v, %v, and fitting is %v", in, got, err, fits)
		}
		if err != nil {
			continue
		}
		if bigRatOf(got).Cmp(want) != 0 {
			t.Fatalf("Parse(%q) = %v, want %v", in, got, want)
		}
		peer, _, err := apd.NewFromString(in)
		if err != nil {
			t.Fatalf("apd does not read %q: %v", in, err)
		}
		if text := apdText(peer); got.String() != text {
			t.Fatalf("Parse(%q) = %v, and apd gives %s", in, got, text)
		}
	}
}

// randNumber returns a JSON number, at times out of range.
func randNumber(r *rand.Rand) string {
	var b strings.Builder
	run := func(n int) {
		for range n {
			if r.IntN(3) == 0 {
				b.WriteByte('0')
			} else {
				b.WriteByte(byte('0' + r.IntN(10)))
			}
		}
	}
	if r.IntN(2) == 0 {
		b.WriteByte('-')
	}
	if r.IntN(3) == 0 {
		b.WriteByte('0')
	} else {
		b.WriteByte(byte('1' + r.IntN(9)))
		run(r.IntN(20))
	}
	if r.IntN(3) != 0 {
		b.WriteByte('.')
		run(1 + r.IntN(22))
	}
	if r.IntN(3) == 0 {
		b.WriteByte("eE"[r.IntN(2)])
		b.WriteString([]string{"", "+", "-"}[r.IntN(3)])
		run(1)
		if r.IntN(4) == 0 {
			run(1)
		}
	}
	return b.String()
}

// ratFits reports whether a Decimal can hold x.
func ratFits(x *big.Rat) bool {
	units := new(big.Rat).Mul(x, new(big.Rat).SetInt(bigPow(10, Scale)))
	return units.IsInt() && units.Num().CmpAbs(bigPow(10, 38)) < 0
}

// apdText returns the canonical text of x by apd's means.
func apdText(x *apd.Decimal) string {
	var y apd.Decimal
	y.Reduce(x)
	if y.IsZero() {
		return "0"
	}
	return y.Text('f')
}

// TestDecimalOperations compares every method of Decimal with math/big.
func TestDecimalOperations(t *testing.T) {
	r := newRand(2)
	for range 20000 {
		x, y := randDecimal(t, r), randDecimal(t, r)
		if r.IntN(8) == 0 {
			y = x
		}
		bx, by := bigUnits(x), bigUnits(y)
		if got, want := x.Cmp(y), bx.Cmp(by); got != want {
			t.Fatalf("%v.Cmp(%v) = %d, want %d", x, y, got, want)
		}
		if (x == y) != (bx.Cmp(by) == 0) {
			t.Fatalf("%v == %v is wrong", x, y)
		}
		if x.Sign() != bx.Sign() || x.IsZero() != (bx.Sign() == 0) {
			t.Fatalf("the sign of %v is wrong", x)
		}
		if got := bigUnits(x.Neg()); got.Cmp(new(big.Int).Neg(bx)) != 0 {
			t.Fatalf("%v.Neg() = %v units", x, got)
		}
		back, err := Parse(x.String())
		if err != nil || back != x {
			t.Fatalf("%v is read back as %v, %v", x, back, err)
		}
		if want := plain(bigRatOf(x)); x.String() != want {
			t.Fatalf("text of %v units is %v, want %v", bx, x, want)
		}
		sameRat(t, "Decimal.Rat", x.Rat(), bigRatOf(x))
	}
	for _, n := range []int64{0, 1, -1, 18, 19, -19, 1<<63 - 1, -1 << 63} {
		if got := FromInt(n); got.String() != big.NewInt(n).String() {
			t.Errorf("FromInt(%d) = %v", n, got)
		}
	}
}

// plain returns the canonical text of a finite decimal, by math/big.
func plain(x *big.Rat) string {
	n, exact := x.FloatPrec()
	if !exact {
		return x.RatString()
	}
	return x.FloatString(n)
}

// TestFromWords checks the bounds of a Decimal's words.
func TestFromWords(t *testing.T) {
	for _, c := range []struct {
		hi int64
		lo uint64
		ok bool
	}{
		{0, 0, true}, {-1, 0, true}, {-1, 1<<64 - 1, true},
		{limitHi, limitLo - 1, true}, {limitHi, limitLo, false}, {limitHi + 1, 0, false},
		{^limitHi, 1<<64 - limitLo + 1, true}, {^limitHi, 1<<64 - limitLo, false},
		{1<<63 - 1, 1<<64 - 1, false}, {-1 << 63, 0, false}, {-1 << 63, 1, false},
	} {
		d, ok := FromWords(c.hi, c.lo)
		if ok != c.ok {
			t.Errorf("FromWords(%d, %d) is %v", c.hi, c.lo, ok)
		}
		if hi, lo := d.Words(); ok && (hi != c.hi || lo != c.lo) {
			t.Errorf("words (%d, %d) come back as (%d, %d)", c.hi, c.lo, hi, lo)
		}
	}
}

// TestAppendKeepsPrefix checks that the Append methods append.
func TestAppendKeepsPrefix(t *testing.T) {
	d, _ := Parse("-1.5")
	for _, got := range [][]byte{
		d.Append([]byte("x")), SumOf(d).Append([]byte("x")), d.Rat().Append([]byte("x")),
		AmountOf(-15).Append([]byte("x"), 1),
	} {
		if string(got) != "x-1.5" {
			t.Errorf("got %q, want x-1.5", got)
		}
	}
}

// isJSONNumber is an independent statement of the grammar: a JSON value that begins as only a
// number does, and that ends in a digit, so not in the white space that JSON allows.
func isJSONNumber(in []byte) bool {
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	return json.Valid(in) && (in[0] == '-' || digit(in[0])) && digit(in[len(in)-1])
}

// FuzzParse checks any text: it never panics, it is accepted exactly when it is a JSON number that
// fits, and what is accepted survives being written and read.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "-0", "512", "0.125", "1e3", "-1.5E-2", "01", "1e99", "", "1."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := ParseBytes(in)
		if s, serr := Parse(string(in)); s != d || serr != err {
			t.Fatalf("Parse(%q) differs from ParseBytes", in)
		}
		if isJSONNumber(in) != (err != ErrSyntax) {
			t.Fatalf("ParseBytes(%q) = %v, %v", in, d, err)
		}
		if err == ErrSyntax {
			return
		}
		if err == nil {
			if back, err := Parse(d.String()); err != nil || back != d {
				t.Fatalf("%q is read as %v, and that as %v, %v", in, d, back, err)
			}
		}
		// math/big takes an exponent literally, so a huge one is not for it.
		if at := strings.IndexAny(string(in), "eE"); at >= 0 && len(in)-at > 6 {
			return
		}
		want, ok := new(big.Rat).SetString(string(in))
		if !ok {
			t.Fatalf("math/big does not read %q", in)
		}
		if ratFits(want) != (err == nil) {
			t.Fatalf("ParseBytes(%q) = %v, %v", in, d, err)
		}
		if err == nil && bigRatOf(d).Cmp(want) != 0 {
			t.Fatalf("ParseBytes(%q) = %v, want %v", in, d, want)
		}
	})
}
