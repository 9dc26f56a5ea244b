package live

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
)

// AccountSort is what a list of accounts is ordered by. Accounts that are equal in it are by rising
// id in either direction.
type AccountSort uint8

// The sorts. Amounts are those of an account's first total, whatever its currency; accounts without
// a total are the last in either direction. Names are compared in lower case.
const (
	ByID          AccountSort = iota
	ByName                    // name
	ByRows                    // rows of the open periods
	BySoFar                   // amount so far
	ByIfClosedNow             // amount if the open periods closed now
	numAccountSorts
)

// AccountSortOf returns the sort of a name, as the answers have it.
func AccountSortOf(name string) (AccountSort, bool) {
	i := slices.Index(AccountSorts(), name)
	return AccountSort(max(i, 0)), i >= 0
}

// AccountSorts returns the names of the sorts.
func AccountSorts() []string {
	return []string{"id", "name", "rows", "so_far", "if_closed_now"}
}

// AccountQuery asks for a page of accounts.
type AccountQuery struct {
	Prefix     string // of the ids
	Filter     AccountFilter
	Sort       AccountSort
	Descending bool
	After      string // ByID: only what comes behind it; "": from the first on
	Offset     int    // this many are left out, of those behind After
	Limit      int    // above 0
	// Wait waits for as long as the first ordering takes. Otherwise a page may come by id, or without
	// accounts that a word about amounts would let pass (AccountPage.Rating).
	Wait bool
}

// rates reports whether accounts must be rated for the answer.
func (q *AccountQuery) rates() bool { return q.Filter.rates || q.Sort >= ByRows }

// AccountPage is a page of accounts.
type AccountPage struct {
	View    *engine.View // that the page is true of; the one of the question, or a later one
	IDs     []string
	Total   int  // accounts with the prefix
	Matched int  // of them, those that pass the filter
	More    bool // there are accounts behind the page
	// OrderedAt is the position of the figures by which the accounts are ordered and filtered; 0: by
	// none. Figures are of a later position where rating them took longer than a second.
	OrderedAt engine.Seq
	// Rating: the first ordering goes on, Rated of so many accounts are done. The page is by id, and
	// words about amounts let none pass that is not rated.
	Rating bool
	Rated  int
	Of     int
}

// Total is what open periods in one currency come to together.
type Total struct {
	Currency    string
	Digits      int
	SoFar       decimal.Amount
	IfClosedNow decimal.Amount
}

// Totals returns the totals of open periods, by currency. A period without a document counts as 0.
func Totals(open []engine.OpenPeriod) []Total {
	var out []Total
	for i := range open {
		o := &open[i]
		at, found := slices.BinarySearchFunc(out, o.Currency, func(t Total, c string) int {
			return strings.Compare(t.Currency, c)
		})
		if !found {
			out = slices.Insert(out, at, Total{Currency: o.Currency, Digits: o.Digits})
		}
		t := &out[at]
		if o.Digits > t.Digits { // a unit of account may get another digit with a version
			t.SoFar = rescaled(t.SoFar, t.Digits, o.Digits)
			t.IfClosedNow = rescaled(t.IfClosedNow, t.Digits, o.Digits)
			t.Digits = o.Digits
		}
		if o.SoFar != nil {
			t.SoFar = t.SoFar.Add(rescaled(o.SoFar.Total, o.Digits, t.Digits))
		}
		if o.IfClosedNow != nil {
			t.IfClosedNow = t.IfClosedNow.Add(rescaled(o.IfClosedNow.Total, o.Digits, t.Digits))
		}
	}
	return out
}

// rescaled returns an amount in minor units of as many digits or more.
func rescaled(a decimal.Amount, from, to int) decimal.Amount {
	if from == to {
		return a
	}
	return a.Rat(from).Round(to, decimal.HalfAway)
}

// How long a question waits for the order to be of its view: for a first one, and where the last
// pass was so short that another one costs little.
const (
	firstPatience = 100 * time.Millisecond
	passPatience  = 50 * time.Millisecond
	shortPass     = 20 * time.Millisecond
)

