package live

import (
	"bytes"
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	tailSeed  = flag.Uint64("tail.seed", 0, "run the one tail sequence of this seed")
	tailFirst = flag.Uint64("tail.first", 1, "seed of the first tail sequence")
	tailRuns  = flag.Int("tail.runs", 250, "number of tail sequences")
)

// TestTailModel plays random writers, rotations and restarts against a Tail. Each line is unique.
// Whatever happens, no partition has a hole or an overlap, no line comes damaged, and a line comes
// once; unless the model knows that it was destroyed before it could be read, or that it stands in
// two files that cannot be told apart.
func TestTailModel(t *testing.T) {
	runs, first := *tailRuns, *tailFirst
	if *tailSeed != 0 {
		runs, first = 1, *tailSeed
	}
	kinds := map[NoticeKind]int{}
	lines := 0
	for seed := first; seed < first+uint64(runs); seed++ {
		w := &world{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 7))}
		w.play()
		w.clean()
		lines += len(w.lines)
		for _, n := range w.notices {
			kinds[n.Kind]++
		}
		if t.Failed() {
			t.Fatalf("seed %d: repeat with go test ./internal/live -run TestTailModel "+
				"-tail.seed=%d\n%s", seed, seed, strings.Join(w.log, "\n"))
		}
	}
	t.Logf("%d sequences, %d lines, notices %v", runs, lines, kinds)
}

// line is what the model knows of one line.
type line struct {
	must  bool // it has to come
	again bool // it may come more than once
	got   int
}

// writer appends to a log as a program does that keeps its file open.
type writer struct {
	path    string
	h       *os.File
	partial string // begun and not ended
	text    []string
	seen    bool // a look was made since the file was created
}

// handed is a chunk that was handed out, until the model calls it durable.
type handed struct {
	partition string
	end       int64
	lines     []string
}

type world struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	dir     string
	tail    *Tail
	now     time.Time
	looked  time.Time
	csv     bool   // files begin with the same line
	away    string // directory that rotated files go to; "" if the pattern matches them
	writers []*writer
	lines   map[string]*line
	durable map[string]int64 // positions
	fresh   []handed
	ends    map[string]int64 // of what was handed out, by partition
	rotated []string         // paths of rotated files that may be compressed
	copies  map[string][]string
	notices []Notice
	log     []string
	n       int
}

func (w *world) fatal(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("seed %d: "+format, append([]any{w.seed}, args...)...)
}

func (w *world) say(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) play() {
	dir, err := os.MkdirTemp("", "tail")
	w.check(err)
	w.dir, w.now = dir, time.Now()
	w.lines, w.durable = map[string]*line{}, map[string]int64{}
	w.ends, w.copies = map[string]int64{}, map[string][]string{}
	w.csv = w.r.IntN(4) == 0
	if w.r.IntN(3) == 0 {
		w.away = filepath.Join(dir, "old")
		w.check(os.Mkdir(w.away, 0o755))
	}
	for i := range 1 + w.r.IntN(2) {
		w.writers = append(w.writers, &writer{path: filepath.Join(dir, string(rune('a'+i))+".log")})
	}
	w.start(false)
	for range 5 + w.r.IntN(60) {
		w.act(w.writers[w.r.IntN(len(w.writers))])
		if w.t.Failed() {
			return
		}
	}
	w.finish()
}

func (w *world) act(p *writer) {
	w.now = w.now.Add(time.Millisecond)
	switch k := w.r.IntN(100); {
	case k < 30:
		w.write(p)
	case k < 40:
		w.begin(p)
	case k < 68:
		w.next()
	case k < 74:
		w.rotate(p)
	case k < 80:
		w.copyTruncate(p)
	case k < 84:
		w.remove(p)
	case k < 91:
		w.restart(false)
	case k < 95:
		w.compress()
	default:
		w.pause()
	}
}

// start opens a Tail at what is durable.
func (w *world) start(untilEOF bool) {
	size := 1 << (6 + w.r.IntN(9))
	tail, err := NewTail(TailOptions{
		Root: w.dir, Globs: []string{"*.log", "*.log.*"}, Positions: maps.Clone(w.durable),
		UntilEOF: untilEOF, ChunkSize: size, Poll: time.Second, Quiet: 30 * time.Second,
		Now: func() time.Time { return w.now },
	})
	w.check(err)
	tail.wait = func(context.Context, time.Duration) error {
		w.now = w.now.Add(time.Second)
		return nil
	}
	w.tail = tail
	w.ends = maps.Clone(w.durable)
	w.say("start until-eof=%v chunk=%d %v", untilEOF, size, w.durable)
}

