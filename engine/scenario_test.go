package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

var update = flag.Bool("update", false, "rewrite the effects of testdata/*.txtar")

// TestScenarios runs testdata/*.txtar: a rule in the first line, then
//
//	catalog.yaml  applied before the journal; any other *.yaml by an `apply` line
//	journal       one line an entry, `#` begins a remark
//	effects       what comes of it, rewritten by `go test ./engine -run TestScenarios -update`
//
// A journal line is an instant, at which the entry is accepted, and one of
//
//	SUBJECT TYPE id=1 NAME=VALUE ...   an event; time= if it was used at another time, source=;
//	                                   a value is a number, true, false or "text", else text
//	line TEXT                          a line of a usage file as it stands
//	watermark [T]    close [T]         T is the line's instant unless it is given
//	credit ACCOUNT ID AMOUNT CURRENCY [expires=T] [priority=N]
//	void ID          amend SUBJECT TYPE id=ID ...   of the event with that id that came last
//	apply FILE                         the difference to the catalog in FILE
//	clock frozen|free
//	settings grace=24h reopen=840h horizon=1680h future=5m
//	preview ACCOUNT                    no entry: shows the open periods
//
// Every scenario is run in 1 and in 3 shards.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) { runScenario(t, file) })
	}
}

func runScenario(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if !strings.HasPrefix(text, "# ") {
		t.Error("the first line is not a rule")
	}
	const last = "-- effects --\n"
	head, want, ok := strings.Cut(text, last)
	if !ok {
		t.Fatal("no effects section")
	}
	got := playScenario(t, sections(head), 1)
	if again := playScenario(t, sections(head), 3); again != got {
		t.Errorf("3 shards say something else:\n%s", again)
	}
	switch {
	case *update:
		if err := os.WriteFile(file, []byte(head+last+got), 0o644); err != nil {
			t.Fatal(err)
		}
	case got != want:
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// sections returns the files of a txtar archive: each begins with a line "-- name --".
func sections(text string) map[string][]byte {
	files := map[string][]byte{}
	name := ""
	for line := range strings.Lines(text) {
		next, ok := strings.CutPrefix(line, "-- ")
		if next, end := strings.CutSuffix(next, " --\n"); ok && end {
			name = next
			continue
		}
		files[name] = append(files[name], line...)
	}
	return files
}

// story is one run of a scenario.
type story struct {
	*cluster
	files map[string][]byte
	seq   engine.Seq
	at    engine.Micros
	rows  map[engine.Seq]*engine.Batch // of one row each
	out   strings.Builder
}

func playScenario(t *testing.T, files map[string][]byte, shards int) string {
	s := &story{cluster: newCluster(shards), files: files, seq: 1}
	first := true
	for n, line := range strings.Split(string(s.files["journal"]), "\n") {
		line, _, _ = strings.Cut(line, " #")
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		at, err := instant(words[0])
		if err == nil && first {
			first, s.at = false, at
			err = s.begin()
		}
		if err == nil {
			s.at = at
			err = s.line(words[1:], line)
		}
		if err != nil {
			t.Fatalf("journal line %d: %v", n+1, err)
		}
	}
	s.controls(t)
	return s.out.String()
}

func (s *story) begin() error {
	settings := engine.DefaultSettings
	for _, b := range []engine.Body{
		&engine.Genesis{Format: engine.Format}, &engine.Rules{Ruleset: engine.Ruleset}, &settings,
		&engine.Source{Name: "usage", Dedupe: true},
	} {
		s.say("begin", b)
	}
	return s.applyCatalog("catalog.yaml")
}

func (s *story) line(words []string, line string) error {
	body, err := s.body(words, line)
	if err == nil && body != nil {
		s.say(strings.Join(words, " "), body)
	}
	return err
}

func (s *story) body(words []string, line string) (engine.Body, error) {
	when := s.at
	if len(words) == 2 && (words[0] == "watermark" || words[0] == "close") {
		var err error
		if when, err = instant(words[1]); err != nil {
			return nil, err
		}
	}
	switch words[0] {
	case "watermark":
		return &engine.Watermark{W: when}, nil
	case "close":
		return &engine.Close{T: when, Actor: "clerk"}, nil
	case "credit":
		return credit(words[1:])
	case "void":
		return s.void(words[1], nil)
	case "amend":
		return s.amend(words[1:])
	case "apply":
		return nil, s.applyCatalog(words[1])
	case "clock":
		return &engine.Clock{Frozen: words[1] == "frozen"}, nil
	case "settings":
		return settings(words[1:])
	case "preview":
		return nil, s.preview(words[1])
	case "line":
		_, text, _ := strings.Cut(line, " line ")
		return s.decode(text)
	}
	text, err := eventLine(s.at, words)
	if err != nil {
		return nil, err
	}
	return s.decode(text)
}

func credit(words []string) (engine.Body, error) {
	digits := 2
	if words[3] == "JPY" {
		digits = 0
	}
	amount, err := decimal.ParseAmount(words[2], digits)
	c := &engine.Credit{Account: words[0], ID: words[1], Amount: amount, Currency: words[3]}
	for _, w := range words[4:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "expires":
			c.Expires, err = instant(value)
		case "priority":
			c.Priority, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("unknown word %s", w)
		}
		if err != nil {
			return nil, err
		}
	}
	return c, err
}

// void takes back the row with an id that was applied last, or puts another in its place.
func (s *story) void(id string, amend *engine.Batch) (engine.Body, error) {
	v := &engine.Void{Amend: amend, Actor: "clerk", Reason: "a mistake"}
	for seq, b := range s.rows {
		if string(b.ID.At(0)) == id && seq > v.Of {
			v.Of, v.Row = seq, b
		}
	}
	if v.Row == nil {
		return nil, fmt.Errorf("no event %s", id)
	}
	if amend != nil {
		s.keep(amend)
	}
	return v, nil
}

// keep remembers the row of the next entry.
func (s *story) keep(b *engine.Batch) {
	if s.rows == nil {
		s.rows = map[engine.Seq]*engine.Batch{}
	}
	s.rows[s.seq] = b
}

func (s *story) amend(words []string) (engine.Body, error) {
	text, err := eventLine(s.at, words)
	if err != nil {
		return nil, err
	}
	b, err := s.decode(text)
	if err != nil {
		return nil, err
	}
	row := b.(*engine.Batch)
	return s.void(string(row.ID.At(0)), row)
}

func settings(words []string) (engine.Body, error) {
	s := engine.DefaultSettings
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		d, err := time.ParseDuration(value)
		if err != nil {
			return nil, err
		}
		switch m := engine.Micros(d.Microseconds()); key {
		case "grace":
			s.Grace = m
		case "reopen":
			s.Reopen = m
		case "horizon":
			s.Horizon = m
		case "future":
			s.MaxFuture = m
		default:
			return nil, fmt.Errorf("unknown setting %s", key)
		}
	}
	return &s, nil
}

