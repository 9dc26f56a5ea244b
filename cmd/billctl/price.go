package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

func newPrice(s *session) *cobra.Command {
	return group("price", "Try a price out before it is in a catalog", newPriceEval(s))
}

// priceFlags are the flags of price eval.
type priceFlags struct {
	file, quantity, events, output string
	group                          []string
}

func newPriceEval(s *session) *cobra.Command {
	var f priceFlags
	c := &cobra.Command{
		Use:   "eval --file PRICE.yaml (--quantity Q | --events FILE)",
		Short: "Say what a quantity, or the events of a file, cost by one price, step by step",
		Long: `Reads one price, as it would stand in a plan, and shows how the amount on an invoice comes
about for one whole period: conversion, free units, every tier, discount, bounds, rounding. It is
the engine of run and rate that works it out. Only the named files are read, nothing is written.

The file has the keys of a price (docs/formats/catalog.md); its key and its meter may be left out.
Beside them it may say currency (USD), digits (those of the currency), rounding (half_away or
half_even) and aggregate (sum; count, min, max, avg), which folds the events into the quantity.

--events reads lines of JSON with data.value and time, or a table (CSV, TSV) with the columns value
and time. A percentage is of each event, in the order of time. - is standard input.`,
		Example: `  billctl price eval --file price.yaml --quantity 2500000
  billctl price eval --file fee.yaml --events payments.ndjson -o json | jq -r .amount
  echo '{model: unit, unit: "0.02", free: 100}' | billctl price eval --file - --quantity 1250`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return s.priceEval(&f) },
	}
	flags := c.Flags()
	flags.StringVar(&f.file, "file", "", "YAML `file` of the price; - is standard input")
	flags.StringVar(&f.quantity, "quantity", "", "the `quantity` of the meter in the period")
	flags.StringVar(&f.events, "events", "", "`file` of events; - is standard input")
	flags.StringArrayVar(&f.group, "group", nil,
		"`dim=value` of the quantity, for prices with match, per or matrix; may be given again")
	flags.StringVarP(&f.output, "output", "o", "table", "`form` of the answer: table, json")
	return c
}

func (s *session) priceEval(f *priceFlags) error {
	switch {
	case f.output != "table" && f.output != "json":
		return badOutput(f.output)
	case f.file == "":
		return &exitError{
			code: exitUsage, text: "no price is named",
			hint: "write one into a file and name it: --file price.yaml",
		}
	case f.quantity != "" && f.events != "":
		return usageError("--quantity and --events exclude each other")
	case f.file == "-" && f.events == "-":
		return usageError("standard input can be the price or the events, not both")
	case f.quantity == "" && len(f.group) > 0:
		return usageError("--group says of which values --quantity is; events have their own")
	}
	data, err := s.priceInput("--file", f.file)
	if err != nil {
		return err
	}
	dir := filepath.Dir(inputName(f.file))
	price, err := formats.ReadPriceFile(os.DirFS(dir), filepath.Base(inputName(f.file)), data)
	if err != nil {
		return under(dir, err)
	}
	uses, err := s.priceUses(price, f)
	if err != nil {
		return err
	}
	e := newEvaluation(price, uses)
	if note := e.uncoveredNote(f.quantity != ""); note != "" {
		s.say("note: %s", note)
	}
	if f.output == "json" {
		return s.priceJSON(e)
	}
	return s.priceTable(e)
}

func inputName(name string) string {
	if name == "-" {
		return "stdin"
	}
	return name
}

// priceInput reads a file that a flag names.
func (s *session) priceInput(flag, name string) ([]byte, error) {
	if name == "-" {
		data, err := io.ReadAll(io.LimitReader(s.stdin, formats.MaxEvents+1))
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return data, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, &exitError{
			code: exitUsage, text: flag + ": " + err.Error(), hint: "name a file that exists, or - for " +
				"standard input", err: err,
		}
	}
	return data, nil
}

