package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"billctl/formats"
)

// bench is a directory and a Tail of it whose clock stands still until it waits.
type bench struct {
	t    *testing.T
	dir  string
	opts TailOptions
	now  time.Time
	tail *Tail
	ends map[string]int64
}

func newBench(t *testing.T, opts TailOptions) *bench {
	b := &bench{t: t, dir: t.TempDir(), opts: opts, now: time.Now(), ends: map[string]int64{}}
	b.opts.Root = b.dir
	if b.opts.Globs == nil {
		b.opts.Globs = []string{"*.log*"}
	}
	b.opts.Poll, b.opts.Quiet = time.Second, 30*time.Second
	b.opts.Now = func() time.Time { return b.now }
	t.Cleanup(func() {
		if b.tail != nil {
			b.check(b.tail.Close())
		}
	})
	return b
}

func (b *bench) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) start() *bench {
	b.t.Helper()
	if b.tail != nil {
		b.check(b.tail.Close())
	}
	b.opts.Positions = b.ends
	tail, err := NewTail(b.opts)
	b.check(err)
	tail.wait = func(context.Context, time.Duration) error {
		b.now = b.now.Add(time.Second)
		return nil
	}
	b.tail = tail
	return b
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) append(name, text string) {
	b.t.Helper()
	h, err := os.OpenFile(b.path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	b.check(err)
	_, err = h.WriteString(text)
	b.check(errors.Join(err, h.Close()))
}

// read returns what comes until the Tail is caught up, a chunk a string, and the notices' kinds.
func (b *bench) read() (got []string, kinds []string) {
	b.t.Helper()
	b.now = b.now.Add(time.Second)
	for range 200 {
		c, s, err := b.tail.Next(context.Background())
		b.check(err)
		for _, n := range s.Notices {
			if n.Kind != NoFile {
				kinds = append(kinds, n.Kind.String())
			}
		}
		if len(c.Data) > 0 {
			if c.Offset != b.ends[c.Partition] && !slices.Contains(kinds, "gap") {
				b.t.Errorf("%s goes on at %d after %d", c.Partition, c.Offset, b.ends[c.Partition])
			}
			b.ends[c.Partition] = c.Offset + int64(len(c.Data))
			got = append(got, string(c.Data))
			b.tail.Recycle(c)
		}
		if s.EOF || s.CaughtUp && len(c.Data) == 0 {
			return got, kinds
		}
	}
	b.t.Fatal("never caught up")
	return nil, nil
}

func (b *bench) want(data []string, kinds ...string) {
	b.t.Helper()
	got, said := b.read()
	slices.Sort(got)
	slices.Sort(data)
	if !slices.Equal(got, data) || !slices.Equal(said, kinds) {
		b.t.Errorf("got %.300q %q\nwant %.300q %q", got, said, data, kinds)
	}
}

func row(n int) string { return fmt.Sprintf("{\"id\":%d}\n", n) }

func TestTailFollows(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.start()
	b.want(nil)
	b.append("a.log", row(1)+`{"id"`)
	b.want([]string{row(1)})
	b.want(nil)
	b.append("a.log", ":2}\n")
	b.append("b.log", "")
	b.want([]string{row(2)})
	b.append("b.log", row(3))
	b.want([]string{row(3)})
	b.start()
	b.want(nil)
	b.append("a.log", row(4))
	b.start()
	b.want([]string{row(4)})
}

func TestTailRotation(t *testing.T) {
	b := newBench(t, TailOptions{Globs: []string{"*.log"}})
	b.append("a.log", row(1))
	b.start()
	b.want([]string{row(1)})
	h, err := os.OpenFile(b.path("a.log"), os.O_APPEND|os.O_WRONLY, 0)
	b.check(err)
	b.check(os.Rename(b.path("a.log"), b.path("old"))) // where no pattern sees it
	b.append("a.log", row(3))
	_, err = h.WriteString(row(2) + "{")
	b.check(err)
	b.want([]string{row(2), row(3)})
	_, err = h.WriteString("}\n" + `{"half"`)
	b.check(errors.Join(err, h.Close()))
	b.want([]string{"{}\n"})
	b.now = b.now.Add(29 * time.Second)
	b.want([]string{`{"half"`})
	b.now = b.now.Add(30 * time.Second)
	b.want(nil)
	if len(b.tail.files) != 1 {
		t.Errorf("the old file is not forgotten: %d files", len(b.tail.files))
	}
}

// TestTailSealed ends a rotated file's last line after Quiet; what is written of it later is no
// line of its own.
func TestTailSealed(t *testing.T) {
	for _, restart := range []bool{false, true} {
		b := newBench(t, TailOptions{})
		b.append("a.log", row(1)+`{"half"`)
		b.start()
		b.want([]string{row(1)})
		b.check(os.Rename(b.path("a.log"), b.path("a.log.1")))
		b.want(nil)
		b.now = b.now.Add(30 * time.Second)
		b.want([]string{`{"half"`})
		if restart {
			b.start()
			b.want(nil)
		}
		b.append("a.log.1", ":1}\n"+row(2))
		b.want([]string{row(2)}, "gap")
	}
}

// TestTailPartRewritten cuts a line that was begun and not read, and writes another.
func TestTailPartRewritten(t *testing.T) {
	for _, before := range []string{"", row(1)} {
		b := newBench(t, TailOptions{})
		b.append("a.log", before+`{"a long line that is never ended":`)
		b.start()
		if before != "" {
			b.want([]string{before})
		}
		b.want(nil)
		b.check(os.WriteFile(b.path("a.log"), []byte(before+row(2)), 0o644))
		b.want([]string{row(2)})
	}
}

func TestTailMovedWhileDown(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.append("a.log", row(1)+row(2))
	b.start()
	b.want([]string{row(1) + row(2)})
	b.append("a.log", row(3))
	b.check(os.Rename(b.path("a.log"), b.path("a.log.1")))
	b.append("a.log", row(4)+row(5)+row(6)+row(7))
	b.start()
	b.want([]string{row(4) + row(5) + row(6) + row(7), row(3)})

	moved := t.TempDir()
	b.check(os.Rename(b.dir, filepath.Join(moved, "x")))
	b.check(os.Mkdir(b.dir, 0o755))
	b.opts.Root = filepath.Join(moved, "x")
	b.start()
	b.want(nil)
}

func TestTailTruncation(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		copied     bool
		want       []string
	}{
		{"shorter", row(7), false, []string{row(7)}},
		{"same length", row(7) + row(8), false, []string{row(7) + row(8)}},
		{"longer", row(7) + row(8) + row(9), false, []string{row(7) + row(8) + row(9)}},
		{"unread bytes are in the copy", row(7), true, []string{row(3), row(7)}},
		{"empty", "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t, TailOptions{})
			b.append("b.log", row(1)+row(2))
			b.start()
			b.want([]string{row(1) + row(2)})
			if tt.copied {
				b.append("b.log", row(3))
				b.append("a.log.1", row(1)+row(2)+row(3))
			}
			b.check(os.WriteFile(b.path("b.log"), []byte(tt.text), 0o644))
			b.want(tt.want, "truncated")
			b.append("b.log", row(10))
			b.want([]string{row(10)})
		})
	}
}