// Accounts returns a page of accounts as of v, or of a later view if one was shown before. It fails
// with ctx, and as View does.
//
// A page by id without a filter costs a search. Others scan what the desk knows of all accounts.
// For amounts a goroutine rates those that changed; it ends some seconds after the last question.
func (d *Desk) Accounts(
	ctx context.Context, v *engine.View, q AccountQuery,
) (*AccountPage, error) {
	x := &d.accounts
	want := v.Standing().Seq
	deadline := time.Now().Add(firstPatience)
	for {
		page, changed := x.page(d, v, &q, want, deadline)
		if page != nil {
			return page, nil
		}
		if changed != nil {
			err := x.await(ctx, d, changed, &q, deadline)
			if err != nil {
				return nil, err
			}
		}
		var err error
		if v, err = d.View(ctx); err != nil {
			return nil, err
		}
	}
}

// accountIndex is what a desk knows of all accounts, for lists of them. The zero value is ready.
type accountIndex struct {
	mu  sync.Mutex
	seq engine.Seq // of the latest view that was seen here; no answer is older
	ids []string   // of all accounts, rising; nothing else is kept until somebody asks for more

	entries  []*accountEntry // by id; nil: nobody asked
	named    engine.Seq      // of the view that names and plans were read from
	namedAt  time.Time
	orders   [numAccountSorts][2]accountOrder // rising and falling; of sorts other than ByID
	rated    int                              // entries
	ordered  engine.Seq                       // 0: the first ordering is not done
	lastPass time.Duration

	asked   time.Time     // when somebody asked for more than ids
	waiting int           // questions that wait for a pass
	changed chan struct{} // closed and made new at the end of a pass
	keeper  *keeper       // nil: none runs
	forget  *time.Timer   // frees what is known, behind the end of a keeper
	closed  bool
}

// accountEntry is an account in an index.
type accountEntry struct {
	id    string
	text  string // id and name in lower case, for filters
	name  int32  // where the name begins in text
	plans []planSpan
	moved bool // its figures changed: it takes a new place
	accountFigures
}

// accountFigures are what accounts are ordered by.
type accountFigures struct {
	stamp  uint64 // engine.View.Stamp; 0: not rated yet
	rows   uint64
	has    bool // a total: the first of Totals
	digits int
	soFar  decimal.Amount
	closed decimal.Amount
}

// planSpan is an interval of a subscription.
type planSpan struct {
	key      string
	from, to engine.Micros
}

type accountOrder struct {
	list  []*accountEntry // nil: nobody asked for it
	asked time.Time
}

// page returns a page, or nil: then v is too old, or changed is closed when to ask again.
func (x *accountIndex) page(
	d *Desk, v *engine.View, q *AccountQuery, want engine.Seq, deadline time.Time,
) (page *AccountPage, changed <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if v.Standing().Seq < x.seq {
		return nil, nil
	}
	deep := len(q.Filter.words) > 0 || q.Sort != ByID
	x.take(v, deep)
	p := &AccountPage{View: v}
	if !deep {
		x.plainPage(p, q)
		return p, nil
	}
	x.asked = time.Now()
	x.keepOn(d)
	if q.rates() {
		if x.ordered < v.Standing().Seq && x.keeper != nil {
			x.keeper.wakeUp()
		}
		if x.keeper != nil && x.worthWaiting(q, want, deadline) {
			return nil, x.changed
		}
		p.OrderedAt = x.ordered
		p.Rating, p.Rated, p.Of = x.ordered == 0, x.rated, len(x.entries)
	}
	x.scan(p, q)
	return p, nil
}

// worthWaiting reports whether a question for amounts should wait for a pass.
func (x *accountIndex) worthWaiting(q *AccountQuery, want engine.Seq, deadline time.Time) bool {
	switch {
	case x.ordered >= want:
		return false
	case x.ordered == 0:
		return q.Wait || time.Now().Before(deadline)
	}
	return x.lastPass < shortPass && time.Until(deadline) > firstPatience-passPatience
}

