package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/api"
)

// table is text in columns. A column whose name begins with '>' is set flush right.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// widest is how wide a column gets at most: a longer cell is shown whole and moves its row.
const widest = 60

// write prints the table, indented; nothing where there are no rows.
func (t *table) write(w io.Writer, indent string) error {
	if len(t.rows) == 0 {
		return nil
	}
	head := make([]string, len(t.head))
	right := make([]bool, len(t.head))
	for i, h := range t.head {
		head[i], right[i] = strings.CutPrefix(h, ">")
	}
	width := make([]int, len(head))
	all := t.rows
	if strings.Join(head, "") != "" {
		all = append([][]string{head}, t.rows...)
	}
	for _, row := range all {
		for i, cell := range row {
			row[i] = formats.Visible(cell)
			if n := utf8.RuneCountInString(row[i]); n <= widest {
				width[i] = max(width[i], n)
			}
		}
	}
	var b strings.Builder
	for _, row := range all {
		line := indent
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(cell)))
			if right[i] {
				line += pad + cell + "  "
			} else {
				line += cell + pad + "  "
			}
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lines prints lines of text.
func (s *session) lines(lines ...string) error {
	_, err := io.WriteString(s.stdout, strings.Join(lines, "\n")+"\n")
	return err
}

// invoiceDoc is what tables read of a document of ours.
type invoiceDoc struct {
	Key         string `json:"key"`
	Kind        string `json:"kind"`
	Account     string `json:"account"`
	AccountName string `json:"account_name"`
	Plan        string `json:"plan"`
	Version     int    `json:"version"`
	Currency    string `json:"currency"`
	Period      struct {
		Start string `json:"start"`
		End   string `json:"end"`
		Zone  string `json:"zone"`
	} `json:"period"`
	Lines []struct {
		Price    string     `json:"price"`
		Group    []dimValue `json:"group"`
		Quantity string     `json:"quantity"`
		Unit     string     `json:"unit"`
		From     string     `json:"from"`
		To       string     `json:"to"`
		Trial    bool       `json:"trial"`
		Coupons  []struct {
			ID      string `json:"id"`
			Percent string `json:"percent"`
		} `json:"coupons"`
		Amount string `json:"amount"`
	} `json:"lines"`
	Adjustments []struct {
		Price  string     `json:"price"`
		Group  []dimValue `json:"group"`
		Amount string     `json:"amount"`
		Period struct {
			StartDate string `json:"start_date"`
		} `json:"period"`
	} `json:"adjustments"`
	Coupons  []docUse `json:"coupons"`
	Subtotal string   `json:"subtotal"`
	Credits  []docUse `json:"credits"`
	Taxes    []struct {
		Code    string `json:"code"`
		Percent string `json:"percent"`
		Base    string `json:"base"`
		Amount  string `json:"amount"`
	} `json:"taxes"`
	Total string `json:"total"`
}

// docUse is what a coupon or a credit took off a document.
type docUse struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
}

// dimValue is a dimension's value in a document; null where events carry none.
type dimValue struct {
	Dimension string  `json:"dimension"`
	Value     *string `json:"value"`
}

// groupText writes the values of a document's group.
func groupText(group []dimValue) string {
	var parts []string
	for _, g := range group {
		parts = append(parts, dimText(g.Dimension, g.Value))
	}
	return strings.Join(parts, " ")
}

// usageText writes the values of a usage's group, by dimension.
func usageText(group map[string]*string) string {
	var parts []string
	for _, dim := range slices.Sorted(maps.Keys(group)) {
		parts = append(parts, dimText(dim, group[dim]))
	}
	return strings.Join(parts, " ")
}

func dimText(dim string, value *string) string {
	if value == nil {
		return dim + " absent"
	}
	return dim + "=" + *value
}

func (s *session) accountTable(a *api.Account) error {
	title := formats.Visible(a.ID)
	if a.Name != "" && a.Name != a.ID {
		title += "  " + formats.Visible(a.Name)
	}
	if err := s.lines(title+"  ("+a.Timezone+")", s.where(&a.Position)); err != nil {
		return err
	}
	if len(a.Periods) == 0 {
		if err := s.lines("no open period"); err != nil {
			return err
		}
	}
	for i := range a.Periods {
		if err := s.periodTable(&a.Periods[i]); err != nil {
			return err
		}
	}
	if err := s.pendingTable(a.Pending); err != nil {
		return err
	}
	if lines := accountTerms(a); len(lines) > 0 {
		return s.lines(lines...)
	}
	return nil
}

