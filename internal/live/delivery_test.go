package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/internal/store"
)

// attempt is one call of a sink.
type attempt struct {
	key  string
	body string
	at   time.Duration
}

// scriptSink answers as its function says.
type scriptSink struct {
	start  time.Time
	answer func(d Delivery, nth int) error // nth: of the document, from 1

	mu       sync.Mutex
	attempts []attempt
	took     []string // keys, in the order of the answer nil
}

func newScriptSink(answer func(Delivery, int) error) *scriptSink {
	return &scriptSink{start: time.Now(), answer: answer}
}

func (s *scriptSink) Deliver(_ context.Context, d Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts = append(s.attempts, attempt{d.Key, string(d.Body), time.Since(s.start)})
	err := s.answer(d, len(s.of(d.Key)))
	if err == nil {
		s.took = append(s.took, d.Key)
	}
	return err
}

// of returns the attempts of a document.
func (s *scriptSink) of(key string) (list []attempt) {
	for _, a := range s.attempts {
		if a.key == key {
			list = append(list, a)
		}
	}
	return list
}

// deliverAll reads nothing, closes January for some accounts, and runs to the end: a start invoice
// and January's for each.
func deliverAll(
	fs store.FS, sink Sink, accounts ...string,
) (left int, took time.Duration, err error) {
	begin := time.Now()
	p, err := plainRun(fs, plainControl(accounts...), func(o *Options) {
		o.Clock = newBubbleClock(utc(2026, 2, 1) + engine.Hour)
		o.UntilEOF, o.CloseAt = true, utc(2026, 2, 1)
		o.Sinks = []SinkOptions{{Name: "sink", Sink: sink}}
	})
	if err != nil {
		return 0, 0, err
	}
	err = <-p.ended
	p.cancel()
	return p.Undelivered(), time.Since(begin), errors.Join(err, p.st.Outbox.Close(), p.dir.Close())
}

func startKey(account string) string { return account + "/main/2026-01-01/start" }

func periodKey(account string) string { return account + "/main/2026-01-01/period" }

// TestDeliveryOrder shows that an account whose document is stuck holds up no other, that order
// holds within each, that pauses double up to their greatest, and that nothing is dropped.
func TestDeliveryOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := errors.New("down")
		sink := newScriptSink(func(d Delivery, _ int) error {
			if d.Account == "b" {
				return down
			}
			return nil
		})
		fs := fixtures.NewSimFS()
		p, err := plainRun(fs, plainControl("a", "b", "c"), func(o *Options) {
			o.Clock = newBubbleClock(utc(2026, 1, 31) + engine.OneDay - engine.Minute)
			o.Sinks = []SinkOptions{{Name: "sink", Sink: sink}}
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour / 2)
		synctest.Wait()
		status := p.Sinks()[0]
		want := []string{startKey("a"), startKey("c"), periodKey("a"), periodKey("c")}
		if !slices.Equal(sink.took, want) {
			t.Errorf("the sink took %v, want %v", sink.took, want)
		}
		if n := len(sink.of(periodKey("b"))); n > 0 {
			t.Errorf("the second document of b was tried %d times before the first got through", n)
		}
		tries, least := sink.of(startKey("b")), leastPause
		for i := 1; i < len(tries); i++ {
			pause := tries[i].at - tries[i-1].at
			if pause < least || pause > least+2*time.Second || tries[i].body != tries[0].body {
				t.Errorf("attempt %d came after %v, want %v", i+1, pause, least)
			}
			least = min(2*least, mostPause)
		}
		if len(tries) < 11 || status.Waiting != 2 || status.Parked != 0 || status.LastError == "" ||
			status.Delivered != 4 {
			t.Errorf("%d attempts, status %+v", len(tries), status)
		}
		sink.mu.Lock()
		sink.answer = func(Delivery, int) error { return nil }
		sink.mu.Unlock()
		time.Sleep(mostPause)
		synctest.Wait()
		want = append(want, startKey("b"), periodKey("b"))
		if !slices.Equal(sink.took, want) || p.Undelivered() != 0 {
			t.Errorf("in the end the sink took %v, %d are left", sink.took, p.Undelivered())
		}
		if _, err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestDeliveryParked shows that a parked document is not sent again, not by a restart either, that
// it holds up only its account, and that it goes out when a person says so.
func TestDeliveryParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := fixtures.NewSimFS()
		sink := newScriptSink(func(d Delivery, _ int) error {
			if d.Key == startKey("a") {
				return fmt.Errorf("not this one: %w", ErrPermanent)
			}
			return nil
		})
		left, _, err := deliverAll(fs, sink, "a", "b")
		if err != nil || left != 2 || len(sink.of(startKey("a"))) != 1 {
			t.Fatalf("%d left, %d attempts, %v", left, len(sink.of(startKey("a"))), err)
		}
		sink.answer = func(Delivery, int) error { return nil }
		if left, _, err = deliverAll(fs, sink, "a", "b"); err != nil || left != 2 {
			t.Fatalf("after a restart %d left, %v", left, err)
		}
		if want := []string{startKey("b"), periodKey("b")}; !slices.Equal(sink.took, want) {
			t.Errorf("the sink took %v, want %v", sink.took, want)
		}
		m := &machine{
			fs: fs, options: store.Options{Floor: -1}, clock: &simClock{},
			sinks: []*simSink{newSimSink(1, true)},
		}
		dir, err := store.Open(fs, m.options)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(m.unparkSink(dir, "sink", m.sinks[0]), dir.Close()); err != nil {
			t.Fatal(err)
		}
		if left, _, err = deliverAll(fs, sink, "a", "b"); err != nil || left != 0 {
			t.Fatalf("after it was let go %d left, %v", left, err)
		}
		if got := sink.took[2:]; !slices.Equal(got, []string{startKey("a"), periodKey("a")}) {
			t.Errorf("then the sink took %v", got)
		}
	})
}

