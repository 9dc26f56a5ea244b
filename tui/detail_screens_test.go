package tui

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

// detail is a screen below the lists with the answers that it gets.
type detail struct {
	name    string
	make    func() screen
	answers [][2]string // the want, and the answer
}

func details() []detail {
	invoice := `{"seq": 99, "invoice": ` + testDocument(testLine("output", "graduated",
		`{"dimension": "model", "value": "large"}`, "1234567.5", "token", "812.04", ""),
		"", "1433.68") + `}`
	line := testLine("output", "graduated", "", "1234567.5", "token", "812.04", "")
	return []detail{
		{"account", func() screen { return newAccountScreen("acme") }, [][2]string{
			{"account", testAccount()}, {"alerts", testAlerts()}, {"days", testDays()},
			{"invoices", testInvoices(0, 30, "2024-07")},
		}},
		{"line", func() screen {
			return newLineScreen("acme", "main", "2026-09-01", "output/model=large")
		}, [][2]string{{"so_far", testLineAnswer("so_far")}}},
		{"uses", func() screen {
			return newUsesScreen("acme", "main", "2026-09-01", "output/model=large")
		}, [][2]string{{"uses", testUses(4711, 100, "4612")}}},
		{"event", func() screen { return newEventScreen(4242) }, [][2]string{{"event", testEvent}}},
		{"malformed", func() screen { return newEventScreen(17) },
			[][2]string{{"event", testMalformed()}}},
		{"invoice", func() screen { return newInvoiceScreen("acme/main/2026-09-01/period") },
			[][2]string{{"invoice", invoice}}},
		{"members", func() screen {
			return newMembersScreen("output", []byte(line), func() screen { return newEventScreen(1) })
		}, nil},
	}
}

func (d *detail) answered(t *testing.T) screen {
	t.Helper()
	s := d.make()
	for _, a := range d.answers {
		take(t, s, a[0], a[1])
	}
	return s
}

// frame is what stands around a body: header, crumbs, footer.
const frame = 4

// TestDetailScreens compares the bodies with testdata: answered, by part, before an answer, and
// after an answer that says no.
func TestDetailScreens(t *testing.T) {
	all := details()
	body := func(s screen) func(w, h int, p *pen) []string {
		return func(w, h int, p *pen) []string { return s.draw(w, h-frame, p) }
	}
	for i := range all {
		d := &all[i]
		goldenSizes(t, "detail-"+d.name, func(w, h int, p *pen) []string {
			return d.answered(t).draw(w, h-frame, p) // anew: the first drawing chooses
		})
	}
	s := answeredAccount(t)
	for _, part := range accountPartNames[1:] {
		s.key(pressed("tab"))
		goldenSizes(t, "detail-account-"+part, body(s))
	}
	slow := newAccountScreen("acme")
	take(t, slow, "account", testAccount())
	p := newPen(termenv.Ascii, true, false)
	slow.draw(80, 20, p)
	take(t, slow, "alerts", testAlerts()) // what comes later stands above, and moves nothing away
	if line := slow.draw(80, 20, p)[1]; !strings.Contains(line, "main") {
		t.Errorf("the first line is %q", line)
	}
	goldenSizes(t, "detail-loading", body(newAccountScreen("acme\x1b[2J")))
	gone := newLineScreen("acme", "main", "2026-09-01", "output")
	gone.fail("so_far", &Failure{Code: "not_found", Message: "there is no line \x1b[31moutput",
		Hint: "billctl query account acme lists the lines"})
	goldenSizes(t, "detail-failure", body(gone))
	empty := newAccountScreen("new")
	take(t, empty, "account", `{"id": "new", "name": "", "timezone": "UTC", "periods": []}`)
	take(t, empty, "days", `{"periods": []}`)
	take(t, empty, "invoices", `{"invoices": []}`)
	goldenSizes(t, "detail-empty", body(empty))
}

