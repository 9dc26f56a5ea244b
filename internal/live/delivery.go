package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"billctl/engine"
	"billctl/internal/store"
)

// Delivery is one document for one sink: an invoice or an alert. It carries bytes and knows no
// billing.
type Delivery struct {
	Key     string // the same in every attempt
	Account string
	Body    []byte
}

// Sink takes documents over. Deliver returns nil once the sink has the document, and again for a
// document that it has already. An error that wraps ErrPermanent parks the document; after any
// other it is tried again.
type Sink interface {
	Deliver(ctx context.Context, d Delivery) error
}

// ErrPermanent marks an error of a sink that trying again does not mend.
var ErrPermanent = errors.New("not to be tried again")

// SinkOptions are one configured sink.
type SinkOptions struct {
	Name string
	Sink Sink
	// Width is how many documents, of as many accounts, are handed over side by side; 0: one. With
	// more the sink's Deliver is called by several goroutines.
	Width int
}

// SinkStatus is how far a sink has come.
type SinkStatus struct {
	Name      string
	Done      int64  // outbox position before which every document is delivered
	Delivered uint64 // by this process
	Waiting   int    // offered and not delivered, parked ones not counted
	Parked    int
	LastError string // of the newest attempt that failed since one succeeded
}

// courier hands the documents of the outbox to one sink, in order per account: an account whose
// document is stuck holds up no other (docs/architecture.md, "Delivery").
type courier struct {
	name   string
	sink   Sink
	width  int
	cursor *store.Cursor
	outbox *store.Outbox
	clock  Clock
	say    func(string)
	waking chan struct{}

	reader *store.OutboxReader // nil before the first step
	lanes  map[string]*lane    // by account
	stuck  int                 // lanes that wait for a person
	order  []string            // of accounts with something in their lane, as they came

	mu      sync.Mutex
	status  SinkStatus
	idle    bool // nothing can be done before a wake or a retry
	failed  bool // and something waits that failed
	stopped bool // an error of ours ended it
	end     int64
	failing map[int64]string // why documents that are tried again failed last, by position
}

// The pause before the n-th new attempt doubles from least to most.
const (
	leastPause = time.Second
	mostPause  = 5 * time.Minute
	round      = 64 // documents whose attempts are noted by one sync
	// maxLanes bounds how far the reader runs ahead of the sink; stuck lanes do not count.
	maxLanes = 1 << 16
)

// lane is the queue of one account.
type lane struct {
	queue  []parcelOut
	pause  time.Duration
	notYet time.Duration // running time before which the first is not tried again
	stuck  bool          // the first one is parked
}

type parcelOut struct {
	pos int64
	Delivery
}

func (r *Run) openSinks() error {
	for _, o := range r.opts.Sinks {
		cursor, err := r.st.Dir.OpenCursor(o.Name)
		if err != nil {
			return err
		}
		r.couriers = append(r.couriers, &courier{
			name: o.Name, sink: o.Sink, width: max(o.Width, 1), cursor: cursor,
			outbox: r.st.Outbox, clock: r.opts.Clock,
			say: r.say, waking: make(chan struct{}, 1), status: SinkStatus{Name: o.Name},
			failing: map[int64]string{},
		})
	}
	return nil
}

// Sinks returns how far every sink has come.
func (r *Run) Sinks() []SinkStatus {
	var out []SinkStatus
	for _, c := range r.couriers {
		c.mu.Lock()
		s := c.status
		c.mu.Unlock()
		s.Done = c.cursor.Done()
		out = append(out, s)
	}
	return out
}