// await waits until changed is closed or the patience is over.
func (x *accountIndex) await(
	ctx context.Context, d *Desk, changed <-chan struct{}, q *AccountQuery, deadline time.Time,
) error {
	x.mu.Lock()
	x.waiting++
	patience := time.Until(deadline)
	if x.ordered > 0 {
		patience -= firstPatience - passPatience
	} else if q.Wait {
		patience = keeperIdle // it looks again then
	}
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.waiting--
		x.mu.Unlock()
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-d.stopped():
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// stopped is closed when the process has ended; nil where there is none.
func (d *Desk) stopped() <-chan struct{} {
	if d.run == nil {
		return nil
	}
	return d.run.stopped
}

// namesAge is how old names and plans may be in a filter or an order by name: reading those of all
// accounts takes a while. New accounts are there at once.
const namesAge = 2 * time.Second

// take brings the index up to a view: the ids, and with deep what is known of each account but its
// figures.
func (x *accountIndex) take(v *engine.View, deep bool) {
	x.seq = v.Standing().Seq
	came := v.Accounts() != len(x.ids)
	if came {
		x.ids = v.AccountIDs("")
	}
	switch {
	case x.entries != nil && came:
		x.grow(v)
	case deep && x.entries == nil:
		slab := make([]accountEntry, len(x.ids))
		x.entries = make([]*accountEntry, len(x.ids))
		for i, id := range x.ids {
			slab[i].id = id
			slab[i].describe(v)
			x.entries[i] = &slab[i]
		}
		x.named, x.namedAt = x.seq, time.Now()
	case deep && x.named != x.seq && time.Since(x.namedAt) > namesAge:
		x.rename(v)
	}
}

// grow makes entries for the accounts that came. Without figures they are the last of every order
// by figures.
func (x *accountIndex) grow(v *engine.View) {
	old := x.entries
	x.entries = make([]*accountEntry, 0, len(x.ids))
	var fresh []*accountEntry
	for _, id := range x.ids {
		if len(old) > 0 && old[0].id == id {
			x.entries = append(x.entries, old[0])
			old = old[1:]
			continue
		}
		e := &accountEntry{id: id}
		e.describe(v)
		x.entries = append(x.entries, e)
		fresh = append(fresh, e)
	}
	x.reorder(fresh)
}

// rename reads names and plans anew.
func (x *accountIndex) rename(v *engine.View) {
	other := false
	for _, e := range x.entries {
		other = e.describe(v) || other
	}
	if other {
		x.orders[ByName] = [2]accountOrder{}
	}
	x.named, x.namedAt = x.seq, time.Now()
}

// describe reads name and plans, and reports whether the name is another one.
func (e *accountEntry) describe(v *engine.View) bool {
	a, _ := v.Account(e.id)
	e.plans = e.plans[:0]
	for i := range a.Subscriptions {
		s := &a.Subscriptions[i]
		e.plans = append(e.plans, planSpan{s.Plan, s.From, s.To})
	}
	id := strings.ToLower(e.id)
	text := id + "\x00" + strings.ToLower(a.Name)
	if a.Name == e.id {
		text = id
		id = ""
	} else {
		id += "\x00"
	}
	if text == e.text {
		return false
	}
	e.text, e.name = text, int32(len(id))
	return true
}

// plainPage fills a page by id.
func (x *accountIndex) plainPage(p *AccountPage, q *AccountQuery) {
	lo, hi := prefixed(x.ids, q.Prefix)
	n := hi - lo
	p.Total, p.Matched = n, n
	at := q.Offset
	if q.After != "" {
		behind, found := slices.BinarySearch(x.ids, q.After)
		if q.Descending {
			behind = hi - behind
		} else {
			behind -= lo
			if found {
				behind++
			}
		}
		at += max(behind, 0)
	}
	for ; at < n && len(p.IDs) < q.Limit; at++ {
		i := lo + at
		if q.Descending {
			i = hi - 1 - at
		}
		p.IDs = append(p.IDs, x.ids[i])
	}
	p.More = at < n
}

// prefixed returns the range of rising ids that begin with a prefix.
func prefixed(ids []string, prefix string) (lo, hi int) {
	lo, _ = slices.BinarySearch(ids, prefix)
	hi = lo
	for step := len(ids); step > 0; step /= 2 {
		for hi+step <= len(ids) && strings.HasPrefix(ids[hi+step-1], prefix) {
			hi += step
		}
	}
	return lo, hi
}

// scan fills a page from the entries.
func (x *accountIndex) scan(p *AccountPage, q *AccountQuery) {
	list, backwards := x.entries, q.Descending
	if p.Rating && q.Sort >= ByRows {
		backwards = false // as if nothing was said of order
	} else if q.Sort != ByID {
		list, backwards = x.inOrder(q.Sort, q.Descending), false
	}
	if q.Sort != ByID && q.Prefix == "" && len(q.Filter.words) == 0 {
		p.Total, p.Matched = len(list), len(list)
		for _, e := range list[min(q.Offset, len(list)):min(q.Offset+q.Limit, len(list))] {
			p.IDs = append(p.IDs, e.id)
		}
		p.More = q.Offset+q.Limit < len(list)
		return
	}
	at := p.View.Standing().At
	behind := 0 // of those that match, those behind After
	for i := range list {
		e := list[i]
		if backwards {
			e = list[len(list)-1-i]
		}
		if !strings.HasPrefix(e.id, q.Prefix) {
			continue
		}
		p.Total++
		if !q.Filter.passes(e, at) {
			continue
		}
		p.Matched++
		if q.After != "" && (cmp.Compare(e.id, q.After) > 0) == backwards || e.id == q.After {
			continue
		}
		switch behind++; {
		case behind <= q.Offset:
		case len(p.IDs) < q.Limit:
			p.IDs = append(p.IDs, e.id)
		default:
			p.More = true
		}
	}
}

// inOrder returns the entries in an order, which is made if nobody asked for it lately.
func (x *accountIndex) inOrder(sort AccountSort, descending bool) []*accountEntry {
	o := &x.orders[sort][one(descending)]
	o.asked = time.Now()
	if o.list == nil {
		o.list = slices.Clone(x.entries)
		slices.SortFunc(o.list, sort.comparer(descending))
	}
	return o.list
}

// reorder gives entries that are new, or have other figures, their places in the orders that
// somebody asked for lately, and drops the other orders.
func (x *accountIndex) reorder(list []*accountEntry) {
	if len(list) == 0 {
		return
	}
	for _, e := range list {
		e.moved = true
	}
	for sort := range numAccountSorts {
		for d := range x.orders[sort] {
			o := &x.orders[sort][d]
			switch {
			case o.list == nil:
			case time.Since(o.asked) > keeperIdle:
				*o = accountOrder{}
			default:
				compare := sort.comparer(d == 1)
				slices.SortFunc(list, compare)
				o.list = mergeMoved(o.list, list, len(x.entries), compare)
			}
		}
	}
	for _, e := range list {
		e.moved = false
	}
}

// mergeMoved returns an order of n entries: those of the old one that did not move, and the moved
// ones, which are in order.
func mergeMoved(
	old, moved []*accountEntry, n int, compare func(a, b *accountEntry) int,
) []*accountEntry {
	out := make([]*accountEntry, 0, n)
	for _, e := range old {
		if e.moved {
			continue
		}
		for len(moved) > 0 && compare(moved[0], e) < 0 {
			out = append(out, moved[0])
			moved = moved[1:]
		}
		out = append(out, e)
	}
	return append(out, moved...)
}

// comparer returns how entries compare: a total order.
func (s AccountSort) comparer(descending bool) func(a, b *accountEntry) int {
	sign := 1
	if descending {
		sign = -1
	}
	return func(a, b *accountEntry) int {
		c := 0
		switch s {
		case ByName:
			c = strings.Compare(a.text[a.name:], b.text[b.name:])
		case ByRows:
			c = cmp.Compare(a.rows, b.rows)
		case BySoFar, ByIfClosedNow:
			if a.has != b.has {
				return one(b.has) - one(a.has)
			}
			x, y := a.soFar, b.soFar
			if s == ByIfClosedNow {
				x, y = a.closed, b.closed
			}
			if a.digits == b.digits {
				c = x.Cmp(y)
			} else {
				c = x.Rat(a.digits).Cmp(y.Rat(b.digits))
			}
		}
		return cmp.Or(sign*c, strings.Compare(a.id, b.id))
	}
}