// priceUses reads what was used: a quantity or events.
func (s *session) priceUses(price *formats.PriceFile, f *priceFlags) ([]engine.Use, error) {
	if price.Meter == nil {
		if f.events != "" || f.quantity != "" {
			s.say("note: a flat price does not depend on what was used")
		}
		return nil, nil
	}
	if f.events != "" {
		data, err := s.priceInput("--events", f.events)
		if err != nil {
			return nil, err
		}
		return price.ReadUses(inputName(f.events), data)
	}
	if f.quantity == "" {
		return nil, &exitError{
			code: exitUsage, text: "neither --quantity nor --events says what was used",
			hint: "say how much: --quantity 1500, or name events: --events usage.ndjson",
		}
	}
	q, err := decimal.Parse(f.quantity)
	if err != nil {
		text := fmt.Sprintf("--quantity %q is not a decimal", f.quantity)
		if errors.Is(err, decimal.ErrRange) {
			text = "--quantity " + f.quantity + " has more than 20 digits before or 18 after the point"
		}
		return nil, &exitError{code: exitUsage, text: text, hint: "write a plain number: 1234.56"}
	}
	values := map[string]string{}
	for _, text := range f.group {
		dim, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usageError(fmt.Sprintf("--group %s is not dim=value", text))
		}
		values[dim] = value
	}
	use, err := price.UseOf(q, values)
	if err != nil {
		hint := ""
		var bad *formats.GroupError
		if errors.As(err, &bad) {
			hint = bad.Hint
		}
		return nil, &exitError{code: exitUsage, text: err.Error(), hint: hint, err: err}
	}
	return []engine.Use{use}, nil
}

// evaluation is what one price makes of what was used.
type evaluation struct {
	price *formats.PriceFile
	uses  []engine.Use // in order of time
	lines []engine.Line
	split bool // the price has a line for each value of dimensions

	uncovered int // uses that no row of match or matrix covers
}

func newEvaluation(price *formats.PriceFile, uses []engine.Use) *evaluation {
	e := &evaluation{price: price, uses: uses}
	for i := range e.uses {
		e.uses[i].Each = price.Price.Model == engine.Percentage
		if !covered(&price.Price, e.uses[i].Group) {
			e.uncovered++
		}
	}
	slices.SortStableFunc(e.uses, func(a, b engine.Use) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), a.Value.Cmp(b.Value))
	})
	e.split = len(price.Price.Per) > 0 || price.Price.Matrix != nil
	e.lines = e.rate(&price.Price, e.uses)
	if len(e.lines) == 0 && !e.split {
		e.lines = []engine.Line{{Price: price.Price.Key, Model: price.Price.Model}}
	}
	return e
}

// rate returns the lines of some of the uses by the price, or by it without its last steps.
func (e *evaluation) rate(p *engine.Price, uses []engine.Use) []engine.Line {
	return engine.EvalPrice(p, e.price.Meter, engine.UsageOf(uses), e.price.Digits, e.price.Rounding)
}

// usesOf returns the uses that a line is made of.
func (e *evaluation) usesOf(l *engine.Line) []engine.Use {
	var out []engine.Use
	for _, u := range e.uses {
		if covered(&e.price.Price, u.Group) && !slices.ContainsFunc(l.Group,
			func(v engine.GroupValue) bool { return !slices.Contains(u.Group, v) }) {
			out = append(out, u)
		}
	}
	return out
}

// uncoveredNote says how much of what was used the price does not cover; "" for nothing.
func (e *evaluation) uncoveredNote(quantity bool) string {
	switch {
	case e.uncovered == 0:
		return ""
	case quantity:
		return "the quantity is not covered: the price has other values"
	case e.uncovered == 1:
		return fmt.Sprintf("1 of %s is not covered", counted(uint64(len(e.uses)), "event"))
	}
	return fmt.Sprintf("%s of %s are not covered", grouped(uint64(e.uncovered)),
		counted(uint64(len(e.uses)), "event"))
}

