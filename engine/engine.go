package engine

import "slices"

// Ruleset is the newest version of the billing rules that this package knows.
//
// Ruleset 2 bills whatever ruleset 1 could say as that did. It has more to say, and all versions of
// a plan have one currency.
const Ruleset = 2

// Format is the version of the canonical bytes of entries.
const Format = 1

// StateFormat is the version of the canonical bytes of the state (AppendGlobals, EachAccount).
const StateFormat = 3

// maxInvoices bounds the effects of one step of Apply.
const maxInvoices = 1000

// Engine folds entries into the state of shard i of n. It is used by one goroutine.
type Engine struct {
	state
	shard, shards uint32
	keys          Keys
	hash          keyHash

	names      map[string]uint32  // of values; looked up once per distinct value of a batch
	subjects   map[string][]int32 // owners by subject, by rising From
	custom     map[customTerms]int32
	groupTable table
	seriesAt   table
	bagAt      table
	freePeriod []int32
	freeSeries []int32
	voidAt     table
	freeVoids  []int32
	freeBag    []int32

	due     dueHeap  // what waits for the watermark, by the watermark it waits for
	ready   dueHeap  // what the current entry makes due, in the order of documents
	retire  dueHeap  // closed periods that the floor will drop
	closeTo Micros   // of the current entry: closes up to it need no grace
	dirty   []uint64 // buckets changed since the last Digester.Update, as a set
	watched map[string]bool

	spenders   []int32 // accounts that are touched
	oldestVoid Day     // of this shard's accounts

	scratch
}

// Effects is what one step of Apply says. The engine appends; the caller resets it.
type Effects struct {
	Rejections []Rejection // by rising Seq
	Invoices   []*Invoice  // by (end, account, subscription, kind)
	Refusals   []Refusal
	Uses       []Use // of watched accounts (Engine.Watch), by rising Seq
	Alerts     []Alert
}

// Reset empties the effects and keeps the memory.
func (f *Effects) Reset() {
	f.Rejections, f.Invoices, f.Refusals = f.Rejections[:0], f.Invoices[:0], f.Refusals[:0]
	f.Uses, f.Alerts = f.Uses[:0], f.Alerts[:0]
}

// Refusal is a control entry, or a part of one, that has no effect, and why. The sequencer checks
// control entries before it journals them, so a refusal in a journal shows a race or a foreign
// hand.
type Refusal struct {
	Seq  Seq
	What string
}

// New returns an engine before its first entry. keys must be empty and is the engine's from now on.
func New(shard, shards int, keys Keys) *Engine {
	if shards < 1 || shards > Buckets || shard < 0 || shard >= shards {
		panic("BUG: no such shard")
	}
	e := &Engine{
		shard: uint32(shard), shards: uint32(shards), keys: keys,
		names: map[string]uint32{}, subjects: map[string][]int32{}, custom: map[customTerms]int32{},
		dirty: make([]uint64, Buckets/64),
	}
	e.values, e.groups = []string{""}, [][]uint32{nil}
	e.closeTo = Past
	e.zones = []*Zone{{Name: "UTC"}}
	e.watermark, e.floor, e.settings = Past, Past, DefaultSettings
	e.oldestVoid = noVoid
	return e
}

// mine reports whether accounts of the bucket belong to this shard.
func (e *Engine) mine(bucket uint16) bool { return uint32(bucket)%e.shards == e.shard }

func (e *Engine) touch(bucket uint16) { e.dirty[bucket/64] |= 1 << (bucket % 64) }

// Apply folds one entry and appends its effects to fx. If it returns true, the entry has more
// effects: call Resume, again until it returns false, before anything else. Entries must come with
// gap-free sequence numbers and never-decreasing At; anything else is a bug of the caller.
func (e *Engine) Apply(entry *Entry, fx *Effects) (more bool) {
	if entry.Seq != e.seq+1 || entry.At < e.at {
		panic("BUG: entries out of order")
	}
	e.seq += entry.Seqs()
	e.at = entry.At
	switch b := entry.Body.(type) {
	case *Batch:
		e.rows(entry.Seq, b, fx)
	case *Watermark:
		return e.applyWatermark(b, fx)
	case *Close:
		return e.applyClose(b, fx)
	case *Void:
		e.void(entry.Seq, b, fx)
	case *Mark:
	case *Seal:
		e.lastSeal = b.Chain()
	default:
		e.control(entry, fx)
	}
	return false
}

// Resume goes on with an entry for which Apply or Resume returned true.
func (e *Engine) Resume(fx *Effects) (more bool) { return e.closeReady(fx) }

// Seq returns the last sequence number that was applied.
func (e *Engine) Seq() Seq { return e.seq }

// Watermark returns the watermark, Past before the first.
func (e *Engine) Watermark() Micros { return e.watermark }

// NextDue returns the watermark at which something closes, Future if nothing waits.
func (e *Engine) NextDue() Micros {
	if len(e.due.items) == 0 {
		return Future
	}
	return e.due.items[0].at
}

// pin returns an immutable picture of the state.
func (e *Engine) pin() *state {
	if len(e.ready.items) > 0 {
		panic("BUG: pinned in the middle of an entry")
	}
	s := e.state
	s.accounts, s.subs, s.periods = e.accounts.pin(), e.subs.pin(), e.periods.pin()
	s.series, s.owners, s.byID = e.series.pin(), e.owners.pin(), e.byID.pin()
	s.bag, s.voids = e.bag.pin(), e.voids.pin()
	// What the loop writes to in place is copied; these are small.
	s.sources, s.keyDays = slices.Clone(e.sources), slices.Clone(e.keyDays)
	s.positions = slices.Clone(e.positions)
	return &s
}