// applyCatalog journals the difference to a catalog, as `catalog apply` does.
func (s *story) applyCatalog(name string) error {
	tree := fstest.MapFS{name: {Data: s.files[name]}}
	for other, data := range s.files {
		if strings.HasSuffix(other, ".csv") {
			tree[other] = &fstest.MapFile{Data: data}
		}
	}
	catalog, err := formats.ReadCatalog(tree)
	if err != nil {
		return err
	}
	view := engine.Pin(s.engines)
	d, err := formats.Diff(view, catalog, s.at)
	if err != nil {
		return err
	}
	for _, z := range d.Zones {
		s.say("zone", z)
	}
	d.Change.File = engine.Digest{byte(s.seq)}
	if err := engine.Pin(s.engines).Check(&d.Change, s.at); err != nil {
		return err
	}
	s.say("apply", &d.Change)
	return nil
}

// eventLine returns the CloudEvents line of an event.
func eventLine(at engine.Micros, words []string) (string, error) {
	if len(words) < 2 {
		return "", fmt.Errorf("an event needs a subject and a type")
	}
	id, source, when := "", "app", at.String()
	var data []string
	for _, w := range words[2:] {
		key, value, ok := strings.Cut(w, "=")
		switch {
		case !ok:
			return "", fmt.Errorf("%q is not NAME=VALUE", w)
		case key == "id":
			id = value
		case key == "source":
			source = value
		case key == "time":
			when = value
		default:
			if _, err := strconv.ParseFloat(value, 64); err != nil && value != "true" &&
				value != "false" && !strings.HasPrefix(value, `"`) {
				value = strconv.Quote(value)
			}
			data = append(data, strconv.Quote(key)+":"+value)
		}
	}
	return fmt.Sprintf(`{"specversion":"1.0","subject":%q,"type":%q,"id":%q,`+
		`"source":%q,"time":%q,"data":{%s}}`,
		words[0], words[1], id, source, when, strings.Join(data, ",")), nil
}

