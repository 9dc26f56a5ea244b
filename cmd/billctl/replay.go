package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/sink"
	"billctl/internal/store"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	output, expect, period, emit string
	against                      []string
	shards                       int
}

func newReplay(s *session) *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay [ARCHIVE|STATE...]",
		Short: "Prove the bills: apply the journal again and compare every seal",
		Long: `Applies a history from its first entry to a new engine, without configuration and without
any sink, and compares the digests of every seal. The history is that of a state directory, where
every issued invoice is compared byte for byte as well, or of archive files and directories of them
(*.parquet), which together make one. It changes nothing and works beside a running process.

With --period the replay begins at the newest opening that gives all invoices of the month, and
ends at the seal by which its periods have closed. Invoices of the month that came later
(corrections, and those of an account that was imported for the past) are not among them then. With
--against or --emit the replay goes on to the end of the history, and gives them too.

With --against its invoices are compared with those of another place, and the first line that
differs is named.

Without a difference the history is consistent up to its last seal. With --expect DIGEST, a billing
digest that was written down elsewhere, it is anchored. A history that holds no seal is unsealed:
there was nothing to compare it with.`,
		Example: `  billctl replay
  billctl replay /mnt/audit/2026 --period 2026-04 --against invoices
  billctl replay archive --expect 5f0c... --emit again`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return s.replay(args, &f)
		},
	}
	outputFlag(c, &f.output)
	flags := c.Flags()
	flags.IntVar(&f.shards, "shards", 1, "shards of the engine; the result does not depend on it")
	flags.StringVar(&f.expect, "expect", "", "billing `digest` that the history must reach, whole")
	flags.StringVar(&f.period, "period", "",
		"only invoices of periods that begin in a `month`: 2026-04")
	flags.StringVar(&f.emit, "emit", "",
		"write the invoices into a `directory`, as a directory sink does")
	flags.StringArrayVar(&f.against, "against", nil,
		"compare the invoices with those of a `place`: a state directory, a directory of delivered "+
			"invoices, or an archive (its files by repeating the flag)")
	return c
}

func (f *replayFlags) check() error {
	if f.output != "table" && f.output != "json" {
		return badOutput(f.output)
	}
	if f.shards < 1 || f.shards > maxShards {
		return usageError(fmt.Sprintf("--shards %d is not from 1 to %d", f.shards, maxShards))
	}
	if _, err := hex.DecodeString(f.expect); f.expect != "" && (err != nil || len(f.expect) != 64) {
		return &exitError{
			code: exitUsage,
			text: fmt.Sprintf("--expect %q is not a whole digest: 64 hexadecimal digits", f.expect),
			hint: "billctl replay and billctl state ls print it whole; the beginning of one proves little",
		}
	}
	if _, err := time.Parse("2006-01", f.period); f.period != "" && err != nil {
		return usageError(fmt.Sprintf("--period %q is no month such as 2026-04", f.period))
	}
	return nil
}

// hintChanged is the way out where an archive file was changed.
const hintChanged = "restore that file from a copy, and replay again"

// replaying is one call of replay.
type replaying struct {
	s         *session
	f         *replayFlags
	h         *live.History
	month     *live.MonthReplay // nil: all of it
	against   *live.Reference   // nil: none
	emit      *sink.Dir         // nil: none
	documents uint64            // of the month
	emitted   uint64
	found     *live.Comparison // nil: nothing was compared
}