// next takes one answer of the Tail.
func (w *world) next() Status {
	if w.r.IntN(2) == 0 {
		w.now = w.now.Add(time.Second)
	}
	c, s, err := w.tail.Next(context.Background())
	w.check(err)
	if !s.At.Equal(w.looked) {
		w.looked = s.At
		for _, p := range w.writers {
			p.seen = p.seen || p.h != nil
		}
	}
	w.notices = append(w.notices, s.Notices...)
	fresh := s.At.Equal(w.now)
	for _, n := range s.Notices {
		w.say("  notice %s", n.Text)
		if n.Kind == Doubt {
			for _, l := range w.lines {
				l.again = true
			}
		}
	}
	if len(c.Data) > 0 {
		w.say("  chunk %s %d %q last=%v", c.Partition, c.Offset, c.Data, c.Last)
		w.take(c.Partition, c.Offset, c.Data, c.Last)
		w.tail.Recycle(c)
	}
	if s.CaughtUp && fresh && w.r.IntN(4) == 0 {
		for text := range w.onDisk() {
			if l := w.lines[text]; l != nil && l.must && l.got == 0 {
				w.fatal("caught up without the line %q", text)
			}
		}
	}
	return s
}

func (w *world) take(partition string, offset int64, data []byte, last bool) {
	if end := w.ends[partition]; offset != end {
		w.fatal("partition %s goes on at %d after %d", partition, offset, end)
	}
	w.ends[partition] = offset + int64(len(data))
	if !last && data[len(data)-1] != '\n' {
		w.fatal("partition %s has a line without end", partition)
	}
	h := handed{partition: partition, end: w.ends[partition]}
	for _, s := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if s == header {
			continue
		}
		l := w.lines[s]
		if l == nil {
			w.fatal("partition %s has the line %q, which nobody wrote", partition, s)
			return
		}
		if l.got++; l.got > 1 && !l.again {
			w.fatal("line %q came again in %s", s, partition)
		}
		h.lines = append(h.lines, s)
	}
	w.fresh = append(w.fresh, h)
}

const header = "id,time,quantity"

func (w *world) text() string {
	w.n++
	pad := strings.Repeat("x", w.r.IntN(40))
	if w.r.IntN(30) == 0 {
		pad = strings.Repeat("y", w.r.IntN(9000))
	}
	if w.csv {
		return fmt.Sprintf("%d,%d,%s", w.n, w.n*7, pad)
	}
	return fmt.Sprintf(`{"id":%d,"pad":"%s"}`, w.n, pad)
}

