package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
	"billctl/internal/live"
)

func newCatalogTest(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Bill the cases written beside the plans and compare what invoices say",
		Long: `Runs the cases of the files *.test.yaml below the catalog directory: each is a subscription
with some usage, and the lines and sums that the invoice of one period must have
(docs/formats/cases.md). The engine of run and rate bills them, so what a case proves is what an
invoice will say. Nothing is written, no state is read.

A case that fails is shown with its lines, - as expected and + as billed; the exit code is then 4.`,
		Example: `  billctl catalog test
  billctl catalog test catalog -o json | jq -r '.cases[] | select(.ok | not) | .name'`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error { return s.catalogTest(args, output) },
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "`form` of the answer: table, json")
	return c
}

func (s *session) catalogTest(args []string, output string) error {
	if output != "table" && output != "json" {
		return badOutput(output)
	}
	dir, err := s.catalogDir(args)
	if err != nil {
		return err
	}
	cases, err := formats.ReadCases(os.DirFS(dir))
	if err != nil {
		return under(dir, err)
	}
	var results []*live.CaseResult
	failed := 0
	for _, c := range cases {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		r, err := live.TestCase(c)
		if err != nil {
			return fmt.Errorf("case %s:%d: %w", path.Join(filepath.ToSlash(dir), c.File), c.Line, err)
		}
		if !r.OK() {
			failed++
		}
		results = append(results, r)
		if output == "table" {
			if err := s.caseText(dir, r); err != nil {
				return err
			}
		}
	}
	if output == "json" {
		err = s.casesJSON(dir, results, failed)
	} else {
		err = s.casesSummary(dir, len(results), failed)
	}
	if err == nil && failed > 0 {
		err = &exitError{
			code: exitDiffers, text: fmt.Sprintf("%d of %s failed", failed,
				counted(uint64(len(results)), "case")),
			hint: "correct the prices, or what the cases expect",
		}
	}
	return err
}

// catalogDir returns the catalog directory of the configuration, or one that was named.
func (s *session) catalogDir(args []string) (string, error) {
	if err := s.load(); err != nil {
		return "", err
	}
	dir := s.path(s.config.Catalog)
	if len(args) > 0 {
		dir = args[0]
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", &exitError{
			code: exitUsage, text: fmt.Sprintf("there is no catalog directory %s", dir),
			hint: "begin with: billctl init", err: err,
		}
	}
	return dir, nil
}

func (s *session) casesSummary(dir string, n, failed int) error {
	if n == 0 {
		return s.lines(dir+": no cases", "write some beside the plans, in "+
			filepath.Join(dir, "NAME.test.yaml")+":",
			"  cases:",
			"    - name: a thousand calls",
			"      plan: PLAN",
			"      period: 2026-03",
			"      usage: {METER: 1000}",
			"      expect: {total: \"29.00\"}")
	}
	return s.lines(fmt.Sprintf("%s: %d ok, %d failed", counted(uint64(n), "case"), n-failed, failed))
}

// caseText shows a case in a line, and below it what differs.
func (s *session) caseText(dir string, r *live.CaseResult) error {
	word := "ok  "
	if !r.OK() {
		word = "FAIL"
	}
	at := path.Join(filepath.ToSlash(dir), r.Case.File)
	err := s.lines(fmt.Sprintf("%s  %s:%d  %s", word, at, r.Case.Line, formats.Visible(r.Case.Name)))
	if err != nil || r.OK() {
		return err
	}
	if r.Problem != "" {
		return s.lines("      " + formats.Visible(r.Problem))
	}
	for i := range r.Events {
		text := path.Join(filepath.ToSlash(dir), rejectionText(&r.Events[i]))
		if err := s.lines("      " + text); err != nil {
			return err
		}
	}
	if r.Invoice == nil && len(r.Lines)+len(r.Sums) > 0 {
		text := "there is no document for the period from " + r.Case.Start.String()
		if err := s.lines("      " + text); err != nil {
			return err
		}
	}
	if err := s.caseLines(r); err != nil {
		return err
	}
	t := newTable("", "", ">", "")
	for _, sum := range r.Sums {
		if sum.Want.Cmp(sum.Got) != 0 {
			t.add("-", sum.Name, moneyText(sum.Want, r.Digits), r.Currency)
			t.add("+", sum.Name, moneyText(sum.Got, r.Digits), r.Currency)
		}
	}
	return t.write(s.stdout, "      ")
}

// rejectionText says what became of usage that the case has otherwise.
func rejectionText(x *live.CaseRejection) string {
	text := fmt.Sprintf("%s:%d: %s", x.Event.File, x.Event.Line, formats.Visible(x.Event.What))
	if x.Rows > 1 {
		text += fmt.Sprintf(" (%d times)", x.Rows)
	}
	switch {
	case x.Reason == engine.Accepted:
		return text + " counts, but " + x.Event.Rejected.String() + " is expected"
	case x.Malformed != "":
		return text + " can't be read: " + formats.Visible(x.Malformed)
	case x.Reason == engine.ReasonUnmatched:
		return text + " is rejected as unmatched: no price of the plan counts it"
	}
	return text + " is rejected as " + x.Reason.String()
}