func (s *story) decode(text string) (engine.Body, error) {
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		return nil, err
	}
	b := formats.NewBuilder("usage", formats.Limits{})
	chunk := formats.Chunk{Partition: "journal", Offset: int64(s.seq), Data: []byte(text + "\n")}
	if _, err := d.Decode(chunk, b); err != nil {
		return nil, err
	}
	return b.Batch(), nil
}

// say applies one entry and writes down what it brings about.
func (s *story) say(what string, body engine.Body) {
	entry := &engine.Entry{Seq: s.seq, At: s.at, Body: body}
	if b, ok := body.(*engine.Batch); ok {
		s.keep(b)
	}
	s.seq += entry.Seqs()
	var fx engine.Effects
	for _, e := range s.engines {
		for more := e.Apply(entry, &fx); more; {
			more = e.Resume(&fx)
		}
	}
	if _, ok := body.(*engine.Void); ok && len(fx.Rejections) > 0 {
		delete(s.rows, entry.Seq) // the version before stays
	}
	slices.SortStableFunc(fx.Invoices, engine.CompareInvoices)
	slices.SortStableFunc(fx.Alerts, engine.CompareAlerts)
	if len(fx.Rejections)+len(fx.Refusals)+len(fx.Invoices)+len(fx.Alerts) > 0 {
		fmt.Fprintf(&s.out, "%s %s\n", s.at, what)
	}
	for _, r := range fx.Rejections {
		fmt.Fprintf(&s.out, "  rejected: %s\n", r.Reason)
	}
	for _, r := range fx.Refusals {
		fmt.Fprintf(&s.out, "  refused: %s\n", r.What)
	}
	for _, a := range fx.Alerts {
		text := fmt.Sprintf("  alert %s: %s/%s/%s reached %s %% of %s: %s %s", a.Budget, a.Account,
			a.Subscription, a.StartDate, a.Percent, a.Limit, a.Value, a.Currency+a.Unit)
		s.out.WriteString(strings.TrimRight(text, " ") + "\n")
	}
	for _, i := range fx.Invoices {
		s.invoice("  invoice", i)
	}
}

func (s *story) invoice(head string, i *engine.Invoice) {
	fmt.Fprintf(&s.out, "%s %s/%s/%s/%s: plan %s version %d, %s to %s\n", head, i.Account,
		i.Subscription, i.StartDate, i.Kind, i.Plan, i.Version, i.Start, i.End)
	for _, l := range i.Lines {
		s.row(lineName(l.Price, l.Group), l.Amount.Text(i.Digits), lineWords(i, &l))
	}
	for _, a := range i.Adjustments {
		s.row(lineName(a.Price, a.Group), a.Amount.Text(i.Digits), fmt.Sprintf(
			"adjusts %s: now %s for %s, booked %s", a.StartDate, a.Rated.Text(i.Digits),
			a.Quantity, a.Booked.Text(i.Digits)))
	}
	for _, c := range i.Coupons {
		s.row("coupon "+c.ID, c.Amount.Neg().Text(i.Digits), "")
	}
	if len(i.Credits)+len(i.Coupons)+len(i.Taxes) > 0 {
		s.row("subtotal", i.Subtotal.Text(i.Digits), "")
	}
	for _, c := range i.Credits {
		s.row("credit "+c.ID, c.Amount.Neg().Text(i.Digits), "")
	}
	for _, t := range i.Taxes {
		s.row(strings.TrimSpace("tax "+t.Code), t.Amount.Text(i.Digits),
			fmt.Sprintf("%s %% of %s", t.Percent, t.Base.Text(i.Digits)))
	}
	s.row("total", i.Total.Text(i.Digits), i.Currency)
}

