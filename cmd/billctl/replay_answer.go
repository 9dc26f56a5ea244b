package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// replayAnswer is the answer of replay.
type replayAnswer struct {
	Schema     string          `json:"schema"`
	Journal    string          `json:"journal"`
	Verdict    string          `json:"verdict"` // docs/formats/api.md says what they mean
	Archive    bool            `json:"archive"` // archive files alone; otherwise a state directory
	Files      int             `json:"files"`
	Bytes      int64           `json:"bytes"`
	Period     string          `json:"period,omitempty"`
	Opening    *replayOpening  `json:"opening"` // null: began from the first entry
	FirstSeq   uint64          `json:"first_seq"`
	Entries    uint64          `json:"entries"`
	Rows       uint64          `json:"rows"`
	LastSeq    uint64          `json:"last_seq"`
	Seals      int             `json:"seals"`
	SealedTo   uint64          `json:"sealed_to"`     // the mark of the last seal
	Unsealed   uint64          `json:"rows_unsealed"` // behind that mark
	Anchored   uint64          `json:"anchored_at,omitempty"`
	Documents  uint64          `json:"documents"`
	Compared   uint64          `json:"documents_compared"`
	Emitted    uint64          `json:"documents_emitted"`
	Before     int             `json:"documents_before_opening"`
	Alerts     uint64          `json:"alerts,omitempty"` // not of a month
	Billing    string          `json:"billing_digest"`
	JournalDg  string          `json:"journal_digest"`
	Seconds    float64         `json:"seconds"`
	RowsPerSec uint64          `json:"rows_per_second"`
	Diverged   string          `json:"diverged,omitempty"`
	Altered    []replayAltered `json:"altered"`
	Changed    []string        `json:"changed"` // archive files, and what is wrong
	Against    *replayAgainst  `json:"against"`
	began      string          // for people
}

type replayOpening struct {
	Path      string `json:"path"`
	Seq       uint64 `json:"seq"`
	Month     string `json:"month"`
	Confirmed bool   `json:"confirmed"` // by the seal of its mark
}

type replayAltered struct {
	File    string        `json:"file"`
	Group   int           `json:"row_group"`
	Row     int64         `json:"row"`
	Seq     uint64        `json:"seq"`
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Subject string        `json:"subject"`
	Time    string        `json:"time"`
	Touches []replayTouch `json:"touches"`
}

type replayTouch struct {
	Account      string `json:"account"`
	Subscription string `json:"subscription"`
	Period       string `json:"period"`
	Line         string `json:"line"`
}

type replayAgainst struct {
	Place        string            `json:"place"`
	Kind         string            `json:"kind"`
	Equal        uint64            `json:"equal"`
	Differing    uint64            `json:"differing"`
	Lacking      uint64            `json:"lacking"`
	FirstLacking string            `json:"first_lacking,omitempty"`
	Extra        uint64            `json:"extra"`
	FirstExtra   string            `json:"first_extra,omitempty"`
	Outside      uint64            `json:"outside"`
	First        *replayDifference `json:"first"`
}

type replayDifference struct {
	Key          string     `json:"key"`
	Account      string     `json:"account"`
	Subscription string     `json:"subscription"`
	Period       string     `json:"period"`
	Part         string     `json:"part"`
	Line         string     `json:"line"`
	For          string     `json:"for,omitempty"`
	Member       string     `json:"member,omitempty"`
	Here         replaySide `json:"here"`
	There        replaySide `json:"there"`
}

type replaySide struct {
	Missing  bool   `json:"missing,omitempty"`
	Quantity string `json:"quantity,omitempty"`
	Exact    string `json:"exact,omitempty"`
	Amount   string `json:"amount,omitempty"`
	Value    string `json:"value,omitempty"`
}

