package tui

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// lineScreen shows how one line of an open period comes to its amount: the tiers and how full
// they are, what comes next, and the computation step by step.
type lineScreen struct {
	account, subscription, startDate, line string

	preview int // of linePreviews
	body    []byte
	answer  lineAnswer
	failure *Failure
	sheet   sheet
}

// The two previews that a line may be computed for.
var (
	linePreviews     = [2]string{"so_far", "if_closed_now"}
	linePreviewWords = [2]string{"so far", "if closed now"}
)

type lineAnswer struct {
	AccountName  string          `json:"account_name"`
	Subscription string          `json:"subscription"`
	Plan         string          `json:"plan"`
	Version      int             `json:"version"`
	StartDate    string          `json:"start_date"`
	Start        string          `json:"start"`
	End          string          `json:"end"`
	Currency     string          `json:"currency"`
	View         string          `json:"view"`
	Key          string          `json:"key"`
	Line         json.RawMessage `json:"line"`
	Meter        *struct {
		Key       string          `json:"key"`
		Unit      string          `json:"unit"`
		Event     string          `json:"event"`
		Aggregate string          `json:"aggregate"`
		Where     json.RawMessage `json:"where"`
		Value     string          `json:"value"`
		GroupBy   json.RawMessage `json:"group_by"`
	} `json:"meter"`
	Price struct {
		Key   string `json:"key"`
		Model string `json:"model"`
		Text  string `json:"text"`
	} `json:"price"`
	Tiers []tierPart `json:"tiers"`
	Next  *struct {
		At   string `json:"at"`
		In   string `json:"in"`
		Unit string `json:"unit"`
	} `json:"next_tier"`
	Steps []string `json:"steps"`
}

type tierPart struct {
	From     string  `json:"from"`
	To       *string `json:"to"`
	Unit     string  `json:"unit"`
	Flat     string  `json:"flat"`
	Quantity string  `json:"quantity"`
	Amount   string  `json:"amount"`
	Fill     *string `json:"fill"`
}

func newLineScreen(account, subscription, startDate, line string) screen {
	l := &lineScreen{
		account: account, subscription: subscription, startDate: startDate, line: line,
	}
	l.sheet.columns = []sheetColumn{
		{name: "tier"}, {name: "unit price", right: true, below: true},
		{name: "flat", right: true, below: true}, {name: "quantity", right: true},
		{name: "amount", right: true}, {name: barColumn, flex: true},
	}
	return l
}

func (l *lineScreen) crumb() string { return l.line }

func (l *lineScreen) wants() []want {
	return []want{{
		id: linePreviews[l.preview], path: "/v1/line",
		params: url.Values{
			"account": {l.account}, "subscription": {l.subscription},
			"start_date": {l.startDate}, "line": {l.line}, "view": {linePreviews[l.preview]},
		},
	}}
}

func (l *lineScreen) take(id string, body []byte) error {
	if id != linePreviews[l.preview] {
		return nil // the other one was asked for since
	}
	var answer lineAnswer
	if err := readAnswer(body, &answer); err != nil {
		return err
	}
	var line linePart
	if len(answer.Line) > 0 && string(answer.Line) != "null" {
		if err := readAnswer(answer.Line, &line); err != nil {
			return err
		}
	}
	l.answer, l.body, l.failure = answer, body, nil
	l.sheet.replace(l.items(&line))
	return nil
}

func (l *lineScreen) items(line *linePart) []sheetItem {
	a := &l.answer
	uses := func() screen {
		return newUsesScreen(l.account, l.subscription, l.startDate, l.line)
	}
	items := []sheetItem{{
		kind: titleItem, id: "title", label: a.Key, text: linePreviewWords[l.preview], opens: uses,
	}}
	say := func(label, text string, i ink) {
		if text != "" {
			it := fact(label, text)
			it.indent, it.ink, it.opens = 0, i, uses
			items = append(items, it)
		}
	}
	amount := line.Amount
	if amount != "" {
		amount += " " + a.Currency
	}
	say("amount", amount, strong)
	quantity := grouped(line.Quantity)
	if line.Unit != "" && quantity != "" {
		quantity += " " + line.Unit
	}
	say("quantity", quantity, strong)
	if a.Next != nil {
		unit := a.Next.Unit
		if unit == "" {
			unit = "billable" // what the price converts is no longer in the meter's unit
		}
		say("next tier", "in "+grouped(a.Next.In)+" "+unit+", at "+grouped(a.Next.At), accent)
	}
	say("note", line.note(), plain)
	if len(a.Tiers) > 0 {
		items = append(items, sheetItem{kind: gapItem}, sheetItem{kind: columnsItem})
		for i := range a.Tiers {
			items = append(items, a.tier(i, uses))
		}
	}
	if len(a.Steps) > 0 {
		items = append(items, sheetItem{kind: gapItem},
			sheetItem{kind: titleItem, label: "computation", opens: uses})
		for _, step := range a.Steps {
			items = append(items, sheetItem{kind: textItem, text: step, indent: 2, opens: uses})
		}
	}
	items = append(items, sheetItem{kind: gapItem})
	say("price", strings.TrimSpace(a.Price.Key+"  "+a.Price.Model+": "+a.Price.Text), plain)
	say("plan", a.Plan+" v"+strconv.Itoa(a.Version), plain)
	say("period", a.Subscription+"  "+instantText(&a.Start)+" to "+instantText(&a.End), plain)
	if m := a.Meter; m != nil {
		say("meter", m.Key+"  "+strings.TrimSpace(m.Aggregate+" "+m.Value)+" of "+m.Event, plain)
		say("where", words(m.Where), plain)
		say("group by", words(m.GroupBy), plain)
	}
	return items
}

