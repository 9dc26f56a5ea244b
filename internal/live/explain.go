package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/store"
)

// ExplainOptions say what Explain answers for.
type ExplainOptions struct {
	// Keys name issued documents, "acme/main/2026-04-01/period", or lines of them: a '#' and the
	// line's engine.LineKey behind the document's key. No key twice.
	Keys     []string
	Shards   int               // 0: one
	Events   int               // kept of a line at most; 0: all
	Progress func(engine.Seq)  // is called now and then
	Note     func(note string) // is told why the history is read once more; nil: nobody
}

// Explanation says where the lines of documents come from. Everything in it was derived again and
// compared: an Explanation that does not reconcile is an error.
type Explanation struct {
	Journal   [16]byte
	Opening   *Opening // that the history was read from; nil: the first entry
	First     engine.Seq
	Last      engine.Seq
	Seals     int        // that agree
	Sealed    engine.Seq // the mark that the last of them speaks of; 0: none
	Documents []ExplainedDocument
}

// ExplainedDocument is a document with its lines, in the order of ExplainOptions.Keys.
type ExplainedDocument struct {
	Key     string
	Seq     engine.Seq // of the entry that brought it about
	At      engine.Micros
	Invoice *engine.Invoice
	Outbox  bool // the outbox holds the same bytes; false where there are archive files alone
	Lines   []ExplainedLine
}

// ExplainedLine is a line of a document, or an adjustment, with the events that it comes from.
type ExplainedLine struct {
	Key string // engine.LineKey
	// Line is as the document has it. Of an adjustment it is the line of the closed period as it is
	// now; zero if that has no such line any more.
	Line       engine.Line
	Adjustment *engine.Adjustment // nil: a line
	Price      engine.Price       // of the terms, with the subscription's overrides
	Meter      *engine.Meter      // nil: a flat amount
	Terms      engine.Terms       // of the period that the line is for
	Count      int                // events that count for the line
	Events     []ExplainedEvent   // the first of them, by Seq
	Usage      []engine.Usage     // what they fold to, with the levels that go on from before
	Back       []ExplainedBack    // events that no longer count for the line, at most as many
	BackCount  int                // how many there are
}

// ExplainedEvent is a row that counts for a line.
type ExplainedEvent struct {
	Seq       engine.Seq
	At, Time  engine.Micros
	ID        string
	Subject   string
	Value     decimal.Decimal // 0 for Count and Unique
	Text      string          // Unique
	Group     []engine.GroupValue
	Source    string // where it was read, as configured
	Partition string
	Offset    int64
	Place     Place          // in the journal or in an archive file
	Amends    *ExplainedBack // the version in whose place it stands; nil: it was not amended
}

// ExplainedBack is a row that was taken back, or of which another version counts.
type ExplainedBack struct {
	Seq           engine.Seq // of the row
	By            engine.Seq // of the correction
	At            engine.Micros
	Actor, Reason string
	Amended       bool // another version counts, unless its time or group is of another line
}

// UnreconciledError says that a line of a document does not come from what the history holds.
type UnreconciledError struct {
	Key             string // of the document
	Line            string // "": the document as a whole
	What            string // which figure
	Derived, Issued string
}

func (e *UnreconciledError) Error() string {
	where := e.Key
	if e.Line != "" {
		where += "#" + e.Line
	}
	return fmt.Sprintf("%s does not reconcile: %s is %s by the events, %s in the document",
		where, e.What, e.Derived, e.Issued)
}

// UnknownDocumentError says that there is no document, or no line, to explain.
type UnknownDocumentError struct {
	Key    string
	Reason string
	Hint   string // the way out

	early bool // it may have been issued before the opening that the history was read from
}

func (e *UnknownDocumentError) Error() string { return e.Key + ": " + e.Reason }

// Explain replays a history and says where the lines of documents come from: the events, the prices
// and the steps between. It asserts, with exact figures, that the events of a line fold to what the
// engine counted, that this is rated to the line as it was issued, that an adjustment is the
// difference to what documents before it booked, and that the outbox, if the history has one, holds
// the same document. An *UnreconciledError, a *DivergedError or a *store.MismatchError says that
// something does not agree; an *UnknownDocumentError, that there is nothing to explain.
//
// It begins at an opening that lies before the documents' periods, and again further back if more
// is needed; it ends at the first seal behind the last document. While it reads, it keeps 72 bytes
// and the id of each use, and the texts of Unique once, of the subscriptions asked for alone, until
// their last document is issued or the engine has forgotten the period.
func Explain(ctx context.Context, h *History, o ExplainOptions) (*Explanation, error) {
	asks, err := parseAsks(o.Keys)
	if err != nil {
		return nil, err
	}
	var outbox *store.Outbox
	if h.dir != nil {
		if outbox, err = h.dir.OpenOutbox(); err != nil {
			return nil, err
		}
		defer outbox.Close() // read only
	}
	before := engine.Future
	for _, a := range asks {
		if err := a.find(h.dir, outbox); err != nil {
			return nil, err
		}
		before = min(before, a.start, a.adjusts)
	}
	opening := h.openingBefore(before, asks)
	for why := error(nil); ; {
		x := newExplaining(h, o, asks, outbox)
		out, err := x.run(ctx, opening)
		var incomplete *ArchiveError
		if errors.As(err, &incomplete) && why != nil {
			return nil, fmt.Errorf("read further back, since %w: %w", why, err)
		}
		if err == nil || opening == nil || !lacks(err) {
			return out, err
		}
		why = err
		was := opening
		// What came before the opening is missing: a period that is adjusted began earlier, or so.
		if opening = h.openingBefore(x.earliest, asks); opening != nil && opening.Seq >= was.Seq {
			opening = nil
		}
		if o.Note != nil {
			o.Note("the opening of " + was.Month + " is too late: " + err.Error() +
				"; read again from further back")
		}
	}
}