// answer makes the answer of what the replay and the comparison found.
func (r *replaying) answer(a *live.Audit, seconds float64) (*replayAnswer, error) {
	journal := r.h.Journal()
	out := &replayAnswer{
		Schema: "billctl.replay.v1", Journal: hex.EncodeToString(journal[:]), Verdict: word(a),
		Archive: r.h.Dir() == nil, Period: r.f.period, FirstSeq: uint64(a.First), Entries: a.Entries,
		Rows: a.Rows, LastSeq: uint64(a.Last), Seals: a.Seals,
		SealedTo: uint64(a.Sealed), Unsealed: a.Unsealed,
		Anchored: uint64(a.Anchored), Documents: r.documents, Compared: a.Outbox, Emitted: r.emitted,
		Billing: hex.EncodeToString(a.Billing[:]), JournalDg: hex.EncodeToString(a.Journal[:]),
		Seconds: seconds, RowsPerSec: uint64(float64(a.Rows) / max(seconds, 1e-6)),
		Altered: []replayAltered{}, Changed: []string{},
		began: "at the first entry, without configuration",
	}
	if r.month != nil {
		out.Before = r.month.Started
	} else {
		out.Alerts = a.Alerts
	}
	if r.f.expect != "" && a.Anchored == 0 {
		out.Verdict = "diverged"
	}
	if a.Diverged != nil {
		out.Diverged = a.Diverged.Error()
	}
	if o := a.Opening; o != nil {
		out.Opening = &replayOpening{o.Name, uint64(o.Seq), o.Month, confirmed(a)}
		out.began = fmt.Sprintf("at the opening at position %s (month %s), which ",
			grouped(uint64(o.Seq)), o.Month)
		if out.Opening.Confirmed {
			out.began += fmt.Sprintf("the seal at mark %s confirms", grouped(uint64(o.Seq)))
		} else {
			out.began += "no seal confirms"
		}
	}
	for _, al := range a.Altered {
		row := replayAltered{
			File: al.Place.Path, Group: al.Place.Group, Row: al.Place.Row, Seq: uint64(al.Seq),
			ID: al.ID, Type: al.Type, Subject: al.Subject, Time: al.Time.String(),
			Touches: []replayTouch{},
		}
		for _, t := range a.Touched(al) {
			row.Touches = append(row.Touches, replayTouch{t.Account, t.Subscription, t.Period, t.Line})
		}
		out.Altered = append(out.Altered, row)
	}
	for _, err := range a.Changed {
		out.Changed = append(out.Changed, changedFile(err))
	}
	if r.found != nil {
		out.Against = r.comparison()
	}
	return out, r.files(a, out)
}

func (r *replaying) comparison() *replayAgainst {
	c := r.found
	out := &replayAgainst{
		Place: r.against.Name, Kind: r.against.Kind, Equal: c.Equal, Differing: c.Differing,
		Lacking: c.Lacking, FirstLacking: c.FirstLacking, Extra: c.Extra, FirstExtra: c.FirstExtra,
		Outside: c.Outside,
	}
	if d := c.First; d != nil {
		out.First = &replayDifference{
			d.Key, d.Account, d.Subscription, d.Period, d.Part, d.Line, d.For, d.Member,
			replaySide(d.Here), replaySide(d.There),
		}
	}
	return out
}

// word is the verdict of an audit.
func word(a *live.Audit) string {
	var unconfirmed *live.ArchiveError
	switch {
	case len(a.Altered)+len(a.Changed) > 0:
		return "diverged"
	case errors.As(a.Diverged, &unconfirmed):
		return "unconfirmed"
	case a.Diverged != nil:
		return "diverged"
	case a.Anchored > 0:
		return "anchored"
	case a.Seals == 0:
		return "unsealed"
	}
	return "consistent"
}

// confirmed reports whether the seal of the opening's mark agreed.
func confirmed(a *live.Audit) bool {
	var d *live.DivergedError
	if errors.As(a.Diverged, &d) && d.Mark <= a.Opening.Seq {
		return false
	}
	return a.Sealed >= a.Opening.Seq
}

// files counts what the replay read.
func (r *replaying) files(a *live.Audit, out *replayAnswer) error {
	journal := engine.Seq(0) // from there on the journal was read
	if dir := r.h.Dir(); dir != nil {
		segments, err := dir.Segments()
		if err != nil {
			return r.s.inState(err)
		}
		for i, seg := range segments {
			if i == 0 {
				journal = seg.First
			}
			behind := i+1 < len(segments) && segments[i+1].First <= a.First
			if !behind && seg.First <= a.Last {
				out.Files++
				out.Bytes += seg.Size
			}
		}
	}
	for i := range r.h.Parts() {
		p := &r.h.Parts()[i]
		if p.Last >= a.First && p.First <= a.Last && (journal == 0 || p.First < journal) {
			out.Files++
			out.Bytes += p.Bytes
		}
	}
	if a.Opening != nil {
		out.Files++
		out.Bytes += a.Opening.Bytes
	}
	return nil
}

