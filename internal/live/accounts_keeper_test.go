package live

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"billctl/engine"
	"billctl/fixtures"
	"billctl/formats"
)

// crowdSource gives an event of any of some accounts now and then.
type crowdSource struct {
	handSource
	ids []string
	r   *rand.Rand
}

func (s *crowdSource) Next(ctx context.Context) (c formats.Chunk, st Status, err error) {
	select {
	case <-ctx.Done():
		return c, st, ctx.Err()
	case <-time.After(s.every):
	}
	at, _ := s.clock.Now()
	line := callLine(s.ids[s.r.IntN(len(s.ids))], int(s.handed.Add(1)), engine.Micros(at.UnixMicro()))
	c = formats.Chunk{Partition: "p", Offset: s.offset, Data: []byte(line)}
	s.offset += int64(len(line))
	return c, st, nil
}

// crowd starts a process with some accounts, of which one is used now and then.
func crowd(t *testing.T, seed uint64, every time.Duration) *plain {
	t.Helper()
	src := &crowdSource{r: rand.New(rand.NewPCG(seed, 0))}
	src.clock, src.every = newBubbleClock(utc(2026, 1, 10)), every
	for i := range 40 {
		src.ids = append(src.ids, fmt.Sprintf("acc-%02d", i))
	}
	p, err := plainRun(fixtures.NewSimFS(), plainControl(src.ids...), func(o *Options) {
		o.Clock, o.Sources = src.clock, handOptions(src, false)
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestAccountsWhileRunning asks for orders from many sides while rows are counted: no answer is
// older than one before the question, and what is ordered at the view of its answer is in order.
func TestAccountsWhileRunning(t *testing.T) {
	seed := rand.Uint64()
	synctest.Test(t, func(t *testing.T) {
		p := crowd(t, seed, time.Millisecond)
		desk := p.Desk()
		var newest, exact atomic.Uint64
		var wg sync.WaitGroup
		for i := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, i+1))
			wg.Go(func() {
				for range 30 {
					time.Sleep(time.Duration(r.IntN(200_000)) * time.Microsecond)
					q := AccountQuery{
						Sort: AccountSort(r.IntN(int(numAccountSorts))), Descending: r.IntN(2) == 0,
						Limit: 100, Wait: r.IntN(2) == 0,
					}
					before := newest.Load()
					page, err := askAccounts(t.Context(), desk, q)
					if err != nil {
						t.Error(err)
						return
					}
					seq := uint64(page.View.Standing().Seq)
					for old := newest.Load(); old < seq; old = newest.Load() {
						newest.CompareAndSwap(old, seq)
					}
					if seq < before || page.OrderedAt > engine.Seq(seq) || page.Rating {
						t.Errorf("seed %d: an answer at %d after %d, ordered at %d, rating %v", seed,
							seq, before, page.OrderedAt, page.Rating)
					}
					if q.rates() && page.OrderedAt != engine.Seq(seq) {
						continue
					}
					exact.Add(1)
					want := naiveOrder(naiveList(page.View), q.Sort, q.Descending)
					if !slices.Equal(page.IDs, want) {
						t.Errorf("seed %d: at %d: %v, want %v", seed, seq, page.IDs, want)
					}
				}
			})
		}
		wg.Wait()
		if exact.Load() < 30 {
			t.Errorf("seed %d: %d answers are ordered at their view", seed, exact.Load())
		}
		if _, err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func askAccounts(ctx context.Context, d *Desk, q AccountQuery) (*AccountPage, error) {
	v, err := d.View(ctx)
	if err != nil {
		return nil, err
	}
	return d.Accounts(ctx, v, q)
}

// TestKeeperEnds lets the goroutine end some seconds after the last question, frees what it knew
// minutes later, and ends it with the process. A bubble does not end with a goroutine left.
func TestKeeperEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := crowd(t, 1, time.Second)
		desk := p.Desk()
		x := &desk.accounts
		runs := func() bool { x.mu.Lock(); defer x.mu.Unlock(); return x.keeper != nil }
		ask := func(q AccountQuery) *AccountPage {
			q.Limit = 10
			page, err := askAccounts(t.Context(), desk, q)
			if err != nil {
				t.Fatal(err)
			}
			return page
		}
		ask(AccountQuery{Prefix: "acc"})
		if runs() || x.entries != nil {
			t.Error("a page by id starts the goroutine")
		}
		for range 20 { // as a screen asks
			ask(AccountQuery{Sort: BySoFar})
			time.Sleep(time.Second)
		}
		if !runs() {
			t.Error("it ends while somebody asks")
		}
		time.Sleep(keeperIdle + time.Second)
		if runs() || x.entries == nil {
			t.Error("it goes on with nobody who asks")
		}
		was := x.ordered
		time.Sleep(2 * time.Second) // something is counted
		if page := ask(AccountQuery{Sort: ByRows}); page.Rating || page.OrderedAt <= was {
			t.Errorf("ordered at %d, rating %v: it begins anew", page.OrderedAt, page.Rating)
		}
		time.Sleep(keeperIdle + indexKept + time.Second)
		x.mu.Lock()
		if x.entries != nil || x.orders[ByRows][0].list != nil {
			t.Error("what it knew is kept for ever")
		}
		x.mu.Unlock()
		ask(AccountQuery{Sort: BySoFar})
		last, err := desk.View(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.stop(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if runs() {
			t.Error("it outlives the process")
		}
		// A question that had its view before the end is answered, and starts nothing.
		page, err := desk.Accounts(t.Context(), last, AccountQuery{Sort: BySoFar, Limit: 1, Wait: true})
		if err != nil && !errors.Is(err, ErrStopped) || runs() {
			t.Errorf("%v, %v", page, err)
		}
	})
}

// TestAccountsRating asks while the first ordering goes on: the page is by id, and says how much is
// done. Who waits gets the order; a desk that closes ends the goroutine in the middle.
func TestAccountsRating(t *testing.T) {
	l := newListed(t, 1)
	ids := make([]int, 300)
	for i := range ids {
		ids[i] = i
	}
	l.open(t, ids...)
	v := l.show()
	x := &l.desk.accounts
	x.closed = true // no goroutine: it is the slowest one
	q := AccountQuery{Sort: BySoFar, Descending: true, Limit: 5}
	page, err := l.desk.Accounts(t.Context(), v, q)
	if err != nil || !page.Rating || page.Of != 300 || page.OrderedAt != 0 ||
		!slices.Equal(page.IDs, v.AccountIDs("")[:5]) {
		t.Errorf("%+v, %v", page, err)
	}
	q.Filter, err = ParseAccountFilter(">0")
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{d: l.desk, x: x, view: v}
	for _, e := range x.entries[100:120] {
		k.fresh = append(k.fresh, freshFigures{e, figuresOf(v, e.id, v.Stamp(e.id))})
	}
	k.tell(false, 0)
	page, err = l.desk.Accounts(t.Context(), v, q)
	if err != nil || page.Rated != 20 || page.Matched == 0 || page.IDs[0] < "acc-000100" {
		t.Errorf("%+v, %v", page, err)
	}
	x.closed = false
	q.Wait = true
	page, err = l.desk.Accounts(t.Context(), v, q)
	if err != nil || page.Rating || page.OrderedAt != v.Standing().Seq {
		t.Errorf("%+v, %v", page, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	x.ordered = 0
	x.keeper.wake <- struct{}{} // full: nothing comes of another
	if _, err := l.desk.Accounts(ctx, v, q); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	x.close()
	if x.mu.Lock(); x.keeper != nil {
		t.Error("the goroutine goes on behind the end of its desk")
	}
	x.mu.Unlock()
}