// idle reports whether the price covers nothing of what was used, and so bills nothing.
func (e *evaluation) idle() bool {
	sum := e.sum()
	return len(e.lines) == 0 || e.uncovered == len(e.uses) && len(e.uses) > 0 && sum.Exact.IsZero()
}

// covered reports whether the price's match and matrix let a group pass.
func covered(p *engine.Price, group []engine.GroupValue) bool {
	for i := range p.Match {
		m := &p.Match[i]
		if !slices.ContainsFunc(group, func(v engine.GroupValue) bool {
			return v.Dim == m.Dim && !v.Absent && slices.Contains(m.Values, v.Value)
		}) {
			return false
		}
	}
	return p.Matrix == nil || slices.ContainsFunc(p.Matrix.Rows, func(row engine.MatrixRow) bool {
		for i, dim := range p.Matrix.Dims {
			if !slices.Contains(group, engine.GroupValue{Dim: dim, Value: row.Values[i]}) {
				return false
			}
		}
		return true
	})
}

// step is one step from what was used to the amount.
type step struct {
	what, how string
	value     decimal.Rat
}

// quantitySteps are those from the quantity to what is billable. The engine works each of them out:
// by the price without the steps behind it.
func (e *evaluation) quantitySteps(l *engine.Line, uses []engine.Use) []step {
	p := &e.price.Price
	steps := []step{{"quantity", e.quantityWords(len(uses)), l.Quantity}}
	if p.Convert != nil {
		without := *p
		without.Free = decimal.Decimal{}
		steps = append(steps, step{"converted", convertText(p.Convert), e.part(&without, uses).Billable})
	}
	if !p.Free.IsZero() {
		steps = append(steps, step{"billable", "less " + p.Free.String() + " free", l.Billable})
	}
	return steps
}

// amountSteps are those from what the model makes of it to the exact amount.
func (e *evaluation) amountSteps(l *engine.Line, uses []engine.Use) []step {
	p := e.price.Price
	steps := []step{{"price", modelText(&p, l), l.Rated}}
	at := p
	at.Discount, at.Off, at.Commitment = decimal.Decimal{}, decimal.Decimal{}, nil
	at.Minimum, at.Maximum = nil, nil
	add := func(what, how string) {
		steps = append(steps, step{what, how, e.part(&at, uses).Exact})
	}
	if at.Discount = p.Discount; !p.Discount.IsZero() {
		add("discount", "less "+p.Discount.String()+" %")
	}
	if at.Off = p.Off; !p.Off.IsZero() {
		add("discount", "less "+p.Off.String()+", no further than to zero")
	}
	if at.Commitment = p.Commitment; p.Commitment != nil {
		add("commitment", "at least "+p.Commitment.Amount.String()+", what is above it × "+
			p.Commitment.Overage.String())
	}
	if at.Maximum = p.Maximum; p.Maximum != nil {
		add("maximum", "at most "+p.Maximum.String())
	}
	if at.Minimum = p.Minimum; p.Minimum != nil {
		add("minimum", "at least "+p.Minimum.String())
	}
	return steps
}

// part returns the one line of uses that are all of one line.
func (e *evaluation) part(p *engine.Price, uses []engine.Use) engine.Line {
	if lines := e.rate(p, uses); len(lines) > 0 {
		return lines[0]
	}
	return engine.Line{}
}

// paid is what one event pays.
type paid struct {
	use    *engine.Use
	amount decimal.Rat
}

// maxPaid is how many events are shown one by one.
const maxPaid = 1000

// paid returns what the first events of a line pay by a percentage: what they add to those before
// them.
func (e *evaluation) paid(uses []engine.Use, most int) []paid {
	out := make([]paid, 0, min(len(uses), most))
	var before decimal.Rat
	for i := range uses[:min(len(uses), most)] {
		now := e.part(&e.price.Price, uses[:i+1]).Rated
		out = append(out, paid{&uses[i], now.Sub(before)})
		before = now
	}
	return out
}
