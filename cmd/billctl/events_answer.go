package main

import (
	"encoding/json"
	"fmt"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

// correctionReport is the answer of events void and events amend.
type correctionReport struct {
	Schema  string             `json:"schema"`
	DryRun  bool               `json:"dry_run"`
	Voided  int                `json:"voided"`
	Amended int                `json:"amended"`
	Rejects int                `json:"rejected"`
	Skipped int                `json:"skipped"`
	Events  []correctionEvent  `json:"events"`
	Periods []correctionPeriod `json:"periods,omitempty"` // of a dry run: those that would change
}

type correctionEvent struct {
	Line    int      `json:"line"` // of the file
	ID      string   `json:"id"`
	Source  string   `json:"source"`
	Subject string   `json:"subject"`
	Time    string   `json:"time"`
	Of      uint64   `json:"of"`      // position of what is corrected
	Outcome string   `json:"outcome"` // voided, amended, or the reason of a rejection
	Account *string  `json:"account,omitempty"`
	Periods []string `json:"periods,omitempty"` // start dates, of a dry run
}

type correctionPeriod struct {
	Account      string            `json:"account"`
	Subscription string            `json:"subscription"`
	StartDate    string            `json:"start_date"`
	Start        string            `json:"start"`
	End          string            `json:"end"`
	State        string            `json:"state"` // open, or closed
	Meters       []correctionMeter `json:"meters"`
	Currency     string            `json:"currency"`
	Adjustment   *correctionChange `json:"adjustment,omitempty"` // of a closed period
}

type correctionMeter struct {
	Meter    string             `json:"meter"`
	Unit     string             `json:"unit"`
	Group    map[string]*string `json:"group"`
	Rows     [2]uint64          `json:"rows"` // before, after
	Quantity correctionChange   `json:"quantity"`
}

// correctionChange is a number before and after.
type correctionChange struct {
	Before string `json:"before"`
	After  string `json:"after"`
}

// correctedAnswer writes the answer.
func (s *session) correctedAnswer(a *corrected) error {
	r := a.report()
	if a.flags.output == "json" {
		return json.NewEncoder(s.stdout).Encode(r)
	}
	var head []string
	switch {
	case a.flags.dryRun && a.flags.amend:
		head = append(head, fmt.Sprintf("%s would be amended, %s rejected; nothing was written",
			counted(uint64(r.Amended), "event"), grouped(uint64(r.Rejects))))
	case a.flags.dryRun:
		head = append(head, fmt.Sprintf("%s would be taken back, %s rejected; nothing was written",
			counted(uint64(r.Voided), "event"), grouped(uint64(r.Rejects))))
	case a.flags.amend:
		head = append(head, fmt.Sprintf("%s amended, %s rejected",
			counted(uint64(r.Amended), "event"), grouped(uint64(r.Rejects))))
	default:
		head = append(head, fmt.Sprintf("%s taken back, %s rejected",
			counted(uint64(r.Voided), "event"), grouped(uint64(r.Rejects))))
	}
	if err := s.lines(head...); err != nil {
		return err
	}
	if err := s.correctedEvents(a, r); err != nil {
		return err
	}
	return s.correctedPeriods(r)
}

// correctedEvents lists what was rejected, and in a dry run all events.
func (s *session) correctedEvents(a *corrected, r *correctionReport) error {
	const most = 50
	t := newTable(">line", "id", "subject", "time", "account", "period", "outcome")
	more := 0
	for i := range r.Events {
		e := &r.Events[i]
		if !a.flags.dryRun && a.list[i].reason == engine.Accepted {
			continue
		}
		if len(t.rows) == most {
			more++
			continue
		}
		account, period := "", ""
		if e.Account != nil {
			account = *e.Account
		}
		for i, date := range e.Periods {
			if i > 0 {
				period += ", "
			}
			period += date
		}
		t.add(fmt.Sprint(e.Line), e.ID, e.Subject, e.Time, account, period, e.Outcome)
	}
	if err := t.write(s.stdout, "  "); err != nil {
		return err
	}
	if more > 0 {
		return s.lines(fmt.Sprintf("  and %s more; -o json shows all", grouped(uint64(more))))
	}
	return nil
}

// correctedPeriods lists what would change.
func (s *session) correctedPeriods(r *correctionReport) error {
	for i := range r.Periods {
		p := &r.Periods[i]
		head := fmt.Sprintf("%s/%s/%s, %s", p.Account, p.Subscription, p.StartDate, p.State)
		if p.Adjustment != nil {
			head += fmt.Sprintf(": the next invoice adjusts %s %s instead of %s", p.Adjustment.After,
				p.Currency, p.Adjustment.Before)
		}
		if err := s.lines(formats.Visible(head)); err != nil {
			return err
		}
		t := newTable("meter", "group", ">rows", ">after", ">quantity", ">after", "unit")
		for j := range p.Meters {
			m := &p.Meters[j]
			t.add(m.Meter, usageText(m.Group), grouped(m.Rows[0]), grouped(m.Rows[1]),
				m.Quantity.Before, m.Quantity.After, m.Unit)
		}
		if err := t.write(s.stdout, "  "); err != nil {
			return err
		}
	}
	return nil
}

// report makes the answer.
func (a *corrected) report() *correctionReport {
	r := &correctionReport{
		Schema: "billctl.corrections.v1", DryRun: a.flags.dryRun, Skipped: len(a.skipped),
		Events: []correctionEvent{},
	}
	for i := range a.list {
		c := &a.list[i]
		e := correctionEvent{
			Line: c.line, ID: string(c.void.Row.ID.At(0)), Of: uint64(c.void.Of),
			Time: c.void.Row.Time[0].String(), Outcome: c.reason.String(),
		}
		e.Source, _ = c.void.Row.Source.At(0)
		e.Subject, _ = c.void.Row.Subject.At(0)
		switch {
		case c.reason != engine.Accepted:
			r.Rejects++
		case c.void.Amend == nil:
			r.Voided++
			e.Outcome = "voided"
		default:
			r.Amended++
			e.Outcome = "amended"
		}
		if c.dry != nil && c.dry.Account != "" {
			e.Account, e.Periods = &c.dry.Account, c.dry.Periods
		}
		r.Events = append(r.Events, e)
	}
	if a.rehearsal != nil {
		for i := range a.rehearsal.Periods {
			r.Periods = append(r.Periods, correctionPeriodOf(&a.rehearsal.Periods[i]))
		}
	}
	return r
}

func correctionPeriodOf(p *live.RehearsedPeriod) correctionPeriod {
	out := correctionPeriod{
		Account: p.Account, Subscription: p.Subscription, StartDate: p.StartDate,
		Start: p.Start.String(), End: p.End.String(), State: "open", Currency: p.Currency,
		Meters: []correctionMeter{},
	}
	if p.Closed {
		out.State = "closed"
		out.Adjustment = &correctionChange{p.Before.Text(p.Digits), p.After.Text(p.Digits)}
	}
	for i := range p.Meters {
		m := &p.Meters[i]
		out.Meters = append(out.Meters, correctionMeter{
			Meter: m.Meter.Key, Unit: m.Meter.Unit, Group: groupValues(m.Group),
			Rows:     [2]uint64{m.Before.Fold.Rows, m.After.Fold.Rows},
			Quantity: correctionChange{m.QuantityBefore.String(), m.QuantityAfter.String()},
		})
	}
	return out
}

// groupValues returns the values of a group by dimension; null where events carry none.
func groupValues(group []engine.GroupValue) map[string]*string {
	out := map[string]*string{}
	for i := range group {
		g := &group[i]
		out[g.Dim] = nil
		if !g.Absent {
			out[g.Dim] = &g.Value
		}
	}
	return out
}