func TestTailSameBeginning(t *testing.T) {
	b := newBench(t, TailOptions{Globs: []string{"*.log"}})
	head := "id,quantity\n1,1\n"
	b.append("a.log", head)
	b.start()
	b.want([]string{head})
	b.append("a.log", "2,2\n")
	b.want([]string{"2,2\n"})
	b.check(os.WriteFile(b.path("a.log"), []byte(head+"3,3"), 0o644))
	b.want([]string{head}, "truncated")
	b.append("a.log", "3\n")
	b.want([]string{"3,33\n"})
	again := fmt.Sprintf("a.log#16:%x.2", digestOf([]byte(head)))
	if len(b.ends) != 2 || b.ends[again] != 21 {
		t.Errorf("partitions %v", b.ends)
	}
}

func TestTailHeaderAlone(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.append("a.log", "id,quantity\n")
	b.append("b.log", "id,quantity\n")
	b.start()
	b.want(nil)
	b.append("b.log", "1,1\n")
	b.want([]string{"id,quantity\n1,1\n"})
	b.start()
	b.append("b.log", "2,1\n")
	b.append("a.log", "3,1\n")
	b.want([]string{"id,quantity\n3,1\n", "2,1\n"})
}

func TestTailUntilEOF(t *testing.T) {
	b := newBench(t, TailOptions{UntilEOF: true, ChunkSize: 16})
	b.append("b.log", row(3))
	b.append("a.log", row(1)+`{"id":2}`)
	b.append("empty.log", "")
	b.check(os.Link(b.path("a.log"), b.path("z.log")))
	b.opts.Globs = []string{"b.log", "*.log"}
	b.start()
	var got []formats.Chunk
	for {
		c, s, err := b.tail.Next(context.Background())
		b.check(err)
		if s.EOF {
			break
		}
		if len(c.Data) > 0 {
			got = append(got, c)
		}
	}
	ident := func(s string) string { return fmt.Sprintf("%d:%x", len(s), digestOf([]byte(s))) }
	a, bb := ident(row(1)+`{"id":2}`), ident(row(3))
	want := []formats.Chunk{
		{Partition: "a.log#" + a, Ident: a, Head: []byte(`{"id":1}`), Data: []byte(row(1))},
		{Partition: "a.log#" + a, Ident: a, Head: []byte(`{"id":1}`), Offset: 9,
			Data: []byte(`{"id":2}`), Last: true},
		{Partition: "b.log#" + bb, Ident: bb, Head: []byte(`{"id":3}`), Data: []byte(row(3)),
			Last: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if _, s, err := b.tail.Next(context.Background()); err != nil || !s.EOF {
		t.Errorf("after the end: %+v, %v", s, err)
	}
}

func TestTailLongLines(t *testing.T) {
	for _, untilEOF := range []bool{false, true} {
		whole := strings.Repeat("x", 3<<20) + "\n"
		over := strings.Repeat("y", maxLine+(2<<20)) + "\n"
		b := newBench(t, TailOptions{UntilEOF: untilEOF, ChunkSize: 1024})
		b.append("a.log", row(1)+whole+over+row(2))
		b.start()
		want := []string{row(1), whole, over[:cutLine] + "\n", row(2)}
		if got, kinds := b.read(); !slices.Equal(got, want) ||
			!slices.Equal(kinds, []string{"gap", "gap"}) {
			t.Errorf("got %d chunks, notices %q", len(got), kinds)
		}
		for p := range b.ends { // as if the journal held the cut line and nothing after it
			b.ends[p] = int64(len(row(1)+whole)) + cutLine + 1
		}
		b.start()
		b.want([]string{row(2)}, "gap")
	}
}

func TestTailLost(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.append("a.log", row(1))
	b.start()
	b.want([]string{row(1)})
	b.check(os.Remove(b.path("a.log")))
	b.start()
	b.want(nil, "lost")
	b.want(nil)
	b.append("a.log", row(1)) // it came back
	b.want(nil)
}

func TestTailDoubt(t *testing.T) {
	b := newBench(t, TailOptions{})
	same := row(1) + strings.Repeat("x", prefixSize) + "\n"
	b.append("a.log", same+row(2))
	b.start()
	b.want([]string{same + row(2)})
	b.append("b.log", same+row(3)+row(4))
	b.start()
	b.want([]string{same + row(2), same + row(3) + row(4)}, "doubt")
}

func TestTailUnreadable(t *testing.T) {
	for _, untilEOF := range []bool{false, true} {
		b := newBench(t, TailOptions{UntilEOF: untilEOF})
		b.append("a.log", row(1))
		b.append("b.log", row(2))
		b.start()
		deny := true
		b.tail.open = func(path string) (*os.File, error) {
			if deny && filepath.Base(path) == "a.log" {
				return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
			}
			return openFile(path)
		}
		c, s, err := b.tail.Next(context.Background())
		if untilEOF {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("got %v, want an error", err)
			}
			continue
		}
		b.check(err)
		if string(c.Data) != row(2) || len(s.Notices) != 1 || s.Notices[0].Kind != Unreadable ||
			s.CaughtUp {
			t.Errorf("got %q, %+v", c.Data, s)
		}
		_, s, err = b.tail.Next(context.Background())
		b.check(err)
		if s.CaughtUp || len(s.Notices) > 0 {
			t.Errorf("got %+v", s)
		}
		deny = false
		b.want([]string{row(1)})
	}
}

func TestTailRefuses(t *testing.T) {
	b := newBench(t, TailOptions{})
	b.check(syscall.Mkfifo(b.path("p.log"), 0o600))
	b.check(os.Mkdir(b.path("d.log"), 0o700))
	for _, tt := range []struct {
		glob     string
		untilEOF bool
		want     string
	}{
		{"*.log", false, "named pipe"},
		{"d.log", false, "directory"},
		{"[", false, "syntax error"},
		{"none.log", true, "not exist"},
		{"none.log", false, ""},
		{"d*.log", true, ""},
	} {
		_, err := NewTail(TailOptions{Root: b.dir, Globs: []string{tt.glob}, UntilEOF: tt.untilEOF})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.glob, err, tt.want)
		}
	}
	b.opts.Globs = []string{"*.fifo"}
	b.start()
	b.want(nil)
	b.check(syscall.Mkfifo(b.path("p.fifo"), 0o600))
	b.want(nil, "refused")
	b.want(nil)
}

