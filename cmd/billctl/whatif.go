package main

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/live"
)

// whatIfWords are the first thing that a what-if says, so that no one takes it for a bill.
const whatIfWords = "what-if: the same usage under other prices; nothing is billed; " +
	"seals are not compared"

// whatIfMost is how many rows a table shows of those that differ.
const whatIfMost = 20

// whatIfFlags are the flags of whatif.
type whatIfFlags struct {
	catalog, accounts, by, period, output string
	all                                   bool
}

func newWhatIf(s *session) *cobra.Command {
	var f whatIfFlags
	c := &cobra.Command{
		Use:   "whatif [ARCHIVE|STATE...] --catalog DIR",
		Short: "Bill the same usage under another catalog and show what would differ",
		Long: `Applies a history (archive files, directories of them, or a state directory) twice: as it
was billed, and with the meters, plans and defaults of another catalog from its first one on. It
compares every line of every invoice, with its adjustments, before credits. It issues nothing,
changes nothing and needs no configuration.

Plan versions of the catalog take effect by their dates, also where these have passed. Accounts and
their subscriptions are those of the history, or of a file of accounts: --accounts. Periods that are
still open are billed by no invoice and are left out.

The exit code is 0 whether or not something differs.`,
		Example: `  billctl whatif state --catalog next/catalog
  billctl whatif /mnt/audit/2026 --catalog next/catalog --period 2026-04 --by account --all
  billctl whatif state --catalog next/catalog -o parquet > lines.parquet`,
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(s); err != nil {
				return err
			}
			o, err := f.options()
			if err != nil {
				return err
			}
			h, done, err := s.history(args)
			if err != nil {
				return err
			}
			defer done() // read only
			return s.whatIf(h, o, &f)
		},
	}
	c.Flags().StringVar(&f.catalog, "catalog", "", "`directory` of the other catalog")
	c.Flags().StringVar(&f.accounts, "accounts", "",
		"`file` of accounts and subscriptions to bill instead of the history's: *.csv or *.jsonl")
	c.Flags().StringVar(&f.by, "by", "", "what a row is: plan, account or line (default: a table has "+
		"plans and accounts, the other forms lines)")
	c.Flags().StringVar(&f.period, "period", "", "only periods that begin in this `month`: 2026-04")
	c.Flags().BoolVar(&f.all, "all", false,
		fmt.Sprintf("show every row that differs, not only the %d that do most; tables only", whatIfMost))
	c.Flags().StringVarP(&f.output, "output", "o", "table",
		"`form` of the answer: table, json, jsonl, csv, parquet or arrow")
	return c
}

// check says what is wrong with the flags.
func (f *whatIfFlags) check(s *session) error {
	switch {
	case f.catalog == "":
		return &exitError{
			code: exitUsage, text: "--catalog is missing",
			hint: "copy the catalog, change its prices, and name the copy: --catalog next/catalog",
		}
	case !slices.Contains([]string{"", "plan", "account", "line"}, f.by):
		return usageError(fmt.Sprintf("--by %s is none of: plan, account, line", f.by))
	case !slices.Contains([]string{"table", "json", "jsonl", "csv", "parquet", "arrow"}, f.output):
		return usageError("-o " + f.output + " is none of: table, json, jsonl, csv, parquet, arrow")
	case slices.Contains([]string{"parquet", "arrow"}, f.output) && isTerminal(s.stdout):
		return &exitError{
			code: exitUsage, text: "-o " + f.output + " is not for a terminal",
			hint: "send it to a file: > lines." + f.output,
		}
	}
	if _, err := time.Parse("2006-01", f.period); f.period != "" && err != nil {
		return usageError(fmt.Sprintf("--period %s is no month like 2026-04", f.period))
	}
	return nil
}

// options reads the catalog, and the accounts if a file is named.
func (f *whatIfFlags) options() (o live.WhatIfOptions, err error) {
	o.Month = f.period
	if st, err := os.Stat(f.catalog); err != nil || !st.IsDir() {
		return o, &exitError{
			code: exitUsage, text: fmt.Sprintf("there is no catalog directory %s", f.catalog),
			hint: "name a directory of YAML files with --catalog",
		}
	}
	if o.Catalog, err = formats.ReadCatalog(os.DirFS(f.catalog)); err != nil {
		return o, under(f.catalog, err)
	}
	if len(o.Catalog.Plans) == 0 {
		return o, &exitError{
			code: exitUsage, text: fmt.Sprintf("catalog %s has no plan", f.catalog),
			hint: "name a whole catalog: what it lacks is not taken from the history",
		}
	}
	if f.accounts == "" {
		return o, nil
	}
	if ext := filepath.Ext(f.accounts); ext != ".csv" && ext != ".jsonl" {
		return o, usageError(fmt.Sprintf("read accounts: %s is neither *.csv nor *.jsonl", f.accounts))
	}
	data, err := os.ReadFile(f.accounts)
	if errors.Is(err, fs.ErrNotExist) {
		return o, usageError("there is no file of accounts " + f.accounts)
	}
	if err != nil {
		return o, fmt.Errorf("read accounts: %w", err)
	}
	o.Accounts, err = formats.ReadAccounts(os.DirFS(f.catalog), filepath.Base(f.accounts), data)
	return o, under(filepath.Dir(f.accounts), err)
}