// Undelivered returns how many documents some sink does not have: those that wait, that are parked,
// and one for all that a sink has not come to.
func (r *Run) Undelivered() int {
	n := 0
	for _, c := range r.couriers {
		c.mu.Lock()
		n += c.status.Waiting + c.status.Parked
		if c.end < c.outbox.Durable() {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// patience is how long a run that ends by itself waits for sinks that get nowhere.
const patience = 10 * time.Second

// awaitCouriers waits until every sink has what it can take, as long as any of them gets on.
func (r *Run) awaitCouriers(ctx context.Context) {
	for _, c := range r.couriers {
		c.wake() // rejections alone woke nobody
	}
	_, last := r.opts.Clock.Now()
	before := uint64(0)
	for {
		settled, delivered := true, uint64(0)
		for _, c := range r.couriers {
			settled = settled && c.settled()
			delivered += c.delivered()
		}
		_, running := r.opts.Clock.Now()
		if delivered > before {
			before, last = delivered, running
		}
		if settled || running-last >= patience || ctx.Err() != nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
}

func (c *courier) delivered() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.Delivered
}

// failures returns why the last attempt failed, if none has succeeded since, and the same of every
// document that failed.
func (c *courier) failures() (last string, of map[int64]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status.LastError, maps.Clone(c.failing)
}

// settled reports whether the courier has handed over everything that is not stuck.
func (c *courier) settled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped || c.idle && !c.failed && c.end == c.outbox.Durable()
}

func (c *courier) wake() {
	select {
	case c.waking <- struct{}{}:
	default:
	}
}

func (c *courier) close() error { return c.cursor.Close() }

func (c *courier) run(ctx context.Context) {
	if err := c.deliver(ctx); err != nil && ctx.Err() == nil {
		c.say(fmt.Sprintf("sink %s stopped: %v", c.name, err))
		c.mu.Lock()
		c.status.LastError = err.Error()
		c.stopped = true
		c.mu.Unlock()
	}
}

// deliver reads the outbox from where the cursor stands and works through the lanes.
func (c *courier) deliver(ctx context.Context) error {
	defer c.stop()
	for {
		retry, err := c.step(ctx)
		if err != nil {
			return err
		}
		if err := c.wait(ctx, retry); err != nil {
			return err
		}
	}
}

// stop lets go of the reader, which only reads.
func (c *courier) stop() {
	if c.reader != nil {
		c.reader.Close()
	}
}

// step does everything that can be done now, and returns the running time at which a document
// that failed is to be tried again, or -1.
func (c *courier) step(ctx context.Context) (retry time.Duration, err error) {
	if c.reader == nil {
		c.reader, c.lanes = c.outbox.Read(c.cursor.Done()), map[string]*lane{}
	}
	for did := true; did; {
		if err := c.collect(); err != nil {
			return 0, err
		}
		if did, retry, err = c.work(ctx); err != nil {
			return 0, err
		}
	}
	return retry, c.rest(retry)
}

// collect takes in the documents that are new in the outbox.
func (c *courier) collect() error {
	for len(c.lanes)-c.stuck < maxLanes {
		rec, pos, err := c.reader.Next()
		c.mu.Lock()
		c.end = pos
		c.mu.Unlock()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		known := store.Delivery{State: store.Done}
		if rec.Kind.Delivered() {
			if known, err = c.cursor.Offer(pos, rec.Key); err != nil {
				return err
			}
		}
		open := known.State != store.Done
		c.mu.Lock()
		c.end = pos + 1
		c.idle = false
		if open {
			c.status.Waiting++
		}
		c.mu.Unlock()
		if !open {
			continue
		}
		l := c.lanes[rec.Account]
		if l == nil {
			l = &lane{}
			c.lanes[rec.Account] = l
			c.order = append(c.order, rec.Account)
		}
		if len(l.queue) == 0 && known.State == store.Parked {
			c.park(l)
		}
		l.queue = append(l.queue, parcelOut{pos, Delivery{rec.Key, rec.Account, rec.Body}})
	}
	return nil
}

// work tries the first document of every lane that may be tried, and returns whether it tried any
// and the running time at which the next may be.
func (c *courier) work(ctx context.Context) (did bool, retry time.Duration, err error) {
	wall, running := c.clock.Now()
	retry = -1
	var batch []string
	for _, account := range c.order {
		switch l := c.lanes[account]; {
		case l.stuck:
		case l.notYet > running:
			if retry < 0 || l.notYet < retry {
				retry = l.notYet
			}
		case len(batch) < round:
			batch = append(batch, account)
		}
	}
	if len(batch) == 0 {
		return false, retry, nil
	}
	positions := make([]int64, len(batch))
	for i, account := range batch {
		positions[i] = c.lanes[account].queue[0].pos
	}
	if err := c.cursor.Attempt(engine.Micros(wall.UnixMicro()), positions...); err != nil {
		return false, 0, err
	}
	for part := range slices.Chunk(batch, c.width) {
		if err := c.try(ctx, part); err != nil {
			return false, 0, err
		}
	}
	c.order = slices.DeleteFunc(c.order, func(account string) bool {
		done := len(c.lanes[account].queue) == 0
		if done {
			delete(c.lanes, account)
		}
		return done
	})
	return true, 0, nil
}

// try hands over the first document of every account, side by side.
func (c *courier) try(ctx context.Context, accounts []string) error {
	errs := make([]error, len(accounts))
	var wg sync.WaitGroup
	for i, account := range accounts[1:] {
		wg.Go(func() { errs[i+1] = c.sink.Deliver(ctx, c.lanes[account].queue[0].Delivery) })
	}
	errs[0] = c.sink.Deliver(ctx, c.lanes[accounts[0]].queue[0].Delivery)
	wg.Wait()
	for i, account := range accounts {
		if err := c.note(ctx, c.lanes[account], errs[i]); err != nil {
			return err
		}
	}
	return nil
}

// note takes in what became of the first document of a lane.
func (c *courier) note(ctx context.Context, l *lane, err error) error {
	p := l.queue[0]
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		l.queue, l.pause = l.queue[1:], 0
		c.mu.Lock()
		c.status.Delivered++
		c.status.Waiting--
		c.status.LastError = ""
		delete(c.failing, p.pos)
		c.mu.Unlock()
		return c.cursor.Ack(p.pos)
	}
	c.mu.Lock()
	c.status.LastError = err.Error()
	c.failing[p.pos] = err.Error()
	c.mu.Unlock()
	if errors.Is(err, ErrPermanent) {
		c.park(l)
		c.say(fmt.Sprintf("sink %s: %s is parked: %v", c.name, p.Key, err))
		return c.cursor.Park(p.pos, err.Error())
	}
	l.pause = min(max(2*l.pause, leastPause), mostPause)
	_, running := c.clock.Now()
	l.notYet = running + l.pause
	return nil
}

// park sets a lane aside whose first document waits for a person.
func (c *courier) park(l *lane) {
	l.stuck = true
	c.stuck++
	c.mu.Lock()
	c.status.Waiting--
	c.status.Parked++
	c.mu.Unlock()
}

// rest makes durable what is known and says how things stand.
func (c *courier) rest(retry time.Duration) error {
	if err := c.cursor.Sync(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle, c.failed = true, retry >= 0
	return nil
}

// wait waits until there is something to do again.
func (c *courier) wait(ctx context.Context, retry time.Duration) error {
	var again <-chan time.Time
	if retry >= 0 {
		_, running := c.clock.Now()
		again = time.After(max(retry-running, time.Millisecond))
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.waking:
	case <-again:
	}
	c.mu.Lock()
	c.idle = false
	c.mu.Unlock()
	return nil
}
