package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// explainFlags are the flags of explain.
type explainFlags struct {
	output  string
	archive []string
	limit   int
	shards  int
}

func newExplain(s *session) *cobra.Command {
	var f explainFlags
	c := &cobra.Command{
		Use:   "explain INVOICE[#LINE]...",
		Short: "Show where the lines of issued invoices come from, down to the events",
		Long: `Replays the history of an issued invoice and shows, line by line, the events that count for
it, with the place where each was read, and the computation from their quantity to the amount. An
INVOICE is named by its key, a LINE by its price, followed by /DIMENSION=VALUE where a price bills
by group. Without a LINE all lines are explained.

What is shown was derived again and compared exactly: the events fold to the quantity, the quantity
is rated to the line, an adjustment is the difference to what earlier invoices booked, coupons and
taxes are those of the account, and the invoice in the outbox is the same. Anything that does not
reconcile exits with 4. Events that were taken back or amended are shown as they counted when the
invoice was issued.

The history is that of the configured state, or with --archive of archive files alone. The replay
begins at an opening before the invoice's period where there is one, and changes nothing.`,
		Example: `  billctl explain acme/main/2026-04-01/period
  billctl explain 'acme/main/2026-04-01/period#output/model=large' --limit 0
  billctl explain acme/main/2026-04-01/period --archive /mnt/audit/2026 -o csv`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("limit") && f.output != "table" {
				f.limit = 0
			}
			return s.explain(args, &f)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&f.output, "output", "o", "table",
		"`form` of the answer: table, json, or a row an event as jsonl or csv")
	flags.StringArrayVar(&f.archive, "archive", nil,
		"read archive files at this `path`, not a state; can be repeated")
	flags.IntVar(&f.limit, "limit", 20,
		"events of a line at most; 0: all (which other forms than table show by default)")
	flags.IntVar(&f.shards, "shards", 1, "shards of the engine; the result does not depend on it")
	return c
}

func (f *explainFlags) check() error {
	switch f.output {
	case "table", "json", "jsonl", "csv":
	default:
		return usageError(fmt.Sprintf("-o %s is none of: table, json, jsonl, csv", f.output))
	}
	if f.limit < 0 {
		return usageError(fmt.Sprintf("--limit %d is below 0", f.limit))
	}
	if f.shards < 1 || f.shards > maxShards {
		return usageError(fmt.Sprintf("--shards %d is not from 1 to %d", f.shards, maxShards))
	}
	return nil
}

func (s *session) explain(keys []string, f *explainFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	h, done, err := s.explainHistory(f.archive)
	if err != nil {
		return err
	}
	defer done() // read only
	bar := newProgress(s)
	start := time.Now()
	x, err := live.Explain(s.ctx, h, live.ExplainOptions{
		Keys: keys, Shards: f.shards, Events: f.limit,
		Progress: func(seq engine.Seq) {
			bar.line(fmt.Sprintf("replaying: entry %s, %s", grouped(uint64(seq)),
				time.Since(start).Round(time.Second)))
		},
		Note: func(string) {
			bar.clear()
			s.say("note: more is needed than the opening holds: read again from further back")
		},
	})
	bar.clear()
	if err != nil {
		return unexplained(err)
	}
	a := explainAnswerOf(x)
	switch f.output {
	case "json":
		return json.NewEncoder(s.stdout).Encode(a)
	case "jsonl":
		return s.explainRows(a)
	case "csv":
		return s.explainCSV(a)
	}
	return s.explainTable(a)
}

// explainHistory opens the archive files of --archive, or else the configured state.
func (s *session) explainHistory(archive []string) (*live.History, func() error, error) {
	for _, path := range archive {
		if live.StateOf(path) != "" {
			return nil, nil, &exitError{
				code: exitUsage, text: "--archive " + path + " is a state directory",
				hint: "name it with --state, or its archive directory",
			}
		}
	}
	if len(archive) == 0 {
		return s.history(nil)
	}
	return s.archiveHistory(archive)
}

// unexplained adds code and way out to an error of Explain.
func unexplained(err error) error {
	var unknown *live.UnknownDocumentError
	var differs *live.UnreconciledError
	switch {
	case errors.As(err, &unknown):
		return &exitError{code: exitFailed, text: err.Error(), hint: unknown.Hint, err: err}
	case errors.As(err, &differs):
		return &exitError{
			code: exitDiffers, text: err.Error(), err: err,
			hint: "the history was changed, or this is a fault of billctl: billctl replay compares " +
				"every seal and every invoice",
		}
	}
	return err
}

// explainRow is an event of a line, in a row of its own.
type explainRow struct {
	Schema   string `json:"schema"`
	Document string `json:"document"`
	Line     string `json:"line"`
	Adjusts  string `json:"adjusts,omitempty"` // start date of the closed period
	explainEvent
}

