package live

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"time"

	"billctl/engine"
	"billctl/formats"
)

// rateSource is the one configured source of all rows that are rated. Where neither row nor
// mapping names an event's source, it is this.
const rateSource = "rate"

// rateSettings are those by which nothing is too late: there is no present that it would be late
// for. An event is refused only if it lies in the future.
var rateSettings = engine.Settings{
	Grace: engine.DefaultSettings.Grace, Reopen: engine.DefaultSettings.Reopen,
	Horizon: engine.MaxTime, MaxFuture: engine.DefaultSettings.MaxFuture,
}

// RateOptions say what Rate rates. Files and Catalog are needed.
type RateOptions struct {
	Files    []string         // paths; "-" is Stdin
	Stdin    io.Reader        // lines; needed where Files has "-"
	Format   string           // of files that are not told by their first bytes; "": by their name
	Catalog  *formats.Catalog // meters, plans, defaults and accounts
	Accounts *formats.Catalog // further accounts; nil: none
	Mapping  *formats.Mapping // of every row; nil: the rows are CloudEvents
	Shards   int              // 0: one. The result does not depend on it
	// Now is when it is rated: an event that is more than 5 minutes later is too early, unless
	// CloseAt is later still. 0: the system's clock.
	Now     engine.Micros
	CloseAt engine.Micros // close the periods that end at or before it; engine.Past: none
	// Emit gets every invoice in order; nil: nobody.
	Emit      func(*engine.Invoice) error
	Progress  func(rows uint64) // is called now and then; nil: nobody
	BatchRows int               // 0: engine.MaxRows
}

// RateResult is what a rating found.
type RateResult struct {
	View     *engine.View  // at the end
	Billing  engine.Digest // the same for the same events, however they are written and ordered
	Rows     uint64
	Invoices uint64
	Files    []RatedFile   // in the order of RateOptions.Files
	Rejected []RejectedRow // of every reason the first three read, by reason
	Through  engine.Micros // greatest event time that is not too early; Past: none
}

// RatedFile is the control total of one file: every row that was read has one reason.
type RatedFile struct {
	Name   string
	Format string
	Read   uint64
	Counts [engine.NumReasons]uint64
}

// RejectedRow is a row that does not count.
type RejectedRow struct {
	Place   string // file, and byte or row in it
	Reason  engine.Reason
	Fault   string // of a malformed row: why it can't be read
	ID      string // "" of a malformed row, as what follows
	Type    string
	Subject string
	Time    engine.Micros
}

// maxRejected is how many rejected rows are named for each reason.
const maxRejected = 3

// Rate rates usage files by a catalog, with a new engine and without any state: all of the usage is
// known, so there is no watermark, nothing is late, and the order of files and rows does not
// matter, as long as no two events contradict each other by one id (the first one counts then).
//
// It fails with an *InputError or a *formats.FileError where a file can't be read as usage, and
// with an error of Emit. A row without a time is such an error: nothing says when it arrived.
func Rate(ctx context.Context, o RateOptions) (*RateResult, error) {
	if o.Now == 0 {
		o.Now = engine.Micros(time.Now().UnixMicro())
	}
	if o.Mapping != nil && o.Mapping.Time.Path == "" {
		return nil, &InputError{"mapping", "it names no time, so nobody can say which period a row is of",
			"name the column that holds it: time: $.COLUMN"}
	}
	r := &rater{o: &o, shards: NewShards(max(1, o.Shards)), out: &RateResult{}, at: engine.MinTime}
	if err := r.begin(); err != nil {
		return nil, err
	}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	if o.CloseAt != engine.Past {
		if err := r.apply(&engine.Close{T: o.CloseAt, Actor: rateSource}); err != nil {
			return nil, err
		}
	}
	r.finish()
	return r.out, nil
}

// rater is one run of Rate.
type rater struct {
	o      *RateOptions
	shards *Shards
	out    *RateResult
	next   engine.Seq             // last sequence number that was given
	at     engine.Micros          // of the entries
	named  [engine.NumReasons]int // rejected rows of out.Rejected
}

// begin applies what says how to bill.
func (r *rater) begin() error {
	src := &engine.Source{Name: rateSource, Dedupe: true}
	if r.o.Mapping != nil {
		src.Mapping = r.o.Mapping.Text()
	}
	settings := rateSettings
	for _, body := range []engine.Body{
		&engine.Genesis{Format: engine.Format}, &engine.Rules{Ruleset: engine.Ruleset}, &settings, src,
	} {
		if err := r.apply(body); err != nil {
			return err
		}
	}
	for _, c := range []*formats.Catalog{r.o.Catalog, r.o.Accounts} {
		if c == nil {
			continue
		}
		d, err := formats.Diff(r.shards.Pin(), c, engine.MinTime)
		if err != nil {
			return err
		}
		for _, z := range d.Zones {
			if err := r.apply(z); err != nil {
				return err
			}
		}
		for _, change := range d.Split(rateAccounts) {
			change.File = sha256.Sum256(EncodeControl(&change))
			if err := r.apply(&change); err != nil {
				return err
			}
		}
	}
	// The only clock of what follows: events are too early by it, and a close reaches up to it.
	r.at = max(r.o.Now, r.o.CloseAt)
	return nil
}

