package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
	"billctl/internal/sink"
)

// rateFlags are the flags of rate.
type rateFlags struct {
	catalog, accounts, mapping string
	format, closeAt            string
	emit, account, output      string
	lines, strict              bool
	shards                     int
}

func newRate(s *session) *cobra.Command {
	var f rateFlags
	c := &cobra.Command{
		Use:   "rate FILE...",
		Short: "Bill usage files by a catalog at once, without any state",
		Long: `Reads usage files (NDJSON, CSV and TSV, also packed by gzip or zstd; Parquet; Arrow) and
says what they cost by a catalog. It writes nothing, keeps nothing and needs no state directory: all
of the usage is known, so nothing is late and the order of files and rows does not matter. The
billing digest that it prints is the same for the same events in any of the formats.

Without --close-at it shows the subtotals of every period that has usage. With it, the periods that
end at or before that time are closed as run would close them, and their invoices are equal to
those of a run, byte for byte.

Rows that are no CloudEvents need a mapping: a YAML file that holds what mapping: holds of a source
in billctl.yaml. - is standard input.`,
		Example: `  billctl rate usage/*.ndjson.gz --catalog catalog
  billctl rate calls.parquet --mapping calls.yaml --close-at 2026-10-01 --emit invoices
  zcat old.gz | billctl rate - --account acme --lines`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return &exitError{
				code: exitUsage, text: "no usage file is named: " + c.UseLine(),
				hint: "name files, or - for standard input: billctl rate usage/*.ndjson",
			}
		},
		RunE: func(_ *cobra.Command, args []string) error { return s.rate(args, &f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.catalog, "catalog", "", "catalog `directory` (default: the configuration's)")
	flags.StringVar(&f.accounts, "accounts", "",
		"`file` of further accounts (CSV or JSONL) on plans of the catalog")
	flags.StringVar(&f.mapping, "mapping", "", "YAML `file` that says how a row becomes an event")
	flags.StringVar(&f.format, "format", "",
		"`form` of files whose name does not tell: "+strings.Join(live.RateFormats(), ", "))
	flags.StringVar(&f.closeAt, "close-at", "",
		"close the periods that end at or before this `time` (2026-10-01, or RFC 3339), without grace")
	flags.StringVar(&f.emit, "emit", "", "`directory` that invoices are written to; needs --close-at")
	flags.StringVar(&f.account, "account", "", "show this account only, by its `id`")
	flags.BoolVar(&f.lines, "lines", false, "show the lines of invoices and subtotals")
	flags.BoolVar(&f.strict, "strict", false, "exit with 3 if rows were rejected")
	flags.IntVar(&f.shards, "shards", 1, "shards of the engine; the result does not depend on it")
	flags.StringVarP(&f.output, "output", "o", "table", "`form` of the answer: "+rateForms)
	return c
}

// check looks at flags that need nothing else.
func (f *rateFlags) check() error {
	if f.shards < 1 || f.shards > maxShards {
		return usageError(fmt.Sprintf("--shards %d is not from 1 to %d", f.shards, maxShards))
	}
	if f.format != "" && !slices.Contains(live.RateFormats(), f.format) {
		return usageError(fmt.Sprintf("--format %s is none of: %s", f.format,
			strings.Join(live.RateFormats(), ", ")))
	}
	if f.emit != "" && f.closeAt == "" {
		return &exitError{
			code: exitUsage, text: "--emit without --close-at: only closed periods have invoices",
			hint: "say up to when: --close-at 2026-10-01",
		}
	}
	return nil
}

func (s *session) rate(files []string, f *rateFlags) error {
	if err := errors.Join(s.checkRateForm(f.output), f.check()); err != nil {
		return err
	}
	closeAt, err := parseInstant("--close-at", f.closeAt)
	if err != nil {
		return err
	}
	o := live.RateOptions{
		Files: files, Stdin: s.stdin, Format: f.format, Shards: f.shards, CloseAt: closeAt,
	}
	if err := s.rateInputs(&o, f); err != nil {
		return err
	}
	var target *sink.Dir // opened first: a bad one must not cost the reading
	if f.emit != "" {
		if target, err = s.rateTarget(f.emit); err != nil {
			return err
		}
		defer target.Close() // what was delivered is durable
	}
	a := &rating{flags: f, closeAt: closeAt}
	o.Emit = func(inv *engine.Invoice) error {
		a.invoices = append(a.invoices, inv)
		return nil
	}
	start, bar := time.Now(), newProgress(s)
	o.Progress = func(rows uint64) {
		bar.line(fmt.Sprintf("rating: %s, %s", counted(rows, "row"),
			time.Since(start).Round(time.Second)))
	}
	defer spareThreads()()
	a.result, err = live.Rate(s.ctx, o)
	bar.clear()
	if err != nil {
		return rateError(err)
	}
	a.seconds = time.Since(start).Seconds()
	if target != nil {
		if err := rateDeliver(s.ctx, target, a.invoices); err != nil {
			return err
		}
		s.say("wrote %s to %s", counted(uint64(len(a.invoices)), "invoice"), f.emit)
	}
	if err := a.collect(); err != nil {
		return err
	}
	if err := s.rateAnswer(a); err != nil {
		return err
	}
	return s.rateOutcome(a)
}

// rateInputs reads catalog, accounts and mapping.
func (s *session) rateInputs(o *live.RateOptions, f *rateFlags) error {
	dir := f.catalog
	if dir == "" {
		if err := s.load(); err != nil {
			return err
		}
		dir = s.path(s.config.Catalog)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return &exitError{
			code: exitUsage, text: fmt.Sprintf("there is no catalog directory %s", dir),
			hint: "name the one that prices this usage: --catalog DIR; billctl init writes one to " +
				"start from",
		}
	}
	var err error
	if o.Catalog, err = formats.ReadCatalog(os.DirFS(dir)); err != nil {
		return under(dir, err)
	}
	if f.accounts != "" {
		if o.Accounts, err = rateAccounts(dir, f.accounts); err != nil {
			return err
		}
	}
	if f.mapping != "" {
		data, err := os.ReadFile(f.mapping)
		if err != nil {
			return &exitError{
				code: exitUsage, text: "read mapping: " + err.Error(),
				hint: "a mapping is a YAML file such as: {id: [$.file, $.row], type: {const: call}, " +
					"subject: $.customer, time: $.at, data: {minutes: $.minutes}}",
			}
		}
		if o.Mapping, err = formats.ReadMapping(f.mapping, data); err != nil {
			return err
		}
	}
	switch {
	case len(o.Catalog.Plans) == 0:
		return &exitError{
			code: exitUsage, text: fmt.Sprintf("catalog %s has no plan, so every row would be rejected",
				dir),
			hint: "add plans to it, or name another with --catalog",
		}
	case len(o.Catalog.Accounts)+len(o.Catalog.Defaults) == 0 && o.Accounts == nil:
		return &exitError{
			code: exitUsage, text: fmt.Sprintf("catalog %s has neither accounts nor defaults, so "+
				"every row would be rejected", dir),
			hint: "name accounts with --accounts FILE, or give every subject a plan in the catalog: " +
				"defaults: {EVENT TYPE: PLAN}",
		}
	}
	return nil
}

// rateAccounts reads a file of accounts against the plans of a catalog.
func rateAccounts(dir, file string) (*formats.Catalog, error) {
	if ext := filepath.Ext(file); ext != ".csv" && ext != ".jsonl" {
		return nil, usageError(fmt.Sprintf("--accounts %s is neither *.csv nor *.jsonl", file))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &exitError{
			code: exitUsage, text: "read accounts: " + err.Error(),
			hint: "name a CSV or JSONL file of accounts (docs/formats/catalog.md)",
		}
	}
	c, err := formats.ReadAccounts(os.DirFS(dir), filepath.Base(file), data)
	return c, under(filepath.Dir(file), err)
}

// rateError adds the way out to what a rating can't go on with.
func rateError(err error) error {
	var input *live.InputError
	if errors.As(err, &input) {
		return &exitError{code: exitFailed, text: input.Error(), hint: input.Hint, err: err}
	}
	var file *formats.FileError
	if errors.As(err, &file) {
		hint := file.Hint
		if hint == "" {
			hint = "the file is cut, damaged or of another kind, and a part of it would be a wrong bill: " +
				"fetch it again"
		}
		return &exitError{code: exitFailed, text: file.Error(), hint: hint, err: err}
	}
	return err
}

// rateTarget opens the directory that invoices go to.
func (s *session) rateTarget(dir string) (*sink.Dir, error) {
	target, err := sink.NewDir(dir)
	if err == nil {
		return target, nil
	}
	hint := "it must be a directory that this user can write"
	if errors.Is(err, fs.ErrNotExist) {
		hint = "its parent must exist"
	}
	return nil, &exitError{code: exitFailed, text: "--emit: " + err.Error(), hint: hint, err: err}
}

// rateDeliver writes invoices as the sink of a run does, several side by side: each waits for the
// disk.
func rateDeliver(ctx context.Context, target *sink.Dir, list []*engine.Invoice) error {
	errs := make([]error, dirWidth)
	var wg sync.WaitGroup
	for lane := range dirWidth {
		wg.Go(func() {
			for i := lane; i < len(list) && errs[lane] == nil; i += dirWidth {
				errs[lane] = target.Deliver(ctx, live.Delivery{
					Key: formats.InvoiceKey(list[i]), Account: list[i].Account,
					Body: formats.AppendInvoice(nil, list[i]),
				})
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		var conflict *sink.Conflict
		if errors.As(err, &conflict) {
			return &exitError{
				code: exitDiffers, text: conflict.Error(),
				hint: "it was written by another catalog or other usage: name a new directory", err: err,
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rateOutcome says what a person must know and chooses the exit code.
func (s *session) rateOutcome(a *rating) error {
	rejected := a.total.Read - a.total.Counts[engine.Accepted]
	first := slices.IndexFunc(a.total.Counts[1:], func(n uint64) bool { return n > 0 }) + 1
	s.say("read %s: %s accepted, %s rejected", counted(a.total.Read, "row"),
		grouped(a.total.Counts[engine.Accepted]), grouped(rejected))
	if a.total.Read > 0 && rejected == a.total.Read {
		s.say("note: no row counts; %s", rateAdvice(engine.Reason(first)))
	}
	if a.flags.strict && rejected > 0 {
		return &exitError{
			code: exitRejected, text: "rejected: " + counted(rejected, "row"),
			hint: rateAdvice(engine.Reason(first)),
		}
	}
	return nil
}

// rateAdvice says what helps against a reason.
func rateAdvice(reason engine.Reason) string {
	switch reason {
	case engine.ReasonMalformed:
		return "the rows can't be read: the answer names the first of them and why"
	case engine.ReasonUnknownAccount:
		return "no account names their subjects: add subjects to accounts, or defaults to the catalog"
	case engine.ReasonTooEarly:
		return "their times are still to come: a wrong clock, or a wrong unit in the mapping (unix, " +
			"unix_ms)"
	case engine.ReasonNoSubscription:
		return "their accounts have no subscription then: look at the times, and at from and to"
	case engine.ReasonUnmatched:
		return "no meter of their plans counts them: compare type and properties with the meters"
	case engine.ReasonBadValue, engine.ReasonOverflow:
		return "a meter can't count their value: map the property that holds a number"
	case engine.ReasonConflict, engine.ReasonDuplicate:
		return "their ids were there before: is a file named twice, is the id unique?"
	}
	return "the answer names the first of them"
}
