package live

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
)

// callLine returns the line of one call of a subject at an instant.
func callLine(subject string, id int, at engine.Micros) string {
	return fmt.Sprintf(`{"specversion":"1.0","type":"llm","source":"app","subject":%q,"id":"%d",`+
		`"time":%q,"data":{}}`+"\n", subject, id, at)
}

// rowsIn returns how many rows a journal has.
func rowsIn(entries []*engine.Entry) (n int) {
	for _, e := range entries {
		if b, ok := e.Body.(*engine.Batch); ok {
			n += b.Len
		}
	}
	return n
}

// handSource hands out a line of account a every so often, and counts them.
type handSource struct {
	clock  Clock
	every  time.Duration
	handed atomic.Int64
	offset int64
}

func (s *handSource) Next(ctx context.Context) (c formats.Chunk, st Status, err error) {
	select {
	case <-ctx.Done():
		return c, st, ctx.Err()
	case <-time.After(s.every):
	}
	at, _ := s.clock.Now()
	line := callLine("a", int(s.handed.Add(1)), engine.Micros(at.UnixMicro()))
	c = formats.Chunk{Partition: "p", Offset: s.offset, Data: []byte(line)}
	s.offset += int64(len(line))
	return c, st, nil
}

func (s *handSource) Recycle(formats.Chunk) {}

// handOptions are the options of a source that only this process can read.
func handOptions(src Source, stream bool) []SourceOptions {
	return []SourceOptions{{
		Entry:  engine.Source{Name: "s", Disorder: engine.Second, Dedupe: true},
		Format: formats.NDJSON, Stream: stream,
		Open: func(map[string]int64) (Source, error) { return src, nil },
	}}
}

// TestDrain stops a process while its source goes on: every row that was handed out is journaled,
// and of a stream, which nobody reads again, it is said that it was not read to its end.
func TestDrain(t *testing.T) {
	for _, stream := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			src := &handSource{clock: newBubbleClock(utc(2026, 1, 10)), every: time.Millisecond}
			var said []string
			p, err := plainRun(fixtures.NewSimFS(), plainControl("a"), func(o *Options) {
				o.Clock, o.Sources = src.clock, handOptions(src, stream)
				o.Say = func(s string) { said = append(said, s) }
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second + 5*time.Millisecond/2)
			entries, err := p.stop()
			handed := int(src.handed.Load())
			if n := rowsIn(entries); err != nil || n != handed || n < 1000 {
				t.Errorf("of %d rows that were handed out %d are journaled: %v", handed, n, err)
			}
			if told := strings.Contains(strings.Join(said, "\n"), "not read to its end"); told != stream {
				t.Errorf("a stream: %v, but it says %q", stream, said)
			}
		})
	}
}

// TestStreamEnds follows a stream: with its end the process has nothing left to do, and ends.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := utc(2026, 1, 10)
		text := callLine("a", 1, now) + callLine("a", 2, now) + callLine("a", 3, now)
		p, err := plainRun(fixtures.NewSimFS(), plainControl("a"), func(o *Options) {
			o.Clock = newBubbleClock(now)
			o.Sources = handOptions(NewStdin(strings.NewReader(text)), true)
			o.Say = func(s string) {
				if strings.Contains(s, "not read to its end") {
					t.Errorf("it says %q", s)
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		select {
		case err = <-p.ended:
			p.ended <- err
		default:
			t.Error("it goes on after the end of its stream")
		}
		entries, err := p.stop()
		if n := rowsIn(entries); err != nil || n != 3 {
			t.Errorf("%d rows are journaled: %v", n, err)
		}
	})
}

// twoParts is a source of two files that reads the newer one first, and the older one after a
// while in which it lags.
type twoParts struct {
	clock Clock
	step  int
	parts []string
}

func (s *twoParts) Next(ctx context.Context) (c formats.Chunk, st Status, err error) {
	select {
	case <-ctx.Done():
		return c, st, ctx.Err()
	case <-time.After(3 * time.Second):
	}
	at, _ := s.clock.Now()
	st.At, st.CaughtUp = at, s.step >= len(s.parts)
	if !st.CaughtUp {
		c = formats.Chunk{Partition: fmt.Sprint("p", s.step), Data: []byte(s.parts[s.step])}
		st.CaughtUp = s.step == len(s.parts)-1
		s.step++
	}
	return c, st, nil
}

func (s *twoParts) Recycle(formats.Chunk) {}

// TestNewestFirst reads the newer of two files first: the watermark does not pass the rows of the
// older one, so the month that they belong to closes with them.
func TestNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := utc(2026, 2, 1) + engine.Hour
		src := &twoParts{clock: newBubbleClock(begin), parts: []string{
			callLine("a", 1, begin-engine.Minute), callLine("a", 2, utc(2026, 1, 15)),
		}}
		fs := fixtures.NewSimFS()
		p, err := plainRun(fs, plainControl("a"), func(o *Options) {
			o.Clock, o.Sources = src.clock, handOptions(src, false)
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		entries, err := p.stop()
		if err != nil {
			t.Fatal(err)
		}
		batches, w := 0, engine.Past
		for _, e := range entries {
			switch b := e.Body.(type) {
			case *engine.Batch:
				batches++
			case *engine.Watermark:
				if w = b.W; batches < 2 {
					t.Errorf("entry %d: the watermark is %v after %d of 2 files", e.Seq, w, batches)
				}
			}
		}
		issued, err := documentsIn(fs)
		if err != nil || issued != 2 || w < begin {
			t.Errorf("in the end %d documents, watermark %v: %v", issued, w, err)
		}
	})
}