// TestDetailAmounts holds every amount on every screen to the answers: it stands there, digit for
// digit, and those of the account are all seen somewhere at every size.
func TestDetailAmounts(t *testing.T) {
	amount := regexp.MustCompile(`(-?[0-9][0-9.,/]*) (?:EUR|JPY)`)
	number := regexp.MustCompile(`-?[0-9][0-9.,]*`)
	all := details()
	for i := range all {
		d := &all[i]
		known := map[string]bool{}
		var want []string
		for _, a := range d.answers {
			for _, text := range number.FindAllString(a[1], -1) {
				known[text] = true
			}
			if d.name == "account" && a[0] != "invoices" {
				for _, m := range regexp.MustCompile(
					`"(?:amount|total|so_far|left|value)": "([0-9.]+)"`).FindAllStringSubmatch(a[1], -1) {
					want = append(want, m[1])
				}
			}
		}
		for _, size := range [][2]int{{36, 4}, {40, 8}, {60, 11}, {80, 20}, {120, 36}, {300, 80}} {
			seen := seenText(t, d, size[0], size[1])
			n := 0
			for _, m := range amount.FindAllStringSubmatch(seen, -1) {
				n++
				if !known[m[1]] {
					t.Errorf("%s at %v shows %q, which no answer has", d.name, size, m[0])
				}
			}
			if n == 0 && (d.name == "account" || d.name == "line" || d.name == "invoice") {
				t.Errorf("%s at %v shows no amount", d.name, size)
			}
			for _, text := range want {
				if !strings.Contains(seen, text) && !strings.Contains(seen, grouped(text)) {
					t.Errorf("%s at %v never shows %s", d.name, size, text)
				}
			}
		}
	}
}

// seenText goes down all parts of a screen and returns what was drawn.
func seenText(t *testing.T, d *detail, w, h int) string {
	t.Helper()
	p := newPen(termenv.Ascii, true, false)
	s := d.answered(t)
	step := pressed("pgdown")
	if h <= 8 {
		step = pressed("down")
	}
	var b strings.Builder
	last := ""
	for range accountParts {
		for range 400 {
			text := ansi.Strip(strings.Join(s.draw(w, h, p), "\n"))
			s.key(step)
			if text == last {
				break
			}
			last = text
			b.WriteString(text + "\n")
		}
		if d.name != "account" {
			break
		}
		s.key(pressed("tab"))
	}
	return b.String()
}

// TestDetailWalk goes from the account down to an event and its correction by Enter alone.
func TestDetailWalk(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	all := details()
	s := all[0].answered(t)
	s.draw(80, 20, p)
	enter := func(want string) {
		t.Helper()
		act, ok := s.key(pressed("enter"))
		if !ok || act.open == nil {
			t.Fatalf("%s opens nothing", s.crumb())
		}
		s = act.open
		if s.crumb() != want {
			t.Fatalf("came to %q, want %q", s.crumb(), want)
		}
	}
	s.key(pressed("down"))
	enter("output/model=large")
	params := s.wants()[0].params
	if params.Get("start_date") != "2026-09-01" || params.Get("line") != "output/model=large" ||
		params.Get("view") != "so_far" {
		t.Errorf("asks %v", params)
	}
	take(t, s, "so_far", testLineAnswer("so_far"))
	s.key(pressed("v"))
	if view := s.wants()[0].params.Get("view"); view != "if_closed_now" {
		t.Errorf("asks for the view %q", view)
	}
	enter("events")
	take(t, s, "uses", testUses(4711, 100, "4612"))
	s.draw(80, 20, p)
	s.key(pressed("down"))
	enter("event 4710")
	take(t, s, "event", testEvent)
	s.key(pressed("down"))
	enter("event 4700")
	s = all[0].answered(t)
	for range 2 {
		s.key(pressed("tab"))
	}
	s.draw(80, 20, p)
	enter("acme/main/2026-12-01/period")
	if wants := s.wants(); !wants[0].once {
		t.Error("a document whose bytes are frozen is asked for again and again")
	}
}

