package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// bytesFile is a File that can only be read.
type bytesFile struct{ *bytes.Reader }

func (f bytesFile) Size() (int64, error)             { return f.Reader.Size(), nil }
func (bytesFile) WriteAt([]byte, int64) (int, error) { return 0, io.ErrShortWrite }
func (bytesFile) Truncate(int64) error               { return io.ErrShortWrite }
func (bytesFile) Sync() error                        { return nil }
func (bytesFile) Close() error                       { return nil }

func newBytesFile(b []byte) bytesFile { return bytesFile{bytes.NewReader(b)} }

func testHeader() *logHeader { return &logHeader{Magic: [8]byte{'t'}, First: 7} }

func ignoreFrame(int64, frameHeader, []byte) error { return nil }

func scanBytes(b []byte, visit frameVisit) (logScan, error) { return scanBytesFrom(b, 0, visit) }

func scanBytesFrom(b []byte, high int64, v frameVisit) (logScan, error) {
	r, err := openFrames(newBytesFile(b), "log", testHeader())
	if err != nil {
		return logScan{}, err
	}
	return scanFrames(r, "log", high, v)
}

// testLog returns a log of n frames, each promising the one before it, and the offsets of the
// frames and of the end.
func testLog(rng *rand.Rand, n, maxLen int) (log []byte, at []int64) {
	h := testHeader()
	log = h.encode()
	promised := int64(logHeaderSize)
	for i := range n {
		at = append(at, int64(len(log)))
		payload := make([]byte, rng.IntN(maxLen+1))
		for j := range payload {
			payload[j] = byte(rng.Uint32())
		}
		f := frameHeader{Kind: entriesFrame, Count: 1, First: uint64(7 + i), Promised: promised}
		promised = int64(len(log))
		log = appendFrame(log, h.seed(), int64(len(log)), f, payload)
	}
	return log, append(at, int64(len(log)))
}

// TestGolden holds the formats to the letter: they are in state directories for ever.
func TestGolden(t *testing.T) {
	g := Genesis{CreatedBy: "billctl 0.1.0"}
	for i := range 16 {
		g.Journal[i], g.HashKey[i] = byte(i), byte(i+16)
	}
	g.Partition, g.Format = 0, 1
	page, err := os.ReadFile("../../docs/formats/state.md")
	if err != nil || !bytes.Contains(page, append([]byte("```\n"), g.encode()...)) {
		t.Errorf("docs/formats/state.md does not show this genesis file: %v\n%s", err, g.encode())
	}
	h := segmentHeader(&g, 42)
	f := frameHeader{Kind: entriesFrame, Count: 3, First: 42, Promised: 64}
	for what, c := range map[string]struct {
		got  []byte
		want string
	}{
		"header": {h.encode(), goldenHeader},
		"frame":  {appendFrame(nil, h.seed(), 64, f, []byte("payload")), goldenFrame},
		"promise": {appendFrame(nil, h.seed(), 111, frameHeader{Kind: promiseFrame, First: 45,
			Promised: 111}, nil), goldenPromise},
		"high": {highMark{7, 42, 111}.encode(g.Journal), goldenHigh},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s is %s, want %s", what, got, c.want)
		}
	}
}

const (
	goldenHeader = "62696c6c6a6e6c0a0100000000000000000102030405060708090a0b0c0d0e0f" +
		"2a000000000000000000000000000000000000000000000000000000ed253f8c"
	goldenFrame = "b146721e2c5c5337070000007069e3f401000000030000002a00000000000000" +
		"40000000000000007061796c6f6164"
	goldenPromise = "b146721eaec559b2000000000000000002000000000000002d00000000000000" +
		"6f00000000000000"
	goldenHigh = "62696c6c6867680a07000000000000002a000000000000006f00000000000000" +
		"000102030405060708090a0b0c0d0e0f00000000000000000000000041dac398"
)

func TestFrameRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	log, at := testLog(rng, 40, 2*readPiece/10)
	var seen int
	s, err := scanBytes(log, func(off int64, h frameHeader, payload []byte) error {
		again := appendFrame(nil, testHeader().seed(), off, h, payload)
		if off != at[seen] || !bytes.Equal(again, log[off:at[seen+1]]) || h.First != uint64(7+seen) {
			t.Errorf("frame %d at %d differs", seen, off)
		}
		seen++
		return nil
	})
	if err != nil || seen != 40 || s.end != int64(len(log)) || s.promised != at[38] {
		t.Fatalf("saw %d frames, scan %+v, error %v", seen, s, err)
	}
}