func (s *session) whatIf(h *live.History, o live.WhatIfOptions, f *whatIfFlags) error {
	bar := newProgress(s)
	start := time.Now()
	o.Progress = func(seq engine.Seq) {
		bar.line(fmt.Sprintf("billing twice: position %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	}
	r, err := live.WhatIf(s.ctx, h, o)
	bar.clear()
	var fault *live.WhatIfError
	if errors.As(err, &fault) {
		return &exitError{
			code: exitUsage, text: "catalog " + f.catalog + ": " + fault.Reason, hint: fault.Hint, err: err,
		}
	}
	if err != nil {
		return wholeHistory(h, under(filepath.Dir(f.accounts), err))
	}
	if f.output != "table" {
		s.say(whatIfWords)
	}
	s.whatIfNotes(r)
	if err := s.whatIfAnswer(h, r, f); err != nil || r.Diverged == nil {
		return err
	}
	return &exitError{
		code: exitDiffers,
		text: "what is called billed is not what was billed: " + r.Diverged.Error(),
		hint: "the history was changed: billctl replay says where", err: r.Diverged,
	}
}

// whatIfAnswer writes the comparison in the form that was asked for.
func (s *session) whatIfAnswer(h *live.History, r *live.WhatIfResult, f *whatIfFlags) error {
	switch f.output {
	case "table":
		return s.whatIfTable(r, f)
	case "json":
		return json.NewEncoder(s.stdout).Encode(whatIfAnswerOf(h, r, f))
	}
	out := bufio.NewWriter(s.stdout)
	return errors.Join(formats.WriteReport(out, f.output, whatIfReport(r, f.level())), out.Flush())
}

// wholeHistory adds the way out where files are missing: a what-if can't begin from an opening.
func wholeHistory(h *live.History, err error) error {
	var archive *live.ArchiveError
	parts := h.Parts()
	if !errors.As(err, &archive) || h.Dir() != nil || parts[0].First == 1 && len(h.Gaps()) == 0 {
		return err
	}
	return &exitError{
		code: exitArchive, text: err.Error(), err: err,
		hint: "name all files: a what-if bills everything from the first entry on",
	}
}

// level is what a row of a machine's form is.
func (f *whatIfFlags) level() string { return cmp.Or(f.by, "line") }

// whatIfNotes says what a person must know of a comparison before its amounts.
func (s *session) whatIfNotes(r *live.WhatIfResult) {
	if r.Altered > 0 {
		s.say("note: changed in the archive after it was journaled: %s; billctl replay names them",
			counted(r.Altered, "row"))
	}
	for _, refusal := range r.Refusals {
		s.say("note: under this catalog entry %d has no effect, or a part of it: %s", refusal.Seq,
			formats.Visible(refusal.What))
	}
	if more := r.Refused - len(r.Refusals); more > 0 {
		s.say("note: and %s more like these", counted(uint64(more), "refusal"))
	}
}

// whatIfAnswer is the answer of whatif.
type whatIfAnswer struct {
	Schema    string           `json:"schema"`
	Journal   string           `json:"journal"`
	Seq       uint64           `json:"seq"`
	At        string           `json:"at"`
	By        string           `json:"by"`
	Period    *string          `json:"period"`
	Rows      uint64           `json:"usage_rows"`
	Documents whatIfCount      `json:"documents"`
	Lines     int              `json:"lines"`
	Differ    int              `json:"differ"`
	Open      int              `json:"open_accounts"`
	Altered   uint64           `json:"altered_rows"`
	Totals    []whatIfRow      `json:"totals"`
	Rejected  []whatIfRejected `json:"rejected"`
	Refused   int              `json:"refused"`
	Refusals  []whatIfRefusal  `json:"refusals"`
	Results   []whatIfRow      `json:"results"`
}

type whatIfCount struct {
	Billed uint64 `json:"billed"`
	Would  uint64 `json:"would_be"`
}

type whatIfRejected struct {
	Reason string `json:"reason"`
	whatIfCount
}

type whatIfRefusal struct {
	Seq  uint64 `json:"seq"`
	What string `json:"what"`
}

// whatIfRow is a row of an answer; a plan, an account or a line leaves out what it has not.
type whatIfRow struct {
	Plan         string `json:"plan,omitempty"`
	Account      string `json:"account,omitempty"`
	Subscription string `json:"subscription,omitempty"`
	Period       string `json:"period,omitempty"`
	PeriodStart  string `json:"period_start,omitempty"`
	Line         string `json:"line,omitempty"`
	Price        string `json:"price,omitempty"`
	Currency     string `json:"currency"`
	Lines        int    `json:"lines,omitempty"`
	Differ       *int   `json:"differ,omitempty"`
	Billed       string `json:"billed"`
	WouldBe      string `json:"would_be"`
	Difference   string `json:"difference"`

	change decimal.Amount // Difference, to sort by
}

func whatIfAnswerOf(h *live.History, r *live.WhatIfResult, f *whatIfFlags) *whatIfAnswer {
	journal := h.Journal()
	a := &whatIfAnswer{
		Schema: "billctl.whatif.v1", Journal: hex.EncodeToString(journal[:]), Seq: uint64(r.Last),
		At: r.At.String(), By: f.level(), Rows: r.Rows, Documents: whatIfCount(r.Documents),
		Lines: len(r.Lines), Open: r.Open, Altered: r.Altered, Totals: sumRows(r.Totals),
		Rejected: []whatIfRejected{}, Refused: r.Refused, Refusals: []whatIfRefusal{},
		Results: whatIfRows(r, f.level()),
	}
	if f.period != "" {
		a.Period = &f.period
	}
	for i := range r.Totals {
		a.Differ += r.Totals[i].Differ
	}
	for _, reason := range r.Rejected {
		a.Rejected = append(a.Rejected,
			whatIfRejected{reason.Reason.String(), whatIfCount(reason.WhatIfCount)})
	}
	for _, refusal := range r.Refusals {
		a.Refusals = append(a.Refusals, whatIfRefusal{uint64(refusal.Seq), refusal.What})
	}
	return a
}

// whatIfRows returns the rows of a level.
func whatIfRows(r *live.WhatIfResult, level string) []whatIfRow {
	switch level {
	case "plan":
		return sumRows(r.Plans)
	case "account":
		return sumRows(r.Accounts)
	}
	rows := make([]whatIfRow, len(r.Lines))
	for i := range r.Lines {
		l := &r.Lines[i]
		rows[i] = whatIfRow{
			Plan: l.Plan, Account: l.Account, Subscription: l.Subscription, Period: l.StartDate,
			PeriodStart: l.Start.String(), Line: l.Line, Price: l.Price, Currency: l.Currency,
		}
		rows[i].amounts(&l.WhatIfAmounts, l.Digits)
	}
	return rows
}

func sumRows(sums []live.WhatIfSum) []whatIfRow {
	rows := make([]whatIfRow, len(sums))
	for i := range sums {
		s := &sums[i]
		rows[i] = whatIfRow{
			Plan: s.Plan, Account: s.Account, Currency: s.Currency, Lines: s.Lines, Differ: &s.Differ,
		}
		rows[i].amounts(&s.WhatIfAmounts, s.Digits)
	}
	return rows
}

func (r *whatIfRow) amounts(a *live.WhatIfAmounts, digits int) {
	r.change = a.Difference()
	r.Billed, r.WouldBe = a.Billed.Text(digits), a.Would.Text(digits)
	r.Difference = r.change.Text(digits)
}

// whatIfReport returns the rows of a level for the forms of formats.WriteReport.
func whatIfReport(r *live.WhatIfResult, level string) *formats.Report {
	text := func(name string) formats.ReportColumn {
		return formats.ReportColumn{Name: name, Kind: formats.ReportText}
	}
	out := &formats.Report{Schema: "billctl.whatif_" + level + ".v1"}
	switch level {
	case "line":
		out.Columns = []formats.ReportColumn{
			text("plan"), text("account"), text("subscription"), text("period"),
			{Name: "period_start", Kind: formats.ReportInstant}, text("line"), text("price"),
			text("currency"),
		}
	default:
		out.Columns = []formats.ReportColumn{
			text(level), text("currency"), {Name: "lines", Kind: formats.ReportWhole},
			{Name: "differ", Kind: formats.ReportWhole},
		}
	}
	for _, name := range []string{"billed", "would_be", "difference"} {
		out.Columns = append(out.Columns, formats.ReportColumn{Name: name, Kind: formats.ReportDecimal})
	}
	for _, row := range whatIfRows(r, level) {
		var cells []string
		switch level {
		case "line":
			cells = []string{
				row.Plan, row.Account, row.Subscription, row.Period, row.PeriodStart, row.Line, row.Price,
				row.Currency,
			}
		default:
			cells = []string{
				row.Plan + row.Account, row.Currency, strconv.Itoa(row.Lines), strconv.Itoa(*row.Differ),
			}
		}
		out.Rows = append(out.Rows, append(cells, row.Billed, row.WouldBe, row.Difference))
	}
	return out
}

func (s *session) whatIfTable(r *live.WhatIfResult, f *whatIfFlags) error {
	about := "amounts are before credits, with adjustments counted to the period that they adjust"
	if f.period != "" {
		about += "; only periods that begin in " + f.period
	}
	text := []string{whatIfWords, about}
	if r.Open > 0 {
		text = append(text, counted(uint64(r.Open), "account")+" with open periods: these are left out")
	}
	if err := s.lines(append(text, "")...); err != nil {
		return err
	}
	if len(r.Lines) == 0 {
		return s.lines("no line: neither catalog bills anything here")
	}
	differ, err := s.whatIfSums(r, f.by)
	if err != nil {
		return err
	}
	lines := counted(uint64(len(r.Lines)), "line")
	switch {
	case differ > 0:
		err = s.lines("", fmt.Sprintf("%s of %s differ", grouped(uint64(differ)), lines))
	case f.period != "": // the documents are of all periods
		err = s.lines("", fmt.Sprintf("no line differs: %s of %s are equal", lines, f.period))
	default:
		err = s.lines("", fmt.Sprintf("no line differs: %s of %s are equal", lines,
			counted(r.Documents.Billed, "document")))
	}
	if err == nil && f.by != "plan" {
		err = s.whatIfDiffering(r, cmp.Or(f.by, "account"), f.all)
	}
	if err != nil {
		return err
	}
	return s.whatIfRejected(r)
}

// whatIfSums shows the plans, if they are asked for, and the totals. It returns how many lines
// differ.
func (s *session) whatIfSums(r *live.WhatIfResult, by string) (differ int, err error) {
	t := newTable("plan", ">lines", ">differ", ">billed", ">would be", ">difference", "")
	add := func(name string, rows []whatIfRow) {
		for _, row := range rows {
			t.add(cmp.Or(name, row.Plan), grouped(uint64(row.Lines)), grouped(uint64(*row.Differ)),
				row.Billed, row.WouldBe, row.Difference, row.Currency)
		}
	}
	if by == "" || by == "plan" {
		add("", sumRows(r.Plans))
	} else {
		t.head[0] = ""
	}
	add("total", sumRows(r.Totals))
	for i := range r.Totals {
		differ += r.Totals[i].Differ
	}
	return differ, t.write(s.stdout, "")
}

// whatIfDiffering shows the accounts or lines that differ, by currency, those that do most first.
func (s *session) whatIfDiffering(r *live.WhatIfResult, level string, all bool) error {
	rows := slices.DeleteFunc(whatIfRows(r, level), func(row whatIfRow) bool {
		if row.Differ != nil {
			return *row.Differ == 0
		}
		return row.Billed == row.WouldBe
	})
	if len(rows) == 0 {
		return nil
	}
	size := func(a decimal.Amount) decimal.Amount {
		if a.Sign() < 0 {
			return a.Neg()
		}
		return a
	}
	slices.SortStableFunc(rows, func(a, b whatIfRow) int {
		return cmp.Or(strings.Compare(a.Currency, b.Currency), size(b.change).Cmp(size(a.change)))
	})
	shown := len(rows)
	if !all {
		shown = min(shown, whatIfMost)
	}
	t := newTable("account", ">lines", ">differ", ">billed", ">would be", ">difference", "")
	if level == "line" {
		t = newTable("plan", "account", "subscription", "period", "line", ">billed", ">would be",
			">difference", "")
	}
	for _, row := range rows[:shown] {
		cells := []string{row.Plan, row.Account, row.Subscription, row.Period, row.Line}
		if level == "account" {
			cells = []string{row.Account, grouped(uint64(row.Lines)), grouped(uint64(*row.Differ))}
		}
		t.add(append(cells, row.Billed, row.WouldBe, row.Difference, row.Currency)...)
	}
	err := errors.Join(s.lines(""), t.write(s.stdout, ""))
	if err == nil && shown < len(rows) {
		err = s.lines(fmt.Sprintf("and %s more that differ; --all shows them",
			counted(uint64(len(rows)-shown), level)))
	}
	return err
}

// whatIfRejected shows for which reasons the two runs rejected different numbers of rows.
func (s *session) whatIfRejected(r *live.WhatIfResult) error {
	t := newTable("rejected rows", ">billed", ">would be")
	for _, reason := range r.Rejected {
		if reason.Billed != reason.Would {
			t.add(reason.Reason.String(), grouped(reason.Billed), grouped(reason.Would))
		}
	}
	if len(t.rows) == 0 {
		return nil
	}
	return errors.Join(s.lines(""), t.write(s.stdout, ""))
}
