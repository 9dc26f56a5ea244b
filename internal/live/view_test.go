package live

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"billctl/fixtures"
	"billctl/internal/store"
)

// slowFS takes its time to make files durable, so the loop is nearly always in a commit.
type slowFS struct {
	store.FS
	sync time.Duration
}

func (f slowFS) Create(name string) (store.File, error) {
	file, err := f.FS.Create(name)
	return slowFile{file, f.sync}, err
}

func (f slowFS) OpenFile(name string) (store.File, error) {
	file, err := f.FS.OpenFile(name)
	return slowFile{file, f.sync}, err
}

type slowFile struct {
	store.File
	sync time.Duration
}

func (f slowFile) Sync() error {
	time.Sleep(f.sync)
	return f.File.Sync()
}

// TestViewForward asks for pictures from many sides while the loop is busy: none is older than one
// that anybody was given before the question. With nobody left who asks, the last one is let go.
func TestViewForward(t *testing.T) {
	const seed = 1
	synctest.Test(t, func(t *testing.T) {
		src := &handSource{clock: newBubbleClock(utc(2026, 1, 10)), every: 3 * time.Millisecond}
		fs := slowFS{fixtures.NewSimFS(), 5 * time.Millisecond}
		p, err := plainRun(fs, plainControl("a"), func(o *Options) {
			o.Clock, o.Sources = src.clock, handOptions(src, false)
		})
		if err != nil {
			t.Fatal(err)
		}
		var newest atomic.Uint64
		var answers, steps atomic.Int64
		var wg sync.WaitGroup
		for i := range uint64(24) {
			r := rand.New(rand.NewPCG(seed, i))
			wg.Go(func() {
				for range 40 {
					time.Sleep(time.Duration(r.IntN(1_000_000)) * time.Microsecond)
					before := newest.Load()
					v, err := p.View(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					answers.Add(1)
					seq := uint64(v.Standing().Seq)
					if seq < before {
						t.Errorf("an answer at %d after one at %d", seq, before)
					}
					for old := newest.Load(); old < seq; old = newest.Load() {
						if newest.CompareAndSwap(old, seq) {
							steps.Add(1)
						}
					}
				}
			})
		}
		wg.Wait()
		if answers.Load() != 24*40 || steps.Load() < 100 {
			t.Errorf("%d answers, %d newer than all before", answers.Load(), steps.Load())
		}
		if p.picture.Load() == nil {
			t.Error("there is no picture though somebody has just asked")
		}
		time.Sleep(viewAge + time.Second)
		if p.picture.Load() != nil {
			t.Error("a picture is held though nobody asks")
		}
		entries, err := p.stop()
		if n := rowsIn(entries); err != nil || n != int(src.handed.Load()) {
			t.Errorf("%d rows of %d: %v", n, src.handed.Load(), err)
		}
	})
}

// TestViewStopped asks a process that has ended.
func TestViewStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := plainRun(fixtures.NewSimFS(), plainControl("a"), func(o *Options) {
			o.Clock, o.UntilEOF = newBubbleClock(utc(2026, 1, 10)), true
		})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if v, err := p.View(t.Context()); v != nil || err != ErrStopped {
			t.Errorf("%v, %v", v, err)
		}
		if _, err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}
