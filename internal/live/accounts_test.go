package live

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// listed is a state of many accounts and its desk.
type listed struct {
	*Shards
	desk *Desk
	at   engine.Micros
	rows int // so far
}

func newListed(tb testing.TB, shards int) *listed {
	tb.Helper()
	l := &listed{Shards: NewShards(shards), at: utc(2026, 1, 1)}
	settings := engine.DefaultSettings
	l.apply(tb, &engine.Genesis{Format: engine.Format, Journal: [16]byte{7}})
	l.apply(tb, &engine.Rules{Ruleset: engine.Ruleset})
	l.apply(tb, &settings)
	l.apply(tb, &engine.Source{Name: "s", Dedupe: true})
	price := func(unit string) []engine.Price {
		u, err := decimal.Parse(unit)
		if err != nil {
			tb.Fatal(err)
		}
		return []engine.Price{
			{Key: "base", Model: engine.Flat, Amount: decimal.FromInt(3)},
			{Key: "calls", Meter: "calls", Model: engine.Unit, Unit: u},
		}
	}
	l.apply(tb, &engine.Change{
		Actor:  "test",
		Meters: []engine.Meter{{Key: "calls", Event: "llm", Aggregate: engine.Count}},
		Plans: []engine.Plan{
			{Key: "pro", Version: 1, Currency: "EUR", Digits: 2, Interval: engine.Month,
				Prices: price("0.25")},
			{Key: "yen", Version: 1, Currency: "JPY", Interval: engine.Month, Prices: price("40")},
		},
	})
	l.desk = &Desk{}
	return l
}

