package live

import (
	"context"
	"time"

	"billctl/engine"
)

// How the goroutine that rates accounts shares the machine.
const (
	keeperIdle = 10 * time.Second // it ends so long after the last question
	indexKept  = 5 * time.Minute  // what it knew is kept for so long behind that
	workSlice  = time.Millisecond // it works so long without a break
	breakFirst = 200 * time.Microsecond
	breakLater = 1500 * time.Microsecond // there is an order already
	breakBusy  = 15 * time.Millisecond   // rows wait for the loop
	ratedAtOne = time.Second             // it rates by one view for so long: a view keeps old pages
	ratedBatch = 512                     // accounts that a first pass tells of together
)

// keeper is the goroutine that rates accounts for an index while somebody asks for their order.
type keeper struct {
	d     *Desk
	x     *accountIndex
	wake  chan struct{} // somebody asks for amounts of a later view than the order's
	stop  chan struct{} // the desk closes
	ended chan struct{}

	view  *engine.View
	taken time.Time // when view was
	begun time.Time // of the slice of work
	fresh []freshFigures
}

// freshFigures are what an account was rated to.
type freshFigures struct {
	entry *accountEntry
	accountFigures
}

// keepOn starts a keeper unless one runs.
func (x *accountIndex) keepOn(d *Desk) {
	select {
	case <-d.stopped():
		return
	default:
	}
	if x.keeper != nil || x.closed {
		return
	}
	if x.forget != nil {
		x.forget.Stop()
	}
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	x.keeper = &keeper{
		d: d, x: x, wake: make(chan struct{}, 1), stop: make(chan struct{}),
		ended: make(chan struct{}),
	}
	go x.keeper.run()
}

// close ends the keeper, and waits for it.
func (x *accountIndex) close() {
	x.mu.Lock()
	x.closed = true
	k := x.keeper
	if x.forget != nil {
		x.forget.Stop()
	}
	x.mu.Unlock()
	if k != nil {
		close(k.stop)
		<-k.ended
	}
}

func (k *keeper) wakeUp() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run rates accounts whenever somebody asks, until nobody does any more or the desk ends.
func (k *keeper) run() {
	defer close(k.ended)
	timer := time.NewTimer(keeperIdle)
	defer timer.Stop()
	for {
		select {
		case <-k.wake:
			k.pass()
			continue
		case <-timer.C:
		case <-k.stop:
		case <-k.d.stopped():
		}
		left, done := k.leave()
		if done {
			return
		}
		timer.Reset(left)
	}
}

// leave ends the keeper if the desk ends or nobody has asked for a while; otherwise it returns when
// to look again.
func (k *keeper) leave() (left time.Duration, done bool) {
	x := k.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if !k.over() {
		left = keeperIdle
		if x.waiting == 0 {
			left -= time.Since(x.asked)
		}
		if left > 0 {
			return left, false
		}
	}
	x.keeper = nil
	if !k.over() {
		x.forget = time.AfterFunc(indexKept, x.free)
	}
	return 0, true
}

// over reports whether the desk ends.
func (k *keeper) over() bool {
	select {
	case <-k.stop:
	case <-k.d.stopped():
	default:
		return false
	}
	return true
}

// free lets go what is known of accounts, unless somebody asks again.
func (x *accountIndex) free() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.keeper == nil {
		x.entries, x.rated, x.ordered = nil, 0, 0
		x.orders = [numAccountSorts][2]accountOrder{}
	}
}

// pass rates the accounts that changed since the pass before, and puts them in order.
func (k *keeper) pass() {
	defer func() { k.view, k.fresh = nil, nil }()
	if !k.look() {
		return
	}
	x := k.x
	x.mu.Lock()
	if k.view.Standing().Seq < x.seq || x.ordered == x.seq && x.ordered != 0 {
		// A question has just shown a later view, or the order is of this one already.
		again := x.ordered != x.seq
		x.mu.Unlock()
		if again {
			k.wakeUp()
		}
		return
	}
	x.take(k.view, true)
	entries, first, at := x.entries, x.ordered == 0, x.seq
	x.mu.Unlock()
	begun := time.Now()
	k.begun = begun
	for i, e := range entries {
		if i%16 == 0 && !k.breathe(first) {
			return
		}
		stamp := k.view.Stamp(e.id)
		if stamp == e.stamp {
			continue
		}
		k.fresh = append(k.fresh, freshFigures{e, figuresOf(k.view, e.id, stamp)})
		if first && len(k.fresh) == ratedBatch {
			k.tell(false, 0)
		}
	}
	k.tell(true, at)
	x.mu.Lock()
	x.lastPass = time.Since(begun)
	close(x.changed)
	x.changed = make(chan struct{})
	x.mu.Unlock()
}

// figuresOf rates an account.
func figuresOf(v *engine.View, id string, stamp uint64) accountFigures {
	bill, _ := v.Bill(id)
	f := accountFigures{stamp: stamp}
	for i := range bill.Open {
		f.rows += bill.Open[i].Rows
	}
	if totals := Totals(bill.Open); len(totals) > 0 {
		t := &totals[0]
		f.has, f.digits, f.soFar, f.closed = true, t.Digits, t.SoFar, t.IfClosedNow
	}
	return f
}

// tell puts what was rated into the index; at the end of a pass the order is of position at.
func (k *keeper) tell(end bool, at engine.Seq) {
	x := k.x
	x.mu.Lock()
	defer x.mu.Unlock()
	moved := make([]*accountEntry, len(k.fresh))
	for i := range k.fresh {
		f := &k.fresh[i]
		if f.entry.stamp == 0 {
			x.rated++
		}
		f.entry.accountFigures = f.accountFigures
		moved[i] = f.entry
	}
	k.fresh = k.fresh[:0]
	if x.ordered > 0 {
		x.reorder(moved)
	}
	if end {
		x.ordered = at
	}
}

// look takes a view of now.
func (k *keeper) look() bool {
	v, err := k.d.View(context.Background())
	if err != nil {
		return false // the process has ended: there is nobody to tell
	}
	k.view, k.taken = v, time.Now()
	return true
}

// breathe gives way to others where that is due, and reports whether to go on.
func (k *keeper) breathe(first bool) bool {
	now := time.Now()
	if now.Sub(k.begun) < workSlice {
		return true
	}
	rest := breakLater
	switch {
	case k.d.run == nil:
		rest = 0
	case len(k.d.run.parcels) > 0:
		rest = breakBusy
	case first:
		rest = breakFirst
	}
	if !k.pause(rest) || !k.asked() {
		return false
	}
	if now.Sub(k.taken) > ratedAtOne {
		k.tell(false, 0)
		if !k.look() {
			return false
		}
	}
	k.begun = time.Now()
	return true
}

// asked reports whether somebody has asked lately, or waits.
func (k *keeper) asked() bool {
	k.x.mu.Lock()
	defer k.x.mu.Unlock()
	return k.x.waiting > 0 || time.Since(k.x.asked) < keeperIdle
}

// pause waits, unless the desk ends.
func (k *keeper) pause(d time.Duration) bool {
	if d == 0 {
		return !k.over()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.stop:
	case <-k.d.stopped():
	}
	return false
}