// pendingTable shows what late usage will add to the next invoices.
func (s *session) pendingTable(list []api.Pending) error {
	if len(list) == 0 {
		return nil
	}
	if err := s.lines("", "late usage, on the next invoice:"); err != nil {
		return err
	}
	t := newTable("subscription", "period", "price", "group", ">now", ">booked", ">amount", "")
	for _, p := range list {
		t.add(p.Subscription, p.StartDate, p.Price, usageText(p.Group), p.Rated, p.Booked, p.Amount,
			p.Currency)
	}
	return t.write(s.stdout, "  ")
}

func (s *session) periodTable(p *api.Period) error {
	err := s.lines("", fmt.Sprintf("%s: plan %s version %d, period from %s (%s to %s), %s rows",
		formats.Visible(p.Subscription), p.Plan, p.Version, p.StartDate, p.Start, p.End, grouped(p.Rows)))
	if err != nil {
		return err
	}
	usage := newTable("meter", "group", ">quantity", "unit", ">rows")
	for _, u := range p.Usage {
		usage.add(u.Meter, usageText(u.Group), u.Quantity, u.Unit, grouped(u.Rows))
	}
	if err := usage.write(s.stdout, "  "); err != nil {
		return err
	}
	for _, preview := range []struct {
		name string
		body json.RawMessage
	}{{"so far", p.SoFar}, {"if closed now", p.IfClosedNow}} {
		if err := s.previewTable(preview.name, preview.body, p.Currency); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) previewTable(name string, body json.RawMessage, currency string) error {
	var doc *invoiceDoc
	if err := json.Unmarshal(body, &doc); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if doc == nil {
		return s.lines("  " + name + ": nothing")
	}
	if err := s.lines("  " + name + ": " + doc.Total + " " + currency); err != nil {
		return err
	}
	t := newTable("price", "group", ">quantity", "unit", ">amount")
	for _, l := range doc.Lines {
		what := groupText(l.Group)
		if l.From != doc.Period.Start || l.To != doc.Period.End {
			what = strings.TrimSpace("for " + l.From + " to " + l.To + " " + what)
		}
		for _, c := range l.Coupons {
			what = strings.TrimSpace(what + " less " + c.Percent + " % by coupon " + c.ID)
		}
		if l.Trial {
			what = strings.TrimSpace(what + " trial")
		}
		t.add(l.Price, what, l.Quantity, l.Unit, l.Amount)
	}
	for _, a := range doc.Adjustments {
		t.add(a.Price, "adjusts "+a.Period.StartDate+" "+groupText(a.Group), "", "", a.Amount)
	}
	for _, c := range doc.Coupons {
		t.add("coupon "+c.ID, "", "", "", "-"+c.Amount)
	}
	for _, c := range doc.Credits {
		t.add("credit "+c.ID, "", "", "", "-"+c.Amount)
	}
	for _, x := range doc.Taxes {
		t.add(strings.TrimSpace("tax "+x.Code), x.Percent+" % of "+x.Base, "", "", x.Amount)
	}
	return t.write(s.stdout, "    ")
}

func (s *session) invoiceTable(a *api.Invoice) error {
	var doc invoiceDoc
	if err := json.Unmarshal(a.Invoice, &doc); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if err := s.lines("invoice "+doc.Key, s.where(&a.Position)); err != nil {
		return err
	}
	who := formats.Visible(doc.Account)
	if doc.AccountName != "" && doc.AccountName != doc.Account {
		who = formats.Visible(doc.AccountName) + " (" + who + ")"
	}
	err := s.lines(
		fmt.Sprintf("%s, plan %s version %d", who, doc.Plan, doc.Version),
		fmt.Sprintf("%s of %s to %s (%s)", doc.Kind, doc.Period.Start, doc.Period.End, doc.Period.Zone))
	if err != nil {
		return err
	}
	return s.previewTable("total", a.Invoice, doc.Currency)
}

func (s *session) invoicesTable(a *api.Invoices) error {
	if len(a.Invoices) == 0 {
		return s.lines("no invoices; " + s.where(&a.Position))
	}
	t := newTable("key", "kind", "period", ">subtotal", ">total", "")
	for _, i := range a.Invoices {
		t.add(i.Key, i.Kind, i.StartDate, i.Subtotal, i.Total, i.Currency)
	}
	if err := t.write(s.stdout, ""); err != nil {
		return err
	}
	if a.More && a.Next != "" {
		return s.lines("more: --before " + formats.Visible(a.Next))
	}
	if a.More {
		return s.lines(fmt.Sprintf("more: --limit above %d, or --account, or --period", len(a.Invoices)))
	}
	return nil
}

func (s *session) statusTable(a *api.Status) error {
	err := s.lines("state "+s.stateDir+": "+s.where(&a.Position),
		fmt.Sprintf("%s accounts, %d meters, billing rules %d", grouped(uint64(a.Accounts)), a.Meters,
			a.Ruleset))
	if err != nil {
		return err
	}
	if a.Position.Frozen {
		err := s.lines("the clock is frozen: no period closes until billctl run --clock-ok")
		if err != nil {
			return err
		}
	}
	sources := newTable("source", "state", ">bytes to read", "complete through")
	for _, src := range a.Position.Sources {
		state, through := "not running", ""
		if src.CaughtUp != nil && *src.CaughtUp {
			state = "caught up"
		} else if src.CaughtUp != nil {
			state = "reading"
		}
		if src.CompleteThrough != nil {
			through = *src.CompleteThrough
		}
		sources.add(src.Name, state, grouped(uint64(src.LagBytes)), through)
	}
	controls := newTable("source", ">read", ">accepted", ">rejected", "reasons")
	for _, c := range a.Controls {
		var reasons []string
		for name, n := range c.Rejected {
			reasons = append(reasons, fmt.Sprintf("%s %s", name, grouped(n)))
		}
		slices.Sort(reasons)
		controls.add(c.Source, grouped(c.Read), grouped(c.Accepted), grouped(c.Read-c.Accepted),
			strings.Join(reasons, ", "))
	}
	sinks := newTable("sink", ">waiting", ">parked", "last error")
	for _, k := range a.Sinks {
		sinks.add(k.Name, fmt.Sprint(k.Waiting), fmt.Sprint(k.Parked), k.LastError)
	}
	for _, t := range []*table{sources, controls, sinks} {
		if err := t.write(s.stdout, "  "); err != nil {
			return err
		}
	}
	if a.Process == nil {
		return nil
	}
	archived := "archived through position " + grouped(a.Process.Archived)
	if a.Process.ArchiveFail != "" {
		archived += "; the last try failed: " + formats.Visible(a.Process.ArchiveFail)
	}
	if err := s.lines(archived); err != nil {
		return err
	}
	for _, n := range a.Process.Notices {
		if err := s.lines("note: " + formats.Visible(n)); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) eventTable(a *api.Events) error {
	if len(a.Events) == 0 {
		return s.lines("no such event; " + s.where(&a.Position))
	}
	for i := range a.Events {
		if err := s.eventLines(&a.Events[i]); err != nil {
			return err
		}
	}
	if a.More && a.Next != 0 {
		return s.lines(fmt.Sprintf("more: --before %d", a.Next))
	}
	if a.More {
		return s.lines(fmt.Sprintf("more: --limit above %d", len(a.Events)))
	}
	return nil
}

// fileOf returns the path at which a partition was first seen: its name without what tells it from
// others of that path.
func fileOf(partition string) string {
	if at := strings.LastIndexByte(partition, '#'); at > 0 {
		return partition[:at]
	}
	return partition
}

func (s *session) eventLines(e *api.Event) error {
	what := "seq " + fmt.Sprint(e.Seq) + ": " + e.Outcome
	if e.Account != nil {
		what += ", account " + *e.Account
	}
	if c := e.CorrectedBy; c != nil {
		what += fmt.Sprintf(", %s by seq %d", c.Kind, c.Seq)
	}
	lines := []string{what}
	if c := e.Corrects; c != nil {
		verb := "takes back"
		if c.Kind == "amended" {
			verb = "amends"
		}
		lines = append(lines, fmt.Sprintf("  %s seq %d, given by %s at %s: %s", verb, c.Seq,
			formats.Visible(c.Actor), e.At, formats.Visible(c.Reason)))
	} else {
		lines = append(lines, fmt.Sprintf("  read from %s %s at byte %d, accepted at %s",
			e.Origin.Source, formats.Visible(fileOf(e.Origin.Partition)), e.Origin.Offset, e.At))
	}
	if e.Fault != "" {
		lines = append(lines, "  fault: "+formats.Visible(e.Fault))
	}
	if e.Outcome == engine.ReasonMalformed.String() {
		return s.lines(append(lines, "  "+formats.Visible(e.Raw))...)
	}
	lines = append(lines, fmt.Sprintf("  %s  subject %s  id %s  source %s", formats.Visible(e.Type),
		formats.Visible(e.Subject), formats.Visible(e.ID), formats.Visible(e.Source)))
	if e.Time != nil {
		lines = append(lines, "  time "+*e.Time)
	}
	var data []string
	for k, v := range e.Data {
		data = append(data, formats.Visible(k)+"="+formats.Visible(v))
	}
	slices.Sort(data)
	if len(data) > 0 {
		lines = append(lines, "  "+strings.Join(data, "  "))
	}
	return s.lines(lines...)
}