// changedText says which archive file was changed, and the first row and what it touches where that
// is known; "" if none was.
func changedText(a *live.Audit) string {
	switch {
	case len(a.Altered) > 0:
		return alteredText(a)
	case len(a.Changed) == 0:
		return ""
	}
	text := formats.Visible(changedFile(a.Changed[0]))
	if n := len(a.Changed) - 1; n > 0 {
		text += "; and so it is with " + counted(uint64(n), "other file")
	}
	return text
}

// changedFile says that the rows of an archive file are others than its metadata says.
func changedFile(err error) string {
	var file *formats.FileError
	if errors.As(err, &file) {
		return file.Name + ": its rows are not those it was written with"
	}
	return err.Error()
}

// alteredText names the first altered row and what it touches.
func alteredText(a *live.Audit) string {
	al := &a.Altered[0]
	text := fmt.Sprintf("row %d of %s (row group %d) was changed after it was journaled: event %s of "+
		"type %s at %s", al.Place.Row, al.Place.Path, al.Place.Group, formats.Visible(al.ID),
		formats.Visible(al.Type), al.Time)
	switch touches := a.Touched(*al); {
	case len(touches) == 0:
		text += fmt.Sprintf(" touches no account: subject %s belongs to none then",
			formats.Visible(al.Subject))
	default:
		text += " touches account " + formats.Visible(touches[0].Account)
		subscription := ""
		for _, t := range touches {
			if t.Subscription != subscription {
				subscription = t.Subscription
				text += fmt.Sprintf(", subscription %s, period %s", formats.Visible(subscription), t.Period)
			}
			if t.Line != "" {
				text += ", line " + formats.Visible(t.Line)
			} else {
				text += ", no line: no price counts that type"
			}
		}
	}
	if n := len(a.Altered) - 1; n > 0 {
		text += fmt.Sprintf("; and so were %d more at least", n)
	}
	return text
}

// foundText says what differs from the reference.
func (r *replaying) foundText() string {
	c := r.found
	var parts []string
	if c.First != nil {
		parts = append(parts, fmt.Sprintf("%s, the first is %s", counted(c.Differing, "invoice"),
			r.differenceText(c.First)))
	}
	if c.Lacking > 0 {
		text := fmt.Sprintf("%s does not have %s that %s gives, the first is %s", r.against.Name,
			counted(c.Lacking, "invoice"), r.giver(), c.FirstLacking)
		if r.against.Kind == live.DirectoryReference {
			text += " (those behind its last may simply not be delivered yet)"
		}
		parts = append(parts, text)
	}
	if c.Extra > 0 {
		parts = append(parts, fmt.Sprintf("%s has %s that %s does not give, the first is %s",
			r.against.Name, counted(c.Extra, "invoice"), r.giver(), c.FirstExtra))
	}
	return strings.Join(parts, "; ")
}

// giver names the side of the replay.
func (r *replaying) giver() string {
	if r.h.Dir() == nil {
		return "the archive"
	}
	return "the journal"
}

// differenceText says in what two documents differ.
func (r *replaying) differenceText(d *live.Difference) string {
	what := d.Part
	switch d.Part {
	case "line":
		what = "line " + formats.Visible(d.Line)
		if d.For != "" {
			what += " for the time from " + d.For
		}
	case "adjustment":
		what = fmt.Sprintf("adjustment of %s, line %s", d.For, formats.Visible(d.Line))
	case "coupon", "credit", "tax":
		what = d.Part + " " + formats.Visible(d.Line)
	}
	return fmt.Sprintf("account %s, subscription %s, period %s, %s: %s has %s, %s gives %s",
		formats.Visible(d.Account), formats.Visible(d.Subscription), d.Period, what, r.against.Name,
		sideText(d, &d.There), r.giver(), sideText(d, &d.Here))
}

