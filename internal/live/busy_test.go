package live

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// TestViewWhileBusy asks for a picture while the loop does not answer: one that was taken less
// than a second ago is given at once, an older one never.
func TestViewWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := store.Create(fixtures.NewSimFS(), store.Genesis{Genesis: NewGenesis()},
			store.Options{Floor: -1})
		if err != nil {
			t.Fatal(err)
		}
		st, err := Restore(dir, 1, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := NewRun(Options{State: st, Clock: newBubbleClock(utc(2026, 1, 1))})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() (*engine.View, time.Duration, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			begin := time.Now()
			v, err := r.View(ctx)
			return v, time.Since(begin), err
		}
		r.show()
		if r.picture.Load() != nil {
			t.Error("a picture was taken though nobody asked")
		}
		if _, took, err := ask(); !errors.Is(err, context.DeadlineExceeded) || took != time.Minute {
			t.Errorf("without any picture: %v after %v", err, took)
		}
		r.show()
		if v, took, err := ask(); v != r.picture.Load().view || took != viewPatience || err != nil {
			t.Errorf("with a picture: %v after %v", err, took)
		}
		time.Sleep(viewAge)
		if _, _, err := ask(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a picture that is too old: %v", err)
		}
		go func() { (<-r.views) <- st.Shards.Pin() }()
		if v, took, err := ask(); v == nil || v == r.picture.Load().view || took != 0 || err != nil {
			t.Errorf("from the loop: %v after %v", err, took)
		}
		if err := errors.Join(st.Outbox.Close(), dir.Close()); err != nil {
			t.Error(err)
		}
	})
}

// TestDeliverySideBySide gives a sink of width 3 six documents of three accounts: three are under
// way together, of one account never more than one, and in order.
func TestDeliverySideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		together := make(chan string)
		var under atomic.Int32
		var took []string
		sink := sinkFunc(func(_ context.Context, d Delivery) error {
			under.Add(1)
			together <- d.Key
			under.Add(-1)
			return nil
		})
		p, err := plainRun(fixtures.NewSimFS(), plainControl("a", "b", "c"), func(o *Options) {
			o.Clock = newBubbleClock(utc(2026, 2, 1) + engine.Hour)
			o.UntilEOF, o.CloseAt = true, utc(2026, 2, 1)
			o.Sinks = []SinkOptions{{Name: "sink", Sink: sink, Width: 3}}
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []func(string) string{startKey, periodKey} {
			time.Sleep(time.Second)
			synctest.Wait() // all that can be under way is
			if n := under.Load(); n != 3 {
				t.Errorf("%d documents are under way together", n)
			}
			var round []string
			for range 3 {
				round = append(round, <-together)
			}
			slices.Sort(round)
			if want := []string{key("a"), key("b"), key("c")}; !slices.Equal(round, want) {
				t.Errorf("together were %v, want %v", round, want)
			}
			took = append(took, round...)
		}
		if err := <-p.ended; err != nil || p.Undelivered() != 0 || len(took) != 6 {
			t.Errorf("%d documents are left, the sink took %v: %v", p.Undelivered(), took, err)
		}
		p.cancel()
		if err := errors.Join(p.st.Outbox.Close(), p.dir.Close()); err != nil {
			t.Error(err)
		}
	})
}

type sinkFunc func(context.Context, Delivery) error

func (f sinkFunc) Deliver(ctx context.Context, d Delivery) error { return f(ctx, d) }