// TestDeliveryLostAck shows that a sink whose answers get lost is given equal bytes under the same
// key until one comes through, and then no more.
func TestDeliveryLostAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := fixtures.NewSimFS()
		sink := newScriptSink(func(_ Delivery, nth int) error {
			if nth < 3 {
				return errors.New("the answer is lost")
			}
			return nil
		})
		for range 2 {
			if left, _, err := deliverAll(fs, sink, "a", "b"); err != nil || left != 0 {
				t.Fatalf("%d left, %v", left, err)
			}
		}
		for _, key := range []string{startKey("a"), periodKey("a"), startKey("b"), periodKey("b")} {
			tries := sink.of(key)
			if len(tries) != 3 {
				t.Errorf("%s came %d times, want 3", key, len(tries))
			}
			for _, a := range tries {
				if a.body != tries[0].body {
					t.Errorf("%s came with other bytes", key)
				}
			}
		}
	})
}

// TestDeliveryAtEnd shows that a run that ends by itself waits for sinks that fail, but not for
// ever, and drops nothing then.
func TestDeliveryAtEnd(t *testing.T) {
	for _, tt := range []struct {
		name        string
		down        time.Duration
		left        int
		least, most time.Duration
	}{
		{"at once", 0, 0, 0, time.Second},
		{"down for 4 s", 4 * time.Second, 0, 4 * time.Second, 9 * time.Second},
		{"down for an hour", time.Hour, 2, patience, patience + time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fs := fixtures.NewSimFS()
				begin := time.Now()
				sink := newScriptSink(func(Delivery, int) error {
					if time.Since(begin) < tt.down {
						return errors.New("down")
					}
					return nil
				})
				left, took, err := deliverAll(fs, sink, "a")
				if err != nil || left != tt.left || took < tt.least || took > tt.most {
					t.Errorf("%d left after %v, %v", left, took, err)
				}
				begin = begin.Add(-time.Hour)
				if left, _, err = deliverAll(fs, sink, "a"); err != nil || left != 0 {
					t.Errorf("then %d left, %v", left, err)
				}
				if !slices.Equal(sink.took, []string{startKey("a"), periodKey("a")}) {
					t.Errorf("the sink took %v", sink.took)
				}
			})
		})
	}
}