func (s *session) replay(args []string, f *replayFlags) (err error) {
	h, done, err := s.history(args)
	if err != nil {
		return err
	}
	defer done() // read only
	r := &replaying{s: s, f: f, h: h}
	o, err := r.begin()
	if err != nil {
		return err
	}
	if r.emit != nil {
		defer func() { err = errors.Join(err, r.emit.Close()) }()
	}
	bar := newProgress(s)
	start := time.Now()
	o.Progress = func(seq engine.Seq) {
		bar.line(fmt.Sprintf("replaying: entry %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	}
	a, err := live.Replay(s.ctx, h, o)
	seconds := time.Since(start).Seconds()
	bar.clear()
	if err != nil {
		return r.failed(a, err)
	}
	if r.against != nil {
		if r.found, err = r.against.Result(s.ctx); err != nil {
			return err
		}
	}
	if r.month != nil && r.documents == 0 {
		s.say("note: no invoice of %s was issued in this history: the month had not closed when it "+
			"ends, or nobody is billed for it", f.period)
	}
	out, err := r.answer(a, seconds)
	if err != nil {
		return err
	}
	if f.output == "json" {
		err = json.NewEncoder(s.stdout).Encode(out)
	} else {
		err = r.table(out)
	}
	return errors.Join(err, r.verdict(a, out))
}

// begin finds out where the replay begins and ends, and opens what it is compared with.
func (r *replaying) begin() (o live.ReplayOptions, err error) {
	o.Shards, o.Emit = r.f.shards, r.document
	if r.f.expect != "" {
		o.Expect = new(engine.Digest)
		if _, err := hex.Decode(o.Expect[:], []byte(r.f.expect)); err != nil {
			panic("BUG: --expect was not checked")
		}
	}
	if r.f.period != "" {
		if r.month, err = r.h.Month(r.f.period); err != nil {
			return o, err
		}
		if r.month.Note != "" {
			r.s.say("note: %s", r.month.Note)
		}
		// What comes after the month has closed counts only where invoices are compared or written.
		if o.Opening = r.month.Opening; len(r.f.against) == 0 && r.f.emit == "" {
			o.Until = r.month.Until
		}
	}
	if len(r.f.against) > 0 {
		if err := r.openReference(); err != nil {
			return o, err
		}
	}
	if r.f.emit != "" {
		r.emit, err = sink.NewDir(r.f.emit)
	}
	return o, err
}

func (r *replaying) openReference() (err error) {
	bar := newProgress(r.s)
	defer bar.clear()
	r.against, err = live.OpenReference(r.s.ctx, r.f.against, r.month, r.f.shards,
		func(seq engine.Seq) {
			bar.line(fmt.Sprintf("replaying %s: entry %s", r.f.against[0], grouped(uint64(seq))))
		})
	if err != nil {
		return err
	}
	if a := r.against.Audit; a != nil && word(a) == "diverged" {
		r.s.say("note: %s does not agree with its own seals or rows: billctl replay %s",
			r.against.Name, r.against.Name)
	}
	if n := r.against.Left; n > 0 {
		r.s.say("note: %s of %s are no invoices by their names and were left out",
			counted(uint64(n), "file"), r.against.Name)
	}
	return nil
}

// document takes an invoice of the replay.
func (r *replaying) document(_ *engine.Entry, inv *engine.Invoice) error {
	if r.month != nil && !r.month.Has(inv.StartDate) {
		return nil
	}
	r.documents++
	if r.against == nil && r.emit == nil {
		return nil
	}
	key, body := formats.InvoiceKey(inv), formats.AppendInvoice(nil, inv)
	if r.against != nil {
		r.against.Compare(key, body)
	}
	if r.emit == nil {
		return nil
	}
	d := live.Delivery{Key: key, Account: inv.Account, Body: body}
	if err := r.emit.Deliver(r.s.ctx, d); err != nil {
		return err
	}
	r.emitted++
	return nil
}

// failed says how far a replay came before it failed.
func (r *replaying) failed(a *live.Audit, err error) error {
	var conflict *sink.Conflict
	var mismatch *store.MismatchError
	switch {
	case errors.As(err, &conflict):
		return &exitError{
			code: exitDiffers, text: "write invoices: " + conflict.Error(), err: err,
			hint: "the file there is another document: compare with --against " + r.f.emit +
				", or name an empty directory",
		}
	case errors.As(err, &mismatch):
		return r.mismatch(a, err)
	case r.h.Dir() != nil:
		return r.s.inState(err)
	}
	return err
}

// mismatch says that the outbox of the state holds another document than the replay gives.
func (r *replaying) mismatch(a *live.Audit, err error) error {
	out := &exitError{
		code: exitDiffers, err: err,
		text: fmt.Sprintf("diverged behind position %d, after %s: %v", a.Last,
			counted(uint64(a.Seals), "seal")+" that agree", err),
		hint: "the line that differs is named by: billctl replay --against " + r.s.stateDir,
	}
	if text := changedText(a); text != "" {
		out.text = "diverged: " + text + "; " + err.Error()
		out.hint = hintChanged
	}
	if r.against != nil {
		found, failed := r.against.Result(r.s.ctx)
		if failed != nil {
			return errors.Join(out, failed)
		}
		if found.First != nil {
			out.text += "; " + r.differenceText(found.First)
			out.hint = "keep the directory as it is and compare it with a copy"
		}
	}
	return out
}

// verdict is nil, or says why the answer is not a good one.
func (r *replaying) verdict(a *live.Audit, out *replayAnswer) error {
	var unconfirmed *live.ArchiveError
	differs, changed := "", changedText(a)
	if r.found != nil && !r.found.Same() {
		differs = r.foundText()
	}
	e := &exitError{code: exitDiffers, err: a.Diverged}
	switch {
	case changed != "":
		e.text, e.hint = "diverged: "+changed, hintChanged
	case errors.As(a.Diverged, &unconfirmed):
		return a.Diverged
	case a.Diverged != nil:
		e.text = "diverged: " + a.Diverged.Error()
		e.hint = "the first invoice and line that differ are named by: --against PLACE (a state " +
			"directory, delivered invoices, or another archive)"
		if r.found != nil {
			e.hint = "find a copy of the files that reaches the digests of the seals"
		}
	case r.f.expect != "" && a.Anchored == 0:
		e.text = fmt.Sprintf("diverged: the journal reaches billing digest %s, not %s", out.Billing,
			r.f.expect)
		e.hint = "the journal agrees with its own seals: it was replaced, or that digest was " +
			"written down where it has no seal"
	case differs != "":
		e.text, differs = "differs: "+differs, ""
	default:
		return nil
	}
	if differs != "" {
		e.text += "; " + differs
	}
	return e
}