// TestTornTail cuts a log at every length and spoils every byte: before the last promise that is
// corruption with the right place, after it a tail that ends at a whole frame.
func TestTornTail(t *testing.T) {
	log, at := testLog(rand.New(rand.NewPCG(3, 4)), 12, 60)
	promised := at[len(at)-3] // what the last frame promises
	frameOf := func(pos int64) (i int) {
		for at[i+1] <= pos {
			i++
		}
		return i
	}
	check := func(what string, b []byte, pos int64, covered bool) {
		s, err := scanBytes(b, ignoreFrame)
		want := at[frameOf(pos)]
		var corrupt *CorruptError
		switch {
		case covered:
			if !errors.As(err, &corrupt) || corrupt.Offset != want {
				t.Errorf("%s at %d: got %v, want corrupt at byte %d", what, pos, err, want)
			}
		case err != nil || s.end != want:
			t.Errorf("%s at %d: got end %d, %v, want end %d", what, pos, s.end, err, want)
		}
	}
	tried := 0
	for pos := int64(logHeaderSize); pos < int64(len(log)); pos++ {
		for bit := range 8 {
			b := bytes.Clone(log)
			b[pos] ^= 1 << bit
			// A flip inside the last frame's header also destroys its promise.
			last := pos >= at[len(at)-2]
			check("flip", b, pos, !last && pos < promised)
			tried++
		}
		// A cut loses the promises behind it; those left cover only what is before them.
		check("cut", log[:pos], pos, false)
		s, err := scanBytesFrom(log[:pos], promised, ignoreFrame)
		if cut := at[frameOf(pos)] < promised; cut != errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d with %d known durable: got end %d, %v", pos, promised, s.end, err)
		}
		tried += 2
	}
	t.Logf("%d damages tried", tried)
}

// brokenFile loses its first sync, as Linux does: the next one would succeed.
type brokenFile struct {
	bytesFile
	calls int
}

func (f *brokenFile) WriteAt(b []byte, _ int64) (int, error) {
	f.calls++
	return len(b), nil
}

func (f *brokenFile) Sync() error {
	f.calls++
	if f.calls == 2 {
		return syscall.EIO
	}
	return nil
}

// TestLogSticky: a log that failed once touches its file no more.
func TestLogSticky(t *testing.T) {
	f := &brokenFile{bytesFile: newBytesFile(nil)}
	l := &logFile{f: f, path: "log", written: logHeaderSize, entries: logHeaderSize,
		synced: logHeaderSize}
	if _, err := l.append(1, 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	first := l.sync()
	_, again := l.append(2, 1, nil)
	for what, err := range map[string]error{"sync": first, "append": again,
		"second sync": l.sync(), "promise": l.promise(2), "close": l.close(2)} {
		if err == nil || err != first || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if f.calls != 2 {
		t.Errorf("%d calls, want a write and a sync", f.calls)
	}
}

func TestForeignFrames(t *testing.T) {
	h, other := testHeader(), testHeader()
	other.Journal[0] = 1
	f := frameHeader{Kind: entriesFrame, Count: 1, First: 7, Promised: logHeaderSize}
	for name, frame := range map[string][]byte{
		"of another journal": appendFrame(nil, other.seed(), logHeaderSize, f, []byte("x")),
		"of another place":   appendFrame(nil, h.seed(), logHeaderSize+8, f, []byte("x")),
	} {
		s, err := scanBytes(append(h.encode(), frame...), ignoreFrame)
		if err != nil || s.end != logHeaderSize {
			t.Errorf("frame %s: got end %d, error %v, want it ignored", name, s.end, err)
		}
	}
	if _, err := openFrames(newBytesFile(other.encode()), "log", h); !errors.Is(err, ErrCorrupt) {
		t.Errorf("header of another journal: got %v", err)
	}
}

// TestHugeLength shows that a length is checked before memory is taken for it.
func TestHugeLength(t *testing.T) {
	h := testHeader()
	frame := appendFrame(nil, h.seed(), logHeaderSize,
		frameHeader{Kind: entriesFrame, First: 7, Promised: logHeaderSize}, nil)
	for _, length := range []uint32{1, MaxFrame, MaxFrame + 1, 1<<32 - 1} {
		b := bytes.Clone(frame)
		b[8], b[9], b[10], b[11] = byte(length), byte(length>>8), byte(length>>16), byte(length>>24)
		sum := headerSum(b, h.seed(), logHeaderSize)
		b[4], b[5], b[6], b[7] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		log := append(h.encode(), b...)
		n := testing.AllocsPerRun(1, func() {
			if s, err := scanBytes(log, ignoreFrame); err != nil || s.end != logHeaderSize {
				t.Errorf("length %d: got end %d, error %v", length, s.end, err)
			}
		})
		if n > 20 {
			t.Errorf("length %d: %v allocations", length, n)
		}
	}
}

// FuzzFrame: whatever the bytes, what a scan returns is whole frames that encode to these bytes.
func FuzzFrame(f *testing.F) {
	log, at := testLog(rand.New(rand.NewPCG(5, 6)), 5, 40)
	f.Add(log[logHeaderSize:], int64(0))
	f.Add(log[logHeaderSize:at[3]+11], at[2])
	f.Add(append(bytes.Clone(log[logHeaderSize:at[2]]), make([]byte, 100)...), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, high int64) {
		b := append(testHeader().encode(), body...)
		end := int64(logHeaderSize)
		s, err := scanBytesFrom(b, high, func(off int64, h frameHeader, payload []byte) error {
			again := appendFrame(nil, testHeader().seed(), off, h, payload)
			if off != end || !bytes.Equal(again, b[off:off+h.size()]) {
				t.Fatalf("frame at %d is not what was read", off)
			}
			end += h.size()
			return nil
		})
		var corrupt *CorruptError
		switch {
		case errors.As(err, &corrupt):
			if corrupt.Offset != end {
				t.Fatalf("corrupt at %d, frames end at %d", corrupt.Offset, end)
			}
		case err != nil:
			t.Fatal(err)
		case s.end != end || s.promised > end || high > end:
			t.Fatalf("scan %+v, frames end at %d, %d known durable", s, end, high)
		}
	})
}