// TestDetailPaging asks for older events when the cursor comes to the end, once for each place,
// and for nothing that is not seen.
func TestDetailPaging(t *testing.T) {
	p := newPen(termenv.Ascii, true, false)
	all := details()
	s := all[2].answered(t)
	s.draw(80, 20, p)
	if n := len(s.wants()); n != 1 {
		t.Fatalf("%d wants at the top", n)
	}
	s.key(pressed("end"))
	wants := s.wants()
	if len(wants) != 2 || wants[1].params.Get("before") != "4612" || !wants[1].once {
		t.Fatalf("wants %v at the end", wants)
	}
	take(t, s, wants[1].id, testUses(4611, 50, ""))
	if u := s.(*usesScreen); len(u.events.rows) != 150 || u.table.count != 150 {
		t.Fatalf("%d rows", len(u.events.rows))
	}
	chosen := s.chosen()
	take(t, s, "uses", testUses(4720, 100, "4621"))
	if s.chosen() != chosen {
		t.Errorf("the cursor went from %s to %s", chosen, s.chosen())
	}
	s.key(pressed("end"))
	if n := len(s.wants()); n != 1 {
		t.Errorf("%d wants behind the last page", n)
	}
	a := all[0].answered(t)
	a.draw(40, 8, p)
	for _, w := range a.wants() {
		if w.id == "days" || w.id == "invoices" {
			t.Errorf("asks for %s, which nobody sees", w.id)
		}
	}
}

// TestEventTree finds every value of the row in the tree, and its names as paths.
func TestEventTree(t *testing.T) {
	all := details()
	s := all[3].answered(t)
	_, rows, _ := s.export()
	var event struct {
		Events []any `json:"events"`
	}
	d := json.NewDecoder(strings.NewReader(testEvent))
	d.UseNumber()
	if err := d.Decode(&event); err != nil {
		t.Fatal(err)
	}
	n := 0
	var find func(any)
	find = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, inner := range v {
				find(inner)
			}
		case []any:
			for _, inner := range v {
				find(inner)
			}
		case string:
			n++
			if !slices.ContainsFunc(rows, func(r []string) bool { return r[1] == v }) {
				t.Errorf("%q is not in the tree", v)
			}
		}
	}
	find(event.Events[0])
	if n < 15 {
		t.Errorf("%d texts compared", n)
	}
	for _, want := range [][]string{
		{"rest.nested.list.4.deep", "true"}, {"rest.nested.list.2", "2.50"},
		{"rest.nested.empty", "{}"}, {"rest.nested.none", "[]"}, {"origin.offset", "993021"},
	} {
		if !slices.ContainsFunc(rows, func(r []string) bool { return slices.Equal(r, want) }) {
			t.Errorf("no %q in %q", want, rows)
		}
	}
}

// TestDetailRandom drives each screen through random keys, clicks, sizes and answers, of which
// some are harmed.
func TestDetailRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	keys := []string{
		"up", "down", "pgup", "pgdown", "home", "end", "tab", "shift+tab", "left", "right", "enter",
		"v", "p", "j", "k", "g", "G", "x",
	}
	all := details()
	for i := range all {
		d := &all[i]
		for range 5 {
			s := d.make()
			for range 100 {
				switch n := r.IntN(10); {
				case n < 2 && len(d.answers) > 0:
					a := d.answers[r.IntN(len(d.answers))]
					if err := s.take(a[0], harm(r, a[1])); err != nil && errors.Unwrap(err) == nil {
						t.Errorf("%s: %v", d.name, err)
					}
				case n < 3:
					s.click(r.IntN(40)-2, r.IntN(3)-1)
				default:
					s.key(pressed(keys[r.IntN(len(keys))]))
				}
				l := looks[r.IntN(len(looks))]
				w, h := r.IntN(140), r.IntN(40)
				checkLines(t, d.name, s.draw(w, h, newPen(l.profile, true, l.ascii)), w, h, l.ascii)
				s.chosen()
				s.wants()
				if _, rows, _ := s.export(); len(rows) > 100_000 {
					t.Error("too many rows")
				}
			}
			if t.Failed() {
				return
			}
		}
	}
}

// harm returns an answer as it is, or with members of other kinds, without some, or cut.
func harm(r *rand.Rand, body string) []byte {
	text := []byte(body)
	switch r.IntN(4) {
	case 0:
		text = text[:r.IntN(len(text))]
	case 1:
		names := regexp.MustCompile(`"[a-z_]+":`).FindAll(text, -1)
		for range 3 {
			text = bytes.ReplaceAll(text, names[r.IntN(len(names))], []byte(`"other":`))
		}
	case 2:
		for range 3 {
			text[r.IntN(len(text))] = "0\"{}[],:"[r.IntN(8)]
		}
	}
	return text
}