// open makes sure that the writer has a file.
func (w *world) open(p *writer) {
	if p.h != nil {
		return
	}
	h, err := os.OpenFile(p.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	w.check(err)
	p.h, p.text, p.partial, p.seen = h, nil, "", false
	w.header(p)
}

func (w *world) header(p *writer) {
	if w.csv {
		_, err := p.h.WriteString(header + "\n")
		w.check(err)
	}
}

// write appends whole lines, after it ended one that was begun.
func (w *world) write(p *writer) {
	w.open(p)
	var b bytes.Buffer
	if p.partial != "" {
		full := w.text() // the rest of it
		b.WriteString(full[len(full)/2:] + "\n")
		old := w.lines[p.partial]
		delete(w.lines, p.partial)
		whole := p.partial + full[len(full)/2:]
		w.lines[whole] = &line{must: true, again: old.again}
		p.text = append(p.text, whole)
		p.partial = ""
	}
	for range w.r.IntN(4) {
		s := w.text()
		w.lines[s] = &line{must: true}
		p.text = append(p.text, s)
		b.WriteString(s + "\n")
	}
	_, err := p.h.Write(b.Bytes())
	w.check(err)
	w.say("write %s %q", filepath.Base(p.path), b.Bytes())
}

// begin appends the beginning of a line.
func (w *world) begin(p *writer) {
	w.open(p)
	if p.partial != "" {
		return
	}
	s := w.text()
	p.partial = s[:len(s)/2]
	if _, ok := w.lines[p.partial]; ok || p.partial == "" {
		p.partial = ""
		return
	}
	w.lines[p.partial] = &line{}
	_, err := p.h.WriteString(p.partial)
	w.check(err)
	w.say("begin %s %q", filepath.Base(p.path), p.partial)
}

// rotate renames the file and begins a new one; a line that was begun stays without its end.
func (w *world) rotate(p *writer) {
	if p.h == nil {
		return
	}
	w.n++
	to := fmt.Sprintf("%s.%d", p.path, w.n)
	if w.away != "" {
		to = filepath.Join(w.away, filepath.Base(to))
		if !p.seen {
			w.destroyed(p.text)
		}
	} else {
		w.rotated = append(w.rotated, to)
	}
	if p.partial != "" && p.text == nil { // nothing tells the file from its compressed form
		w.lines[p.partial].again = true
	}
	w.check(os.Rename(p.path, to))
	w.say("rotate %s to %s", filepath.Base(p.path), filepath.Base(to))
	w.check(p.h.Close())
	p.h = nil
	if w.r.IntN(2) == 0 {
		w.open(p)
	}
}

// copyTruncate copies the file and empties it, as logrotate's copytruncate does.
func (w *world) copyTruncate(p *writer) {
	if p.h == nil {
		return
	}
	b, err := os.ReadFile(p.path)
	w.check(err)
	w.n++
	to := fmt.Sprintf("%s.%d", p.path, w.n)
	if w.away != "" {
		to = filepath.Join(w.away, filepath.Base(to))
		w.destroyed(p.text)
	}
	w.check(os.WriteFile(to, b, 0o644))
	w.say("copy %s to %s", filepath.Base(p.path), filepath.Base(to))
	for range w.r.IntN(3) {
		w.next()
	}
	w.check(os.Truncate(p.path, 0))
	w.say("truncate %s", filepath.Base(p.path))
	p.text, p.partial = nil, ""
	w.header(p)
	if w.r.IntN(2) == 0 {
		w.write(p)
	}
}

// remove deletes the file.
func (w *world) remove(p *writer) {
	if p.h == nil {
		return
	}
	w.say("remove %s", filepath.Base(p.path))
	if !p.seen {
		w.destroyed(p.text)
	}
	w.check(os.Remove(p.path))
	w.check(p.h.Close())
	p.h = nil
}

// compress replaces a rotated file by its compressed form.
func (w *world) compress() {
	if len(w.rotated) == 0 {
		return
	}
	path := w.rotated[0]
	w.rotated = w.rotated[1:]
	b, err := os.ReadFile(path)
	w.check(err)
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	_, err = g.Write(b)
	w.check(err)
	w.check(g.Close())
	w.check(os.WriteFile(path+".gz", z.Bytes(), 0o644))
	w.check(os.Chtimes(path+".gz", w.now, w.now))
	w.check(os.Remove(path))
	w.say("compress %s", filepath.Base(path))
}

// destroyed says that what was not handed out of these lines may never be.
func (w *world) destroyed(text []string) {
	for _, s := range text {
		w.lines[s].must = false
	}
}

// restart stops the Tail and begins anew at a position that is at most what was handed out.
func (w *world) restart(untilEOF bool) {
	keep := w.r.IntN(len(w.fresh) + 1)
	if w.r.IntN(2) == 0 {
		keep = len(w.fresh)
	}
	for _, h := range w.fresh[:keep] {
		w.durable[h.partition] = h.end
	}
	there := w.onDisk()
	for _, h := range w.fresh[keep:] {
		for _, s := range h.lines {
			w.lines[s].got--
		}
	}
	for s, l := range w.lines {
		if l.got == 0 && !there[s] {
			l.must = false
		}
	}
	w.fresh = nil
	w.check(w.tail.Close())
	for _, p := range w.writers {
		p.seen = false
	}
	w.start(untilEOF)
}

// onDisk returns the lines that files hold which the patterns match.
func (w *world) onDisk() map[string]bool {
	there := map[string]bool{}
	for _, g := range []string{"*.log", "*.log.*"} {
		paths, err := filepath.Glob(filepath.Join(w.dir, g))
		w.check(err)
		for _, path := range paths {
			b, err := os.ReadFile(path)
			w.check(err)
			if strings.HasSuffix(path, ".gz") {
				z, err := gzip.NewReader(bytes.NewReader(b))
				w.check(err)
				var out bytes.Buffer
				_, err = out.ReadFrom(z)
				w.check(err)
				b = out.Bytes()
			}
			for _, s := range strings.Split(string(b), "\n") {
				there[s] = true
			}
		}
	}
	return there
}

// pause lets time pass in which nobody writes.
func (w *world) pause() {
	w.now = w.now.Add(time.Duration(w.r.IntN(50)) * time.Second)
	w.say("pause")
}

// finish reads everything and compares.
func (w *world) finish() {
	for _, p := range w.writers {
		if p.h != nil {
			w.write(p)
			w.check(p.h.Close())
			p.h = nil
		}
	}
	w.say("finish")
	w.now = w.now.Add(time.Millisecond)
	if w.r.IntN(3) == 0 {
		w.restart(true)
		for i := 0; ; i++ {
			if s := w.next(); s.EOF {
				break
			}
			if i > 10_000 || w.t.Failed() {
				w.fatal("no end of file")
				return
			}
		}
	} else {
		for i := 0; i < 150 && !w.t.Failed(); i++ {
			w.now = w.now.Add(time.Second)
			for !w.next().CaughtUp && !w.t.Failed() {
				w.now = w.now.Add(time.Second)
			}
		}
	}
	for s, l := range w.lines {
		if l.must && l.got == 0 {
			w.fatal("line %q never came", s)
		}
	}
}

func (w *world) check(err error) {
	if err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
}

func (w *world) clean() {
	w.check(w.tail.Close())
	w.check(os.RemoveAll(w.dir))
}