// words reads what may be a text, a list of texts, or absent.
func words(text json.RawMessage) string {
	var one string
	if json.Unmarshal(text, &one) == nil {
		return one
	}
	var many []string
	if json.Unmarshal(text, &many) == nil {
		return strings.Join(many, ", ")
	}
	return strings.TrimPrefix(string(text), "null")
}

func (a *lineAnswer) tier(i int, uses func() screen) sheetItem {
	t := &a.Tiers[i]
	bounds := "above " + grouped(t.From)
	if t.To != nil {
		bounds = grouped(t.From) + " to " + grouped(*t.To)
	}
	fill := t.Fill
	return sheetItem{
		id: "tier " + strconv.Itoa(i), opens: uses,
		figures: []figure{
			{text: bounds, ink: accent}, {text: t.Unit}, {text: unlessZero(t.Flat)},
			{text: t.Quantity, count: true}, {text: t.Amount, unit: a.Currency, ink: strong},
			{bar: func(w int, p *pen) string { return filledBar(fill, w, p) }},
		},
	}
}

// unlessZero leaves a tier's flat amount out that is none.
func unlessZero(s string) string {
	if s == "0" {
		return ""
	}
	return s
}

// filledBar is a bar with the used part in whole percent behind it, rounded down: only a full
// tier has 100.
func filledBar(fill *string, w int, p *pen) string {
	const percent = 6 // cells
	if fill == nil || w <= percent {
		return tierBar(fill, w, p)
	}
	text := ""
	if parts, ok := parseFill(*fill); ok {
		text = strconv.Itoa(parts*100/fillParts) + " %"
	}
	return tierBar(fill, w-percent, p) + p.ink(faint, p.right(text, percent))
}

func (l *lineScreen) fail(_ string, err *Failure) { l.failure = err }

func (l *lineScreen) key(k tea.KeyMsg) (action, bool) {
	switch k.String() {
	case "enter":
		return action{
			open: newUsesScreen(l.account, l.subscription, l.startDate, l.line),
		}, true
	case "v", "tab":
		l.preview = 1 - l.preview
		return action{say: linePreviewWords[l.preview]}, true
	}
	return action{}, l.sheet.key(k)
}

func (l *lineScreen) click(line, wheel int) action { return l.sheet.click(line, wheel) }

func (l *lineScreen) draw(w, h int, p *pen) []string {
	if l.failure != nil || l.body == nil {
		return waiting("line "+l.line, l.failure, w, h, p)
	}
	return l.sheet.draw(w, h, true, p)
}

func (l *lineScreen) help() []binding {
	return []binding{
		{"enter", "events that count"}, {"v", "preview: so far, or if closed now"},
	}
}

func (l *lineScreen) export() (heading []string, rows [][]string, answer []byte) {
	if l.body == nil {
		return nil, nil, nil
	}
	for i := range l.answer.Tiers {
		t := &l.answer.Tiers[i]
		to := ""
		if t.To != nil {
			to = *t.To
		}
		rows = append(rows, []string{t.From, to, t.Unit, t.Flat, t.Quantity, t.Amount})
	}
	if len(rows) == 0 {
		for _, step := range l.answer.Steps {
			rows = append(rows, []string{step})
		}
		return []string{"step"}, rows, l.body
	}
	return []string{"from", "to", "unit_price", "flat", "quantity", "amount"}, rows, l.body
}

func (l *lineScreen) chosen() string { return l.sheet.copied() }