// rateAccounts bounds the accounts of one change.
const rateAccounts = 50_000

// read applies what the files hold.
func (r *rater) read(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	feed := newRateFeed(ctx, r.o)
	go feed.run()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case p, ok := <-feed.out:
			if !ok {
				r.out.Files = feed.files
				return ctx.Err()
			}
			if p.err != nil {
				return p.err
			}
			if err := r.batch(&feed.files[p.file], p.batch); err != nil {
				return err
			}
			select {
			case feed.used <- p.batch:
			default:
			}
		}
	}
}

// batch applies rows of a file and counts them.
func (r *rater) batch(file *RatedFile, b *engine.Batch) error {
	if row := firstBit(b.TimeDefaulted, b.Len); row >= 0 {
		return &InputError{
			Place:  ratePlace(file, b, row),
			Reason: "the row has no time, so nobody can say which period it is of",
			Hint: "rate has no arrivals to go by: give every event a time, or name the column that " +
				"holds it in a mapping: time: $.COLUMN",
		}
	}
	first, rejected := r.next+1, uint64(0)
	err := r.send(b, func(fx *engine.Effects) error {
		for _, j := range fx.Rejections {
			rejected++
			file.Counts[j.Reason]++
			if r.named[j.Reason] < maxRejected {
				r.named[j.Reason]++
				r.out.Rejected = append(r.out.Rejected, rejectedRow(file, b, int(j.Seq-first), j.Reason))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	file.Read += uint64(b.Len)
	file.Counts[engine.Accepted] += uint64(b.Len) - rejected
	r.out.Rows += uint64(b.Len)
	if r.o.Progress != nil {
		r.o.Progress(r.out.Rows)
	}
	return nil
}

// apply applies a control entry and hands its invoices on.
func (r *rater) apply(body engine.Body) error {
	return r.send(body, func(fx *engine.Effects) error {
		for _, f := range fx.Refusals {
			return fmt.Errorf("apply catalog: %s", f.What)
		}
		for _, inv := range fx.Invoices {
			r.out.Invoices++
			if r.o.Emit == nil {
				continue
			}
			if err := r.o.Emit(inv); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r *rater) send(body engine.Body, emit func(*engine.Effects) error) error {
	e := &engine.Entry{Seq: r.next + 1, At: r.at, Body: body}
	r.next += e.Seqs()
	return r.shards.Apply(e, emit)
}

func (r *rater) finish() {
	r.out.View = r.shards.Pin()
	r.out.Billing, _ = engine.NewDigester().Digests(r.out.View, engine.AllBuckets())
	slices.SortStableFunc(r.out.Rejected, func(a, b RejectedRow) int {
		return cmp.Compare(a.Reason, b.Reason)
	})
	r.out.Through = engine.Past
	for _, c := range r.out.View.Controls() {
		r.out.Through = max(r.out.Through, c.Greatest)
	}
}

func rejectedRow(file *RatedFile, b *engine.Batch, row int, reason engine.Reason) RejectedRow {
	out := RejectedRow{Place: ratePlace(file, b, row), Reason: reason}
	if reason == engine.ReasonMalformed {
		for i := range b.Malformed {
			if b.Malformed[i].Row == row {
				out.Fault = b.Malformed[i].Fault
			}
		}
		return out
	}
	out.ID, out.Time = string(b.ID.At(row)), b.Time[row]
	out.Type, _ = b.Type.At(row)
	out.Subject, _ = b.Subject.At(row)
	return out
}

// ratePlace says where a row was read, for people.
func ratePlace(file *RatedFile, b *engine.Batch, row int) string {
	unit := "byte"
	if file.Format == RateParquet || file.Format == RateArrow {
		unit = "row"
	}
	return fmt.Sprintf("%s at %s %d", file.Name, unit, b.Origin.Offset[row])
}

// firstBit returns the first of n rows that is in the set, -1 if none is.
func firstBit(set engine.Bits, n int) int {
	for i, w := range set {
		if row := i*64 + bits.TrailingZeros64(w); w != 0 && row < n {
			return row
		}
	}
	return -1
}