// caseLines shows the lines of both sides where one differs at least.
func (s *session) caseLines(r *live.CaseResult) error {
	same := true
	for i := range r.Lines {
		same = same && r.Lines[i].Same
	}
	if same {
		return nil
	}
	t := newTable("", "price", "group", ">quantity", ">amount", "")
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.Want != nil && !l.Same {
			note := ""
			if l.Got == nil {
				note = missingText(r, l.Want.Price)
			}
			t.add("-", l.Want.Price, rateGroup(l.Want.Group), anyText(l.Want.Quantity),
				wantText(l.Want.Amount, r.Digits), note)
		}
		if l.Got == nil {
			continue
		}
		mark, note := "+", ""
		if l.Same {
			mark = ""
		} else if l.Want == nil {
			note = "not expected"
		}
		if l.Got.From != r.Invoice.Start {
			note = strings.TrimSpace(note + " (for the next period)")
		}
		t.add(mark, l.Got.Price, rateGroup(l.Got.Group), l.Got.Quantity.String(),
			l.Got.Amount.Text(r.Digits), note)
	}
	return t.write(s.stdout, "      ")
}

// missingText says why the document may have no such line.
func missingText(r *live.CaseResult, price string) string {
	keys := r.Case.Prices()
	if !slices.Contains(keys, price) {
		return "the plan has no such price, but " + strings.Join(keys, ", ")
	}
	return "no such line"
}

func anyText(r *decimal.Rat) string {
	if r == nil {
		return "any"
	}
	return r.String()
}

func wantText(r *decimal.Rat, digits int) string {
	if r == nil {
		return "any"
	}
	return moneyText(*r, digits)
}

// moneyText writes an amount with the digits of its currency, or more where it has more.
func moneyText(r decimal.Rat, digits int) string {
	a := r.Round(digits, decimal.HalfAway)
	if a.Rat(digits).Cmp(r) == 0 {
		return a.Text(digits)
	}
	return r.String()
}

// casesReport is the answer of catalog test (docs/formats/cases.md).
type casesReport struct {
	Schema  string       `json:"schema"`
	Catalog string       `json:"catalog"`
	OK      int          `json:"ok"`
	Failed  int          `json:"failed"`
	Cases   []caseReport `json:"cases"`
}

type caseReport struct {
	Name     string          `json:"name"`
	File     string          `json:"file"`
	Line     int             `json:"line"`
	OK       bool            `json:"ok"`
	Problem  string          `json:"problem,omitempty"`
	Usage    []string        `json:"usage,omitempty"`
	Lines    []caseLine      `json:"lines,omitempty"`
	Sums     []caseSum       `json:"sums,omitempty"`
	Currency string          `json:"currency"`
	Document json.RawMessage `json:"document"`
}

// caseLine is a line that differs; null where one side has none.
type caseLine struct {
	Expected *caseSide `json:"expected"`
	Got      *caseSide `json:"got"`
}

type caseSide struct {
	Price    string     `json:"price"`
	Group    []dimValue `json:"group,omitempty"`
	Quantity *string    `json:"quantity"`
	Amount   *string    `json:"amount"`
}

type caseSum struct {
	Sum      string `json:"sum"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

func (s *session) casesJSON(dir string, results []*live.CaseResult, failed int) error {
	out := casesReport{
		Schema: "billctl.catalog_test.v1", Catalog: dir, OK: len(results) - failed, Failed: failed,
		Cases: []caseReport{},
	}
	for _, r := range results {
		out.Cases = append(out.Cases, reportCase(dir, r))
	}
	return json.NewEncoder(s.stdout).Encode(out)
}

func reportCase(dir string, r *live.CaseResult) caseReport {
	out := caseReport{
		Name: r.Case.Name, File: path.Join(filepath.ToSlash(dir), r.Case.File), Line: r.Case.Line,
		OK: r.OK(), Problem: r.Problem, Currency: r.Currency, Document: rateDocument(r.Invoice),
	}
	for i := range r.Events {
		out.Usage = append(out.Usage, path.Join(filepath.ToSlash(dir), rejectionText(&r.Events[i])))
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		if l.Same {
			continue
		}
		var line caseLine
		if w := l.Want; w != nil {
			line.Expected = &caseSide{Price: w.Price, Group: dimValues(w.Group)}
			if w.Quantity != nil {
				line.Expected.Quantity = textOf(*w.Quantity)
			}
			if w.Amount != nil {
				text := moneyText(*w.Amount, r.Digits)
				line.Expected.Amount = &text
			}
		}
		if g := l.Got; g != nil {
			text := g.Amount.Text(r.Digits)
			line.Got = &caseSide{g.Price, dimValues(g.Group), textOf(g.Quantity), &text}
		}
		out.Lines = append(out.Lines, line)
	}
	for _, sum := range r.Sums {
		if sum.Want.Cmp(sum.Got) != 0 {
			out.Sums = append(out.Sums, caseSum{
				sum.Name, moneyText(sum.Want, r.Digits), moneyText(sum.Got, r.Digits),
			})
		}
	}
	return out
}