func TestTailStatus(t *testing.T) {
	b := newBench(t, TailOptions{ChunkSize: 9})
	b.append("a.log", row(1)+row(2)+"{")
	b.start()
	at := b.now
	for i, want := range []Status{
		{At: at, Lag: 10},
		{At: at, Lag: 1}, // what follows the line is not known to be a part of one
		{At: at, Lag: 1, CaughtUp: true},
		{At: at.Add(time.Second), Lag: 1, CaughtUp: true},
		{At: at.Add(2 * time.Second), Lag: 1, CaughtUp: true},
	} {
		c, got, err := b.tail.Next(context.Background())
		b.check(err)
		b.ends[c.Partition] += int64(len(c.Data))
		if got.Notices = nil; !reflect.DeepEqual(got, want) {
			t.Errorf("answer %d: got %+v, want %+v", i, got, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := b.tail.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	b.append("a.log", "}\n")
	b.want([]string{"{}\n"})
}

// TestTailTurns checks that one file with much to read does not keep the others waiting.
func TestTailTurns(t *testing.T) {
	b := newBench(t, TailOptions{ChunkSize: 9})
	b.append("a.log", row(1)+row(2)+row(3))
	b.append("b.log", row(4)+row(5))
	b.start()
	want := []string{row(1), row(4), row(2), row(5), row(3)}
	if got, _ := b.read(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestTailManyFiles checks that files beyond the bound are read though they are not kept open.
func TestTailManyFiles(t *testing.T) {
	for _, untilEOF := range []bool{false, true} {
		b := newBench(t, TailOptions{UntilEOF: untilEOF, ChunkSize: 64})
		var want []string
		for i := range maxOpen + 40 {
			b.append(fmt.Sprintf("%04d.log", i), row(10_000+i))
			want = append(want, row(10_000+i))
		}
		b.start()
		got := 0
		for range 3 * len(want) {
			c, s, err := b.tail.Next(context.Background())
			b.check(err)
			if len(c.Data) > 0 {
				b.ends[c.Partition] += int64(len(c.Data))
				if string(c.Data) != want[got] {
					t.Fatalf("got %q, want %q", c.Data, want[got])
				}
				got++
			} else if s.EOF || s.CaughtUp {
				break
			}
		}
		if got != len(want) {
			t.Errorf("got %d of %d lines", got, len(want))
		}
		if untilEOF {
			continue
		}
		b.now = b.now.Add(time.Minute)
		b.want(nil)
		if b.tail.opened > maxOpen {
			t.Errorf("%d files are open", b.tail.opened)
		}
		b.append("0003.log", row(1))
		b.want([]string{row(1)})
	}
}

// TestTailWakes reads from a real directory with real waiting: word of a change comes before the
// poll does.
func TestTailWakes(t *testing.T) {
	dir := t.TempDir()
	tail, err := NewTail(TailOptions{Root: dir, Globs: []string{"*.log"}, Poll: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	path := filepath.Join(dir, "a.log")
	go func() {
		for i := range 3 {
			time.Sleep(50 * time.Millisecond)
			h, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err == nil {
				_, err = h.WriteString(row(i))
			}
			if err = errors.Join(err, h.Close()); err != nil {
				t.Error(err)
			}
		}
	}()
	var got []byte
	for string(got) != row(0)+row(1)+row(2) {
		c, _, err := tail.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) && tail.deaf {
			t.Skip("the system tells of no changes")
		}
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, c.Data...)
	}
	if err := tail.Close(); err != nil {
		t.Error(err)
	}
}

func TestPartitionNames(t *testing.T) {
	sum := strings.Repeat("0a", 16)
	for _, name := range []string{"a.log#1:" + sum, "x/y#z.log#4096:" + sum + ".12"} {
		p, ok := parsePartition(name)
		if !ok || p.name != name || p.path+"#"+p.ident() != strings.TrimSuffix(name, ".12") {
			t.Errorf("%s: got %+v", name, p)
		}
	}
	for _, name := range []string{
		"", "stdin", "a#0:" + sum, "a#4097:" + sum, "a#5:00", "a#5:" + sum + ".1", "a#5:" + sum + "!",
	} {
		if _, ok := parsePartition(name); ok {
			t.Errorf("%q is taken for a partition", name)
		}
	}
}
