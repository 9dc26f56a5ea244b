package store_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

func newDir(tb testing.TB, fs store.FS, o store.Options) *store.Dir {
	tb.Helper()
	d, err := store.Create(fs, testGenesis(1), o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func newOS(tb testing.TB) store.FS {
	tb.Helper()
	fs, err := store.OS(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return fs
}

// TestReadFrom starts at every Seq of a journal of several segments.
func TestReadFrom(t *testing.T) {
	d, h := newDir(t, newOS(t), small), &history{}
	if err := h.append(d.Journal(), rand.New(rand.NewPCG(1, 1)), 30); err != nil {
		t.Fatal(err)
	}
	if err := h.sync(d.Journal()); err != nil {
		t.Fatal(err)
	}
	segments, err := d.Segments()
	if err != nil || len(segments) < 4 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	for from := engine.Seq(1); from <= h.next(); from++ {
		frames, err := readAll(d, from)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, f := range h.appended {
			if f.First+f.Count > from {
				want++
			}
		}
		if len(frames) != want || want > 0 && frames[0].First > from {
			t.Fatalf("from %d: %d frames, want %d", from, len(frames), want)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(1).Next(); err != nil {
		t.Errorf("read after close: %v", err)
	}
	if err := d.Journal().Append(h.next(), 1, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

// TestUnpromised: a reader beside a writer returns nothing that a crash could take back.
func TestUnpromised(t *testing.T) {
	fs := fixtures.NewSimFS()
	d := newDir(t, fs, small)
	ro, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	r := ro.Read(1)
	j := d.Journal()
	expect := func(when string, want error) {
		t.Helper()
		if _, err := r.Next(); err != want {
			t.Errorf("%s: got %v, want %v", when, err, want)
		}
	}
	expect("empty", io.EOF)
	steps := []struct {
		when string
		do   func() error
		want error
	}{
		{"appended", func() error { return j.Append(1, 1, []byte("a")) }, io.EOF},
		{"synced", j.Sync, io.EOF},
		{"promised", j.Promise, nil},
		{"read", func() error { return nil }, io.EOF},
		{"appended again", func() error { return j.Append(2, 1, []byte("b")) }, io.EOF},
		{"synced again", j.Sync, io.EOF},
		{"high water", j.HighWater, nil},
		{"read again", func() error { return nil }, io.EOF},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatal(err)
		}
		expect(s.when, s.want)
	}
	// Idle: nothing is written again and again.
	for range 3 {
		if err := errors.Join(j.Sync(), j.Promise(), j.HighWater()); err != nil {
			t.Fatal(err)
		}
	}
	before := fs.Ops()
	if err := errors.Join(j.Sync(), j.Promise(), j.HighWater()); err != nil || fs.Ops() != before {
		t.Errorf("idle: %v, %v", fs.Trace()[before:], err)
	}
}

// TestBeside reads in one goroutine, without the lock, what another one writes and rolls.
func TestBeside(t *testing.T) {
	fs := newOS(t)
	d := newDir(t, fs, store.Options{Segment: 20_000, Floor: -1})
	const frames = 3000
	written := make(chan error, 1)
	go func() {
		rng := rand.New(rand.NewPCG(8, 8))
		payload := make([]byte, 900)
		var err error
		for i := range engine.Seq(frames) {
			n := rng.IntN(len(payload))
			for k := range payload[:n] {
				payload[k] = byte(i)
			}
			err = errors.Join(err, d.Journal().Append(i+1, 1, payload[:n]))
			if i%40 == 0 || i == frames-1 {
				err = errors.Join(err, d.Journal().Sync(), d.Journal().Promise())
			}
			if i%200 == 0 {
				err = errors.Join(err, d.Journal().HighWater())
			}
		}
		written <- errors.Join(err, d.Close())
	}()
	ro, err := store.OpenReadOnly(fs)
	if err != nil {
		t.Fatal(err)
	}
	r := ro.Read(1)
	polls := 0
	for next := engine.Seq(1); next <= frames; {
		f, err := r.Next()
		if err == io.EOF {
			polls++
			time.Sleep(100 * time.Microsecond)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.First != next || strings.Trim(string(f.Payload), string([]byte{byte(next - 1)})) != "" {
			t.Fatalf("seq %d: frame of seq %d differs", next, f.First)
		}
		next++
	}
	if err := errors.Join(<-written, r.Close()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d frames, %d times ahead of the writer", frames, polls)
}

func TestTrim(t *testing.T) {
	fs, h := fixtures.NewSimFS(), &history{}
	d := newDir(t, fs, small)
	if err := h.append(d.Journal(), rand.New(rand.NewPCG(2, 1)), 30); err != nil {
		t.Fatal(err)
	}
	segments, err := d.Segments()
	if err != nil || len(segments) < 4 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	keep := segments[2].First
	slow := d.Read(1)
	if _, err := slow.Next(); err != nil {
		t.Fatal(err)
	}
	if err := d.Trim(keep + 1); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = slow.Next()
	}
	if !errors.Is(err, store.ErrTrimmed) { // the open segment is read to its end first
		t.Errorf("reader overtaken by a trim: %v", err)
	}
	if _, err := d.Read(keep - 1).Next(); !errors.Is(err, store.ErrTrimmed) {
		t.Errorf("read before the first segment: %v", err)
	}
	if f, err := d.Read(keep).Next(); err != nil || f.First != keep {
		t.Errorf("read the first segment: %v, %v", f.First, err)
	}
	if err := d.Trim(engine.Seq(1 << 60)); err != nil {
		t.Fatal(err)
	}
	if segments, err = d.Segments(); err != nil || len(segments) != 1 {
		t.Errorf("%d segments are left, %v", len(segments), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d, err = store.Open(fs, small); err != nil || d.Journal().Durable() != h.next() {
		t.Errorf("open after trim: %v", err)
	}
}

// TestFloor: below the floor nothing opens and nothing is appended, and nothing is lost either.
func TestFloor(t *testing.T) {
	fs := fixtures.NewSimFS()
	fs.Limit(100_000)
	o := store.Options{Floor: 50_000}
	d := newDir(t, fs, o)
	var full *store.FullError
	var err error
	n := engine.Seq(0)
	for ; err == nil && n < 1000; n++ {
		err = errors.Join(d.Journal().Append(n+1, 1, make([]byte, 1000)), d.Journal().Sync())
	}
	if !errors.As(err, &full) || !store.DiskFull(err) || full.Free >= full.Floor {
		t.Fatalf("append: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := store.Open(fs, o); !errors.As(err, &full) {
		t.Errorf("open: %v", err)
	}
	if _, err := store.Create(fixtures.NewSimFS(), testGenesis(1), o); err != nil {
		t.Errorf("create: %v", err)
	}
	fs.Limit(200_000)
	if d, err = store.Open(fs, o); err != nil || d.Journal().Durable() != n {
		t.Errorf("open with space: %v", err)
	}
}

func TestBigFrames(t *testing.T) {
	d := newDir(t, newOS(t), store.Options{Floor: -1})
	j := d.Journal()
	big := make([]byte, store.MaxFrame)
	big[len(big)-1] = 1
	if err := j.Append(1, 1, make([]byte, store.MaxFrame+1)); err == nil {
		t.Error("a frame beyond the cap was taken")
	}
	if err := errors.Join(j.Append(1, 1, []byte("a")), j.Append(2, 1, big), j.Sync()); err != nil {
		t.Fatal(err)
	}
	frames, err := readAll(d, 1)
	if err != nil || len(frames) != 2 || len(frames[1].Payload) != len(big) ||
		frames[1].Payload[len(big)-1] != 1 {
		t.Errorf("%d frames, %v", len(frames), err)
	}
	if j.Bytes() != 2*40+1+store.MaxFrame {
		t.Errorf("%d bytes appended", j.Bytes())
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkAppendSync(b *testing.B) {
	d := newDir(b, newOS(b), store.Options{Floor: 1})
	payload := make([]byte, 256<<10)
	b.SetBytes(int64(len(payload)))
	next := engine.Seq(1)
	for b.Loop() {
		if err := errors.Join(d.Journal().Append(next, 1, payload), d.Journal().Sync()); err != nil {
			b.Fatal(err)
		}
		next++
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{300, 64 << 10} {
		b.Run(map[int]string{300: "300B", 64 << 10: "64KiB"}[size], func(b *testing.B) {
			d := newDir(b, newOS(b), store.Options{Floor: 1})
			payload := make([]byte, size)
			b.SetBytes(int64(size))
			next := engine.Seq(1)
			for b.Loop() {
				if err := d.Journal().Append(next, 1, payload); err != nil {
					b.Fatal(err)
				}
				next++
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	d := newDir(b, newOS(b), store.Options{Floor: -1})
	const frames, size = 512, 256 << 10
	for i := range engine.Seq(frames) {
		if err := d.Journal().Append(i+1, 1, make([]byte, size)); err != nil {
			b.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(frames * size)
	for b.Loop() {
		r, n := d.Read(1), 0
		for {
			if _, err := r.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != frames {
			b.Fatal(n)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