func (s *story) row(name, amount, words string) {
	row := fmt.Sprintf("    %-26s %10s  %s", name, amount, words)
	s.out.WriteString(strings.TrimRight(row, " ") + "\n")
}

func lineName(price string, group []engine.GroupValue) string {
	for _, g := range group {
		if g.Absent {
			price += " no " + g.Dim
		} else {
			price += " " + g.Dim + "=" + g.Value
		}
	}
	return price
}

// lineWords says how a line came about, as far as it is not plain from the amount.
func lineWords(i *engine.Invoice, l *engine.Line) string {
	var words []string
	if l.Model == engine.Flat {
		if l.From != i.Start || l.To != i.End || i.Kind == engine.StartInvoice {
			words = append(words, fmt.Sprintf("for %s to %s", l.From, l.To))
		}
	} else {
		words = append(words, strings.TrimSpace(fmt.Sprint(l.Quantity, " ", l.Unit)))
		if l.Billable.Cmp(l.Quantity) != 0 {
			words = append(words, fmt.Sprint("billable ", l.Billable))
		}
	}
	for _, u := range l.Tiers {
		words = append(words, fmt.Sprintf("tier %d: %s = %s", u.Tier+1, u.Quantity, u.Amount))
	}
	for _, c := range l.Coupons {
		words = append(words, fmt.Sprintf("coupon %s: %s %% off", c.ID, c.Percent))
	}
	if l.Trial {
		words = append(words, fmt.Sprint("trial: free instead of ", l.Rated))
	}
	if l.Amount.Rat(i.Digits).Cmp(l.Exact) != 0 {
		words = append(words, fmt.Sprint("exactly ", l.Exact))
	}
	return strings.Join(words, "; ")
}

// preview shows an account's open periods: what was used so far, and the invoice if it closed now.
func (s *story) preview(account string) error {
	bill, ok := engine.Pin(s.engines).Bill(account)
	if !ok {
		return fmt.Errorf("no account %s", account)
	}
	fmt.Fprintf(&s.out, "%s preview %s\n", s.at, account)
	for _, o := range bill.Open {
		fmt.Fprintf(&s.out, "  open %s/%s: %d rows\n", o.Subscription, o.StartDate, o.Rows)
		if o.SoFar != nil {
			s.invoice("  so far", o.SoFar)
		}
		if o.IfClosedNow != nil {
			s.invoice("  if closed now", o.IfClosedNow)
		}
	}
	return nil
}

// controls ends the story with the control total, the sum of which is checked.
func (s *story) controls(t *testing.T) {
	v := engine.Pin(s.engines)
	if err := v.CheckControls(); err != nil {
		t.Error(err)
	}
	for _, c := range v.Controls() {
		words := fmt.Sprintf("read %d = accepted %d", c.Read, c.Counts[engine.Accepted])
		for r, n := range c.Counts {
			if reason := engine.Reason(r); n > 0 && reason != engine.Accepted {
				words += fmt.Sprintf(" + %s %d", reason, n)
			}
		}
		s.out.WriteString(words + "\n")
	}
}

func instant(text string) (engine.Micros, error) {
	t, err := time.Parse(time.RFC3339, text)
	return engine.Micros(t.UnixMicro()), err
}