// eachRow calls f with every event of every line.
func (a *explainAnswer) eachRow(f func(*explainRow) error) error {
	for i := range a.Documents {
		d := &a.Documents[i]
		for j := range d.Lines {
			l := &d.Lines[j]
			row := explainRow{Schema: "billctl.explain_event.v1", Document: d.Key, Line: l.Line}
			if l.Adjusts != nil {
				row.Adjusts = l.Adjusts.StartDate
			}
			for _, e := range l.Events {
				row.explainEvent = e
				if err := f(&row); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *session) explainRows(a *explainAnswer) error {
	out := json.NewEncoder(s.stdout)
	return a.eachRow(func(r *explainRow) error { return out.Encode(r) })
}

func (s *session) explainCSV(a *explainAnswer) error {
	w := csv.NewWriter(s.stdout)
	err := w.Write([]string{"document", "line", "adjusts", "seq", "at", "time", "id", "subject",
		"value", "group", "source", "partition", "offset", "place", "amends"})
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	err = a.eachRow(func(r *explainRow) error {
		amends := ""
		if r.Amends != nil {
			amends = strconv.FormatUint(r.Amends.Seq, 10)
		}
		return w.Write([]string{r.Document, r.Line, r.Adjusts, strconv.FormatUint(r.Seq, 10), r.At,
			r.Time, r.ID, r.Subject, r.Value, groupText(r.Group), r.Origin.Source, r.Origin.Partition,
			strconv.FormatInt(r.Origin.Offset, 10), r.Place, amends})
	})
	if err == nil {
		w.Flush()
		err = w.Error()
	}
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

func (s *session) explainTable(a *explainAnswer) error {
	for i := range a.Documents {
		d := &a.Documents[i]
		if i > 0 {
			if err := s.lines(""); err != nil {
				return err
			}
		}
		if err := s.explainDocument(d); err != nil {
			return err
		}
	}
	return s.lines("", "read from "+a.Read.text())
}

func (s *session) explainDocument(d *explainDocument) error {
	who := formats.Visible(d.Account)
	if d.AccountName != "" && d.AccountName != d.Account {
		who = formats.Visible(d.AccountName) + " (" + who + ")"
	}
	same := "no outbox is there to compare it with"
	if d.Outbox {
		same = "the outbox holds the same"
	}
	err := s.lines("invoice "+d.Key,
		fmt.Sprintf("%s, plan %s version %d", who, d.Plan, d.Version),
		fmt.Sprintf("%s of %s to %s (%s)", d.Kind, d.Period.Start, d.Period.End, d.Period.Zone),
		fmt.Sprintf("issued at position %d, %s; %s", d.Seq, d.At, same))
	if err != nil {
		return err
	}
	if len(d.Lines) == 0 {
		if err := s.lines("", "it has no lines: what was used costs nothing"); err != nil {
			return err
		}
	}
	for i := range d.Lines {
		if err := s.explainLine(&d.Lines[i]); err != nil {
			return err
		}
	}
	return s.lines("", d.sums())
}

// sums says how the total comes from the lines.
func (d *explainDocument) sums() string {
	text := ""
	for _, c := range d.Coupons {
		text += "coupon " + formats.Visible(c.ID) + " " + c.Amount + ", "
	}
	text += "subtotal " + d.Subtotal
	for _, c := range d.Credits {
		text += ", credit " + formats.Visible(c.ID) + " " + c.Amount
	}
	for _, t := range d.Taxes {
		text += ", tax "
		if t.Code != "" {
			text += formats.Visible(t.Code) + " "
		}
		text += t.Percent + " % of " + t.Base + " = " + t.Amount
	}
	return text + ", total " + d.Total + " " + d.Currency
}

func (s *session) explainLine(l *explainLine) error {
	if err := s.lines("", formats.Visible(l.title())); err != nil {
		return err
	}
	for _, step := range l.Steps {
		if err := s.lines("  " + formats.Visible(step)); err != nil {
			return err
		}
	}
	if err := s.lines("  reconciles: yes"); err != nil {
		return err
	}
	t := newTable(">seq", "at", "time", "id", "subject", ">value", "group", "read from")
	for _, e := range l.Events {
		from := fmt.Sprintf("%s %s at %d", e.Origin.Source, fileOf(e.Origin.Partition),
			e.Origin.Offset)
		t.add(grouped(e.Seq), e.At, e.Time, e.ID, e.Subject, e.Value, groupText(e.Group), from)
	}
	if err := t.write(s.stdout, "    "); err != nil {
		return err
	}
	if more := l.Count - uint64(len(l.Events)); more > 0 {
		if err := s.lines("    ... " + grouped(more) + " more: --limit 0 shows all"); err != nil {
			return err
		}
	}
	return s.explainBack(l)
}

// explainBack says which events were amended, and which count no longer.
func (s *session) explainBack(l *explainLine) error {
	for _, e := range l.Events {
		if e.Amends == nil {
			continue
		}
		err := s.lines(formats.Visible(fmt.Sprintf("    seq %s amends %s: %s", grouped(e.Seq),
			grouped(e.Amends.Seq), e.Amends.Reason)))
		if err != nil {
			return err
		}
	}
	for _, b := range l.Back {
		how := "taken back"
		if b.Amended {
			how = "amended"
		}
		err := s.lines(formats.Visible(fmt.Sprintf("    seq %s counts no longer: %s by %s at %s: %s",
			grouped(b.Seq), how, grouped(b.By), b.At, b.Reason)))
		if err != nil {
			return err
		}
	}
	if more := l.BackCount - uint64(len(l.Back)); more > 0 {
		return s.lines("    ... " + grouped(more) + " more count no longer: --limit 0 shows all")
	}
	return nil
}

// title names a line and says how it is billed.
func (l *explainLine) title() string {
	how := l.Model
	if l.Meter != "" {
		how = strings.TrimSpace(how + " on " + l.Meter)
	}
	text := l.Line
	if how != "" {
		text += " (" + how + ")"
	}
	if l.Adjusts != nil {
		text += ", adjusting the period of " + l.Adjusts.StartDate
	}
	return strings.TrimSpace(text)
}
