package live

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestDeliverySlow shows that a run that ends by itself waits for a slow sink as long as it gets
// on, however long that is.
func TestDeliverySlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := 0
		sink := sinkFunc(func(context.Context, Delivery) error {
			time.Sleep(patience / 2)
			took++
			return nil
		})
		left, after, err := deliverAll(fixtures.NewSimFS(), sink, "a", "b", "c", "d")
		if err != nil || left != 0 || took != 8 || after < 8*patience/2 {
			t.Errorf("the sink took %d, %d are left after %v: %v", took, left, after, err)
		}
	})
}

// badFS fails to read, or to write, the files of a directory once it is broken.
type badFS struct {
	store.FS
	dir    string
	writes bool // they fail, not reads
	broken atomic.Bool
}

func (f *badFS) Open(name string) (store.File, error) { return f.wrap(name, f.FS.Open) }

func (f *badFS) OpenFile(name string) (store.File, error) { return f.wrap(name, f.FS.OpenFile) }

func (f *badFS) Create(name string) (store.File, error) { return f.wrap(name, f.FS.Create) }

func (f *badFS) wrap(name string, open func(string) (store.File, error)) (store.File, error) {
	file, err := open(name)
	if err == nil && strings.HasPrefix(name, f.dir) {
		file = badFile{file, f}
	}
	return file, err
}

type badFile struct {
	store.File
	fs *badFS
}

func (f badFile) ReadAt(b []byte, off int64) (int, error) {
	if !f.fs.writes && f.fs.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(b, off)
}

func (f badFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fs.writes && f.fs.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.WriteAt(b, off)
}

// TestDeliveryStopped breaks the disk under a sink: what it does not have counts as undelivered,
// whether it came to these documents or not, and nobody waits for it.
func TestDeliveryStopped(t *testing.T) {
	for _, tt := range []struct {
		dir    string
		writes bool
		left   int // at least
	}{{"cursor", true, 2}, {"outbox", false, 1}} {
		t.Run(tt.dir, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := &badFS{FS: fixtures.NewSimFS(), dir: tt.dir, writes: tt.writes}
				took := 0
				sink := sinkFunc(func(context.Context, Delivery) error { took++; return nil })
				begin := time.Now()
				p, err := plainRun(fs, plainControl("a"), func(o *Options) {
					o.Clock = newBubbleClock(utc(2026, 2, 1) + engine.Hour)
					o.UntilEOF, o.CloseAt = true, utc(2026, 2, 1)
					o.Sinks = []SinkOptions{{Name: "sink", Sink: sink}}
				})
				if err != nil {
					t.Fatal(err)
				}
				fs.broken.Store(true)
				err = <-p.ended
				after := time.Since(begin)
				left, status := p.Undelivered(), p.Sinks()[0]
				if left < tt.left || took > 0 || after > time.Second {
					t.Errorf("%d left, the sink took %d after %v: %v", left, took, after, err)
				}
				if !strings.Contains(status.LastError, syscall.EIO.Error()) {
					t.Errorf("status %+v, run %v", status, err)
				}
				p.cancel()
				fs.broken.Store(false)
				if err := errors.Join(p.st.Outbox.Close(), p.dir.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