// lacks reports whether an error can come from beginning too late.
func lacks(err error) bool {
	var unreconciled *UnreconciledError
	var unknown *UnknownDocumentError
	return errors.As(err, &unreconciled) || errors.As(err, &unknown) && unknown.early
}

// openingBefore returns the newest opening of a month before that of an instant, and before the
// documents asked for; nil if there is none. Usage of a period may have come before it all the
// same, where the period's zone is ahead of UTC: then the counts do not reconcile.
func (h *History) openingBefore(t engine.Micros, asks []*ask) *Opening {
	if t == engine.Future {
		return nil
	}
	month := monthText(t)
	for i := len(h.openings) - 1; i >= 0; i-- {
		o := &h.openings[i]
		late := slices.ContainsFunc(asks, func(a *ask) bool { return a.seq != 0 && a.seq <= o.Seq })
		if o.Month < month && !late && h.holds(o.Seq+1, o.Seq+1) {
			return o
		}
	}
	return nil
}

// ask is a document that is to be explained.
type ask struct {
	key                   string
	account, subscription string
	start                 engine.Micros // of its period, a day early or late for the zone
	adjusts               engine.Micros // start of the first period that it adjusts, if known
	all                   bool          // every line
	lines                 []string      // line keys; unless all
	seq                   engine.Seq
	body                  []byte // in the outbox; nil: there is none
	position              int64
}

// parseAsks reads keys of documents and lines. Lines of one document are one ask.
func parseAsks(keys []string) ([]*ask, error) {
	var out []*ask
	for _, text := range keys {
		key, line, part := strings.Cut(text, "#")
		i := slices.IndexFunc(out, func(a *ask) bool { return a.key == key })
		if i < 0 {
			a, err := newAsk(key)
			if err != nil {
				return nil, err
			}
			i = len(out)
			out = append(out, a)
		}
		if a := out[i]; part {
			a.lines = append(a.lines, line)
		} else {
			a.all = true
		}
	}
	return out, nil
}

func newAsk(key string) (*ask, error) {
	k, ok := parseKey(key)
	start, err := time.Parse("2006-01-02", k.date)
	if err != nil {
		start, err = time.Parse(time.RFC3339Nano, k.date)
	}
	if !ok || err != nil {
		return nil, &UnknownDocumentError{
			Key: key,
			Reason: "it is no key of a document: account/subscription/start/kind, where kind is " +
				"period, start or correction",
			Hint: "billctl query invoices lists them",
		}
	}
	return &ask{
		key: key, account: k.account, subscription: k.subscription,
		start: engine.Micros(start.UnixMicro()),
	}, nil
}

// find looks the document up in the outbox of a state directory, if there is one.
func (a *ask) find(dir *store.Dir, outbox *store.Outbox) error {
	a.adjusts = engine.Future
	if outbox == nil {
		return nil
	}
	rec, pos, found, err := outbox.Find(a.key)
	if err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	if !found {
		return a.absent(dir)
	}
	a.seq, a.body, a.position = rec.Seq, rec.Body, pos
	var doc struct {
		Adjustments []struct{ Period struct{ Start time.Time } }
	}
	if err := json.Unmarshal(rec.Body, &doc); err != nil {
		return fmt.Errorf("explain: read document %s: %w", a.key, err)
	}
	for _, d := range doc.Adjustments {
		a.adjusts = min(a.adjusts, engine.Micros(d.Period.Start.UnixMicro()))
	}
	return nil
}

// absent says that a state has not issued the document.
func (a *ask) absent(dir *store.Dir) error {
	desk, err := ReadDesk(dir)
	if err != nil {
		return err
	}
	var others []string
	err = desk.Documents(func(d Document) bool {
		if d.Account == a.account {
			others = append(others, d.Key)
		}
		return true
	})
	if err = errors.Join(err, desk.Close()); err != nil {
		return err
	}
	return a.unknown(desk.view, near(a.key, others))
}

// wants reports whether a line is asked for.
func (a *ask) wants(line string) bool { return a.all || slices.Contains(a.lines, line) }

// unknown says that the history does not issue the document: v is the state at its end, and near
// are keys of other documents of the account.
func (a *ask) unknown(v *engine.View, near []string) error {
	e := &UnknownDocumentError{
		Key: a.key, Reason: "there is no such document", Hint: "billctl query invoices lists them",
		early: true,
	}
	bill, ok := v.Bill(a.account)
	if !ok {
		e.Reason = fmt.Sprintf("there is no account %q", a.account)
		e.Hint = "billctl query accounts lists them"
		return e
	}
	for i := range bill.Open {
		p := &bill.Open[i]
		inv := engine.Invoice{
			Kind: engine.PeriodInvoice, Account: a.account, Subscription: p.Subscription,
			StartDate: p.StartDate,
		}
		if formats.InvoiceKey(&inv) == a.key {
			e.Reason = "its period is not closed: what there is now is a preview, which is not explained"
			e.Hint = "billctl query account " + a.account + " shows it"
			return e
		}
	}
	if len(near) > 0 {
		e.Hint = "the account has: " + strings.Join(near, ", ")
	}
	return e
}
