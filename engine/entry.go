package engine

// Entry is one numbered thing in the journal.
//
// A batch takes Len sequence numbers (Seq is its first row's), every other body takes one. At is
// when the entry was accepted: the engine's only clock, never decreasing within a journal.
type Entry struct {
	Seq  Seq
	At   Micros
	Body Body
}

// Body is what an entry says. The set is closed: *Batch and the types of this file.
type Body interface{ kind() entryKind }

type entryKind uint8

// The kinds stand in journals for ever: a number is never used again for something else.
const (
	kindBatch     entryKind = 1
	kindGenesis   entryKind = 2
	kindRules     entryKind = 3
	kindSettings  entryKind = 4
	kindSource    entryKind = 5
	kindZone      entryKind = 6
	kindChange    entryKind = 7
	kindCredit    entryKind = 8
	kindWatermark entryKind = 9
	kindClose     entryKind = 10
	kindClock     entryKind = 11
	kindMark      entryKind = 12
	kindSeal      entryKind = 13
	kindWide      entryKind = 14 // a Change with coupons, taxes or budgets
	kindGrant     entryKind = 15 // a Credit with an expiry or a priority
	kindVoid      entryKind = 16
)

// Genesis is the first entry of every journal.
type Genesis struct {
	Journal   [16]byte // random id of the journal
	Partition uint32   // which part of a wider stream this journal is; 0 when it is the whole
	HashKey   [16]byte // of Key
	Format    uint16   // version of the canonical bytes of entries
}

// Rules sets the version of the billing rules from this entry on.
type Rules struct{ Ruleset uint16 }

// Settings holds every setting that can change a bill and is not part of the catalog.
type Settings struct {
	Grace     Micros // from a period's end to its close
	Reopen    Micros // how long after its close a period still takes late usage
	Horizon   Micros // the floor follows the watermark at this distance
	MaxFuture Micros // how far an event's time may lie after its arrival
}

// DefaultSettings are journaled at genesis unless the configuration says otherwise.
var DefaultSettings = Settings{
	Grace: 24 * Hour, Reopen: 35 * OneDay, Horizon: 70 * OneDay, MaxFuture: 5 * Minute,
}

// Source declares, or declares anew, a source of events.
type Source struct {
	Name     string
	Mapping  string // canonical text of the field mapping; "" for CloudEvents
	Disorder Micros // bound of the disorder in event time
	Idle     Micros // after this silence the source no longer holds the watermark; 0: never
	Dedupe   bool   // whether ids are checked; false only by explicit configuration
}

// Zone gives a time zone's rules for [MinTime, MaxTime). The engine knows a zone by this only.
type Zone struct {
	Name        string
	Offset      int32 // seconds east of UTC before the first transition
	Transitions []Transition
}

// Transition is a change of a zone's offset. At is in seconds since 1970, rising.
type Transition struct {
	At     int64
	Offset int32 // seconds east of UTC from At on
}

// Watermark promises that event times before W are complete. It closes periods.
type Watermark struct{ W Micros }

// Close closes the periods that end at or before T, without grace.
type Close struct {
	T      Micros
	Actor  string
	Reason string
}

// Clock freezes the watermark and all closes after the wall clock jumped, or frees them again.
type Clock struct {
	Frozen bool
	Reason string
}

// Void takes an event back that counted. With Amend another version of it counts from then on: both
// happen or neither does (docs/semantics.md, "Corrections").
type Void struct {
	Of     Seq    // the row that counted
	Row    *Batch // the whole of it, as its batch had it: one row
	Amend  *Batch // the new version, one row with the same source, id and subject; nil: none
	Actor  string
	Reason string
}

// Mark is where a checkpoint begins: digests are taken of the state right after it.
type Mark struct{}

// Seal holds the digests that every replay must reach at the Mark with sequence number Of.
type Seal struct {
	Of      Seq
	Billing Digest
	Journal Digest
	Before  Digest // Chain of the seal before; zero for the first
}

// Digest is a SHA-256.
type Digest [32]byte

func (*Batch) kind() entryKind     { return kindBatch }
func (*Genesis) kind() entryKind   { return kindGenesis }
func (*Rules) kind() entryKind     { return kindRules }
func (*Settings) kind() entryKind  { return kindSettings }
func (*Source) kind() entryKind    { return kindSource }
func (*Zone) kind() entryKind      { return kindZone }
func (*Watermark) kind() entryKind { return kindWatermark }
func (*Close) kind() entryKind     { return kindClose }
func (*Clock) kind() entryKind     { return kindClock }
func (*Mark) kind() entryKind      { return kindMark }
func (*Seal) kind() entryKind      { return kindSeal }
func (*Void) kind() entryKind      { return kindVoid }

func (c *Change) kind() entryKind {
	if len(c.Coupons)+len(c.Taxes)+len(c.Budgets) > 0 {
		return kindWide
	}
	return kindChange
}

func (c *Credit) kind() entryKind {
	if c.Expires != 0 || c.Priority != 0 {
		return kindGrant
	}
	return kindCredit
}

// Seqs returns how many sequence numbers the entry takes.
func (e *Entry) Seqs() Seq {
	if b, ok := e.Body.(*Batch); ok {
		return Seq(b.Len)
	}
	return 1
}