func (l *listed) apply(tb testing.TB, b engine.Body) {
	tb.Helper()
	e := &engine.Entry{Seq: l.Seq() + 1, At: l.at, Body: b}
	err := l.Apply(e, func(fx *engine.Effects) error {
		for _, r := range fx.Refusals {
			tb.Fatal(r.What)
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// show lets the desk have a view of what was applied.
func (l *listed) show() *engine.View {
	l.desk.view = l.Pin()
	return l.desk.view
}

// open opens accounts: on pro, on yen, on both, on neither, and from one to the other.
func (l *listed) open(tb testing.TB, ids ...int) {
	tb.Helper()
	c := &engine.Change{Actor: "test", File: engine.Digest{byte(l.Seq()), byte(l.Seq() >> 8)}}
	for _, i := range ids {
		a := engine.AccountChange{ID: fmt.Sprintf("acc-%06d", i), Zone: "UTC"}
		a.Name = []string{"", "Größe " + fmt.Sprint(i%10), "acme", "ACME " + fmt.Sprint(i)}[i%4]
		sub := func(key, plan string, from, to engine.Micros) {
			a.Subscriptions = append(a.Subscriptions, engine.Subscription{
				Key: key, Plan: plan, From: from, To: to,
			})
		}
		begin, middle := utc(2026, 1, 1), utc(2026, 1, 10)
		switch i % 5 {
		case 0, 1:
			sub("main", "pro", begin, engine.Future)
		case 2:
			sub("main", "yen", begin, engine.Future)
		case 3:
			sub("a", "yen", begin, engine.Future)
			sub("b", "pro", begin, engine.Future)
			if i%2 == 0 {
				a.Subscriptions = nil
			}
		case 4:
			sub("main", "pro", begin, middle)
			sub("main", "yen", middle, engine.Future)
		}
		a.Attach = []engine.Ownership{
			{Subject: a.ID, Account: a.ID, From: engine.Past, To: engine.Future},
		}
		c.Accounts = append(c.Accounts, a)
	}
	l.apply(tb, c)
}

// use counts a row of each of these accounts.
func (l *listed) use(tb testing.TB, day int, ids []int) {
	tb.Helper()
	d, err := formats.NewDecoder(formats.NDJSON, "s", nil)
	if err != nil {
		tb.Fatal(err)
	}
	builder := formats.NewBuilder("s", formats.Limits{})
	l.at = max(l.at, utc(2026, 1, day)+engine.Hour)
	for len(ids) > 0 {
		n := min(len(ids), 4096)
		var text strings.Builder
		for _, i := range ids[:n] {
			l.rows++
			text.WriteString(callLine(fmt.Sprintf("acc-%06d", i), l.rows, utc(2026, 1, day)))
		}
		ids = ids[n:]
		for c := (formats.Chunk{Partition: "p", Data: []byte(text.String())}); len(c.Data) > 0; {
			n, err := d.Decode(c, builder)
			if err != nil {
				tb.Fatal(err)
			}
			c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
			b := builder.Batch()
			e := &engine.Entry{Seq: l.Seq() + 1, At: l.at, Body: b}
			if err := l.Apply(e, func(*engine.Effects) error { return nil }); err != nil {
				tb.Fatal(err)
			}
			builder.Recycle(b)
		}
	}
}

// naive is an account as a naive list has it: of texts, which are read with big.Rat.
type naive struct {
	id, name      string
	rows          uint64
	soFar, closed *big.Rat // of the first currency; nil: no open period
	plans         []string // now
}

func naiveList(v *engine.View) (list []naive) {
	for _, id := range v.AccountIDs("") {
		bill, _ := v.Bill(id)
		n := naive{id: id, name: strings.ToLower(bill.Name)}
		first := ""
		for _, o := range bill.Open {
			if first == "" || o.Currency < first {
				first = o.Currency
			}
		}
		for _, o := range bill.Open {
			n.rows += o.Rows
			if o.Currency != first {
				continue
			}
			if n.soFar == nil {
				n.soFar, n.closed = new(big.Rat), new(big.Rat)
			}
			for i, inv := range []*engine.Invoice{o.SoFar, o.IfClosedNow} {
				if inv == nil {
					continue
				}
				r, _ := new(big.Rat).SetString(inv.Total.Text(inv.Digits))
				sum := []*big.Rat{n.soFar, n.closed}[i]
				sum.Add(sum, r)
			}
		}
		for _, s := range bill.Subscriptions {
			if at := v.Standing().At; s.From <= at && at < s.To {
				n.plans = append(n.plans, s.Plan)
			}
		}
		list = append(list, n)
	}
	return list
}

// naiveOrder returns the ids in an order, by an insertion sort.
func naiveOrder(list []naive, sort AccountSort, descending bool) (ids []string) {
	before := func(a, b *naive) bool {
		c := 0
		switch sort {
		case ByID:
			c = strings.Compare(a.id, b.id)
		case ByName:
			c = strings.Compare(a.name, b.name)
		case ByRows:
			c = int(a.rows) - int(b.rows)
		default:
			x, y := a.soFar, b.soFar
			if sort == ByIfClosedNow {
				x, y = a.closed, b.closed
			}
			switch {
			case x == nil && y == nil:
			case x == nil:
				return false
			case y == nil:
				return true
			default:
				c = x.Cmp(y)
			}
		}
		if c == 0 {
			return a.id < b.id
		}
		return (c < 0) != descending
	}
	var out []naive
	for i := range list {
		at := 0
		for at < len(out) && before(&out[at], &list[i]) {
			at++
		}
		out = slices.Insert(out, at, list[i])
	}
	for _, n := range out {
		ids = append(ids, n.id)
	}
	return ids
}

// pages returns all pages of a question, one behind the other.
func pages(t *testing.T, d *Desk, q AccountQuery, size int) (ids []string, last *AccountPage) {
	t.Helper()
	q.Limit = size
	for {
		p, err := d.Accounts(t.Context(), d.view, q)
		if err != nil {
			t.Fatal(err)
		}
		if q.rates() && (p.Rating || p.OrderedAt != d.view.Standing().Seq) {
			t.Fatalf("ordered at %d, rating %v, at %d", p.OrderedAt, p.Rating, d.view.Standing().Seq)
		}
		if len(p.IDs) > size || p.More && len(p.IDs) < size {
			t.Fatalf("a page of %d has %d, more %v", size, len(p.IDs), p.More)
		}
		ids = append(ids, p.IDs...)
		q.Offset += size
		if !p.More {
			return ids, p
		}
	}
}

// TestAccountsOrder compares every order with that of a naive list, page by page, while accounts
// come, rows are counted and periods close.
func TestAccountsOrder(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	l := newListed(t, 2)
	defer l.desk.accounts.close()
	n := 0
	for step := range 5 {
		var come, uses []int
		for range 20 + r.IntN(20) { // ids between those that are there
			come = append(come, n*7919%1000)
			n++
		}
		l.open(t, come...)
		for range r.IntN(300) {
			uses = append(uses, r.IntN(n)*7919%1000)
		}
		l.use(t, 2+step*3, uses)
		if step == 3 {
			l.at = utc(2026, 2, 5)
			l.apply(t, &engine.Watermark{W: utc(2026, 2, 5)})
		}
		l.show()
		list := naiveList(l.desk.view)
		for sort := range numAccountSorts {
			for _, descending := range []bool{false, true} {
				want := naiveOrder(list, sort, descending)
				q := AccountQuery{Sort: sort, Descending: descending, Wait: true}
				got, last := pages(t, l.desk, q, 1+r.IntN(len(list)+1))
				if !slices.Equal(got, want) || last.Total != len(list) || last.Matched != len(list) {
					t.Fatalf("seed %d, step %d, sort %d, descending %v, %d of %d:\n%v, want\n%v",
						seed, step, sort, descending, last.Matched, last.Total, got, want)
				}
				q.Prefix = "acc-0001"
				got, last = pages(t, l.desk, q, 1+r.IntN(9))
				want = slices.DeleteFunc(want, func(id string) bool {
					return !strings.HasPrefix(id, q.Prefix)
				})
				if !slices.Equal(got, want) || last.Total != len(want) {
					t.Fatalf("seed %d, step %d, sort %d, prefix: %v, want %v", seed, step, sort, got, want)
				}
			}
		}
	}
}

// TestAccountsForward asks with a view that is older than one that was shown: the answer is of the
// later one, and has all its accounts.
func TestAccountsForward(t *testing.T) {
	l := newListed(t, 1)
	defer l.desk.accounts.close()
	l.open(t, 1, 2)
	old := l.show()
	l.open(t, 3)
	v := l.show()
	for _, q := range []AccountQuery{{Limit: 9}, {Limit: 9, Sort: BySoFar, Wait: true}} {
		for _, shown := range []*engine.View{v, old} {
			p, err := l.desk.Accounts(t.Context(), shown, q)
			if err != nil || p.View != v || len(p.IDs) != 3 {
				t.Errorf("%+v: %+v, %v", q, p, err)
			}
		}
	}
}

// TestAccountsAfter goes on behind an id that is there or not, with and without a filter.
func TestAccountsAfter(t *testing.T) {
	l := newListed(t, 1)
	defer l.desk.accounts.close()
	for i := range 60 {
		l.open(t, i)
	}
	v := l.show()
	all := v.AccountIDs("")
	none, err := ParseAccountFilter("!nothing")
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{"acc-000000", "acc-000021", "acc-000021x", "a", "z", "acc-00002"} {
		for _, prefix := range []string{"", "acc-00002", "b"} {
			for i := range 4 {
				q := AccountQuery{Prefix: prefix, After: after, Offset: 2, Limit: 100}
				q.Descending = i%2 == 1
				if i > 1 {
					q.Filter = none
				}
				var want []string
				for _, id := range all {
					if strings.HasPrefix(id, prefix) && id != after && (id > after) != q.Descending {
						want = append(want, id)
					}
				}
				if q.Descending {
					slices.Reverse(want)
				}
				want = want[min(2, len(want)):]
				p, err := l.desk.Accounts(t.Context(), v, q)
				if err != nil || !slices.Equal(p.IDs, want) || p.More {
					t.Errorf("%+v: %v, want %v (%v)", q, p.IDs, want, err)
				}
			}
		}
	}
}

// TestAccountFilters compares filters with a naive reading of them.
func TestAccountFilters(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	l := newListed(t, 1)
	defer l.desk.accounts.close()
	var uses []int
	for i := range 150 {
		l.open(t, i)
		uses = append(uses, slices.Repeat([]int{i}, r.IntN(6))...)
	}
	l.use(t, 12, uses)
	l.show()
	list := naiveList(l.desk.view)
	words := []string{
		"acc-0000", "ACME", "größe", "GRÖSSE", "7", "!7", "plan:pro", "!plan:yen", "plan:pr", ">3.50",
		">=3.50", "<=3.50", "<3.50", "<100", "!>1", ">-1", "acc:1", "!acme",
	}
	for range 300 {
		var filter []string
		for range 1 + r.IntN(3) {
			filter = append(filter, words[r.IntN(len(words))])
		}
		f, err := ParseAccountFilter(strings.Join(filter, " "))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range list {
			if !slices.ContainsFunc(filter, func(w string) bool { return !naiveHolds(&list[i], w) }) {
				want = append(want, list[i].id)
			}
		}
		got, last := pages(t, l.desk, AccountQuery{Filter: f, Wait: true}, 1+r.IntN(50))
		if !slices.Equal(got, want) || last.Matched != len(want) || last.Total != len(list) {
			t.Fatalf("seed %d, filter %q: %d of %d, %v, want %v", seed, filter, last.Matched,
				last.Total, got, want)
		}
	}
}

func naiveHolds(n *naive, word string) bool {
	if rest, not := strings.CutPrefix(word, "!"); not {
		return (n.soFar != nil || !strings.ContainsAny(word, "<>")) && !naiveHolds(n, rest)
	}
	if plan, is := strings.CutPrefix(word, "plan:"); is {
		return slices.Contains(n.plans, plan)
	}
	if strings.ContainsAny(word[:1], "<>") {
		than, _ := new(big.Rat).SetString(strings.TrimLeft(word, "<>="))
		if n.soFar == nil {
			return false
		}
		c := n.soFar.Cmp(than)
		return c < 0 && word[0] == '<' || c > 0 && word[0] == '>' || c == 0 && word[1] == '='
	}
	word = strings.ToLower(word)
	return strings.Contains(n.id, word) || n.name != n.id && strings.Contains(n.name, word)
}

func TestBadAccountFilters(t *testing.T) {
	for _, text := range []string{"plan:", "!", ">", "<x", ">=1,5", "a !plan:", "!>", "><1"} {
		_, err := ParseAccountFilter(text)
		if bad, ok := err.(*FilterError); !ok || !strings.Contains(text, bad.Word) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if f, err := ParseAccountFilter("  "); err != nil || len(f.words) > 0 {
		t.Errorf("blanks: %v, %v", f, err)
	}
}

// TestTotals adds up periods of several currencies, and of one whose digits have changed.
func TestTotals(t *testing.T) {
	of := func(currency string, digits int, soFar, closed int64) engine.OpenPeriod {
		return engine.OpenPeriod{
			Currency: currency, Digits: digits,
			SoFar:       &engine.Invoice{Total: decimal.AmountOf(soFar)},
			IfClosedNow: &engine.Invoice{Total: decimal.AmountOf(closed)},
		}
	}
	open := []engine.OpenPeriod{
		of("USD", 2, 100, 150), of("EUR", 2, 1, 2), of("USD", 4, 5, 6), of("USD", 2, 100, -150),
		{Currency: "CHF", Digits: 2},
	}
	var got []string
	for _, total := range Totals(open) {
		got = append(got, total.Currency+" "+total.SoFar.Text(total.Digits)+" "+
			total.IfClosedNow.Text(total.Digits))
	}
	want := []string{"CHF 0.00 0.00", "EUR 0.01 0.02", "USD 2.0005 0.0006"}
	if !slices.Equal(got, want) || Totals(nil) != nil {
		t.Errorf("%q, want %q", got, want)
	}
}