func sideText(d *live.Difference, side *live.Side) string {
	if side.Missing {
		return "none"
	}
	switch {
	case d.Member == "amount" || d.Member == "exact" || d.Member == "quantity" || d.Member == "":
		if side.Amount == "" {
			return orNothing(side.Value)
		}
	default:
		return orNothing(side.Value) + " as its " + d.Member
	}
	var more []string
	for _, m := range []struct{ name, value string }{
		{"quantity", side.Quantity}, {"exact", side.Exact},
	} {
		if m.value != "" {
			more = append(more, m.name+" "+formats.Visible(m.value))
		}
	}
	if len(more) == 0 {
		return formats.Visible(side.Amount)
	}
	return formats.Visible(side.Amount) + " (" + strings.Join(more, ", ") + ")"
}

func orNothing(value string) string {
	if value == "" {
		return "nothing"
	}
	return formats.Visible(value)
}

func (r *replaying) table(a *replayAnswer) error {
	t := newTable("", "")
	t.add("journal", a.Journal)
	t.add("read", fmt.Sprintf("%s, %s bytes", counted(uint64(a.Files), "file"),
		grouped(uint64(a.Bytes))))
	t.add("begins", a.began)
	t.add("entries", fmt.Sprintf("%s with %s rows, to position %s", grouped(a.Entries),
		grouped(a.Rows), grouped(a.LastSeq)))
	if a.Seals > 0 {
		text := fmt.Sprintf("%d compared, the last of position %s", a.Seals, grouped(a.SealedTo))
		if a.Unsealed > 0 {
			text += "; behind it no seal covers " + counted(a.Unsealed, "row")
		}
		t.add("seals", text)
	} else {
		t.add("seals", "none that could be compared")
	}
	t.add("invoices", r.invoicesText(a))
	if a.Alerts > 0 {
		t.add("alerts", grouped(a.Alerts)+" given")
	}
	if r.f.emit != "" {
		t.add("written", fmt.Sprintf("%s to %s", counted(a.Emitted, "invoice"), r.f.emit))
	}
	if c := a.Against; c != nil {
		t.add("against", c.Place+": "+againstText(c))
	}
	for _, al := range a.Altered {
		t.add("changed row", fmt.Sprintf("%s: row group %d: row %d: event %s", al.File, al.Group, al.Row,
			al.ID))
	}
	for _, text := range a.Changed {
		t.add("changed file", text)
	}
	t.add("billing digest", a.Billing)
	t.add("journal digest", a.JournalDg)
	t.add("time", fmt.Sprintf("%.1f s, %s rows/s", a.Seconds, grouped(a.RowsPerSec)))
	t.add("verdict", verdictText(a))
	return t.write(r.s.stdout, "")
}

func (r *replaying) invoicesText(a *replayAnswer) string {
	text := grouped(a.Documents) + " issued"
	if a.Period != "" {
		text = fmt.Sprintf("%s of periods that begin in %s", grouped(a.Documents), a.Period)
	}
	if a.Before > 0 {
		text += fmt.Sprintf("; %s more, in advance, came before the opening", grouped(uint64(a.Before)))
	}
	if !a.Archive && a.Opening == nil {
		text += fmt.Sprintf(", %s compared with the outbox", grouped(a.Compared))
	}
	return text
}

func againstText(c *replayAgainst) string {
	text := counted(c.Equal, "document") + " equal"
	for _, part := range []struct {
		n    uint64
		what string
	}{
		{c.Differing, "differing"}, {c.Lacking, "lacking"}, {c.Extra, "not given by the replay"},
		{c.Outside, "outside of the replay"},
	} {
		if part.n > 0 {
			text += fmt.Sprintf(", %s %s", grouped(part.n), part.what)
		}
	}
	return text
}

// verdictText is the verdict and, where the word alone says too little, what it means.
func verdictText(a *replayAnswer) string {
	switch a.Verdict {
	case "anchored":
		if a.Anchored != a.LastSeq {
			return "anchored at position " + grouped(a.Anchored)
		}
	case "unsealed":
		return "unsealed: no seal is there, so nothing could be compared"
	case "unconfirmed":
		return "unconfirmed: no seal speaks of the opening"
	}
	return a.Verdict
}
