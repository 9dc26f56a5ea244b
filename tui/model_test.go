package tui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
	"github.com/muesli/termenv"
)

// frame is what the terminal shows, without colours.
func (r *rig) frame() string { return ansi.Strip(r.m.View()) }

// shows reports what a frame lacks.
func (r *rig) shows(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.frame(), text) {
			r.t.Errorf("there is no %q in\n%s", text, r.frame())
		}
	}
}

// hides reports what a frame should not have.
func (r *rig) hides(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(r.frame(), text) {
			r.t.Errorf("there is %q in\n%s", text, r.frame())
		}
	}
}

func ready(t *testing.T, w *world) *rig {
	t.Helper()
	r := newRig(t, w, 100, 30)
	r.answer()
	r.shows("acct-000000")
	return r
}

// TestNoTwoQuestions: a want that is slow is not asked again; its answer to another question is not
// shown; one of a screen that was left neither.
func TestNoTwoQuestions(t *testing.T) {
	r := newRig(t, newWorld(250).lists(), 100, 30)
	before := len(r.w.asked)
	for range 5 {
		tick := r.timers
		r.timers = nil
		for _, each := range tick {
			r.send(each.msg)
		}
	}
	if got := len(r.w.asked) - before; got != 0 {
		t.Fatalf("%d questions while those of before are open: %v", got, r.w.asked[before:])
	}
	late := r.asked // a status, and accounts by rising id
	r.asked = nil
	r.send(keyMsg("S"))
	for _, msg := range late {
		r.send(msg)
	}
	r.hides("acct-000000")
	r.answer()
	r.shows("acct-000249")

	r.pass(400 * time.Millisecond)
	r.w.seq = 5000
	r.send(tickMsg{})
	late, r.asked = r.asked, nil
	r.press(":")
	r.write("meters")
	r.press("enter")
	r.shows("tokens_out")
	for _, msg := range late {
		r.send(msg)
	}
	if seq := r.m.levels[0].slot("rows").seq; seq != 4711 {
		t.Errorf("a screen below has taken an answer of %d", seq)
	}
	r.answer()
	r.shows("tokens_out")
	r.press("esc")
	r.shows("acct-000249")
}

// TestPositions: an older answer is dropped; after the feed was gone it is said whether figures
// went back; another journal begins anew.
func TestPositions(t *testing.T) {
	r := ready(t, newWorld(20).lists())
	r.w.seq, r.w.bump = 4700, 5
	r.pass(time.Second)
	r.shows("position 4,711", "37        1.07")
	r.hides("FIGURES")
	r.w.seq = 4720
	r.pass(time.Second)
	r.shows("position 4,720")

	r.w.err = fmt.Errorf("dial: %w", ErrGone)
	r.pass(3 * time.Second)
	r.shows("disconnected since 08:00:", "trying again", "acct-000001")
	r.w.err, r.w.seq = nil, 4800
	r.pass(time.Second)
	r.shows("no figure went back: position 4,720 -> 4,800")
	r.hides("disconnected")
	r.pass(11 * time.Second)
	r.hides("went back")

	r.w.started, r.w.seq = "2026-09-17T08:01:00Z", 4810 // between two questions
	r.pass(time.Second)
	r.shows("no figure went back: position 4,800 -> 4,810")

	r.w.err = ErrGone
	r.pass(time.Second)
	r.w.err, r.w.seq = nil, 4805
	r.pass(time.Second)
	r.shows("FIGURES WENT BACK: position 4,810 -> 4,805", "position 4,805")

	r.press(":")
	r.write("meters")
	r.press("enter")
	r.w.journal, r.w.seq = strings.Repeat("cd", 16), 12
	r.pass(time.Second)
	r.shows("another journal answers now: cdcdcdcd", "position 12", "acct-000001")
	r.hides("tokens_out")
}

// TestWentBackUnnoticed: an older position that stays is believed after a while, and said.
func TestWentBackUnnoticed(t *testing.T) {
	r := ready(t, newWorld(20))
	r.w.seq = 100
	r.pass(4 * time.Second)
	r.shows("FIGURES WENT BACK: position 4,711 -> 100", "position 100")
}

// TestLateAnswerOfBefore: an answer that was given before nobody answered says nothing about now.
func TestLateAnswerOfBefore(t *testing.T) {
	r := ready(t, newWorld(20))
	r.send(tickMsg{})
	late := r.asked[len(r.asked)-1]
	gone, ok := r.asked[0].(answerMsg)
	if !ok || len(r.asked) != 2 {
		t.Fatalf("a tick asks %v", r.asked)
	}
	gone.body, gone.err = nil, ErrGone
	r.asked = nil
	r.send(gone)
	r.shows("disconnected")
	r.send(late)
	r.shows("disconnected")
}

func TestPause(t *testing.T) {
	r := ready(t, newWorld(20))
	r.press("space")
	r.shows("paused +0 updates", "37        1.07")
	for i := range 3 {
		r.w.seq, r.w.bump = r.w.seq+10, uint64(i+1)
		r.pass(time.Second)
	}
	r.shows("paused +3 updates", "37        1.07", "position 4,711")
	r.w.err = ErrGone
	r.pass(time.Second)
	r.shows("disconnected", "paused +3 updates")
	r.w.err = nil
	r.pass(time.Second)
	r.press("space")
	r.hides("paused")
	r.shows("position 4,741", "40       •1.10", "60 events/s") // 300 rows in 5 s
	r.pass(3 * time.Second)
	r.shows("40        1.10")
}

// TestVirtual: of 200,000 accounts only those around what is seen are asked for, and the cursor
// stays on its account when the order changes.
func TestVirtual(t *testing.T) {
	w := newWorld(200_000)
	r := newRig(t, w, 100, 30)
	r.answer()
	r.press("G")
	r.shows("› acct-199999", "200,000 accounts")
	r.press("pgup pgup up")
	r.shows("› acct-199")
	if n := len(r.m.top().screen.(*accounts).rows); n > 96 {
		t.Errorf("%d rows are held", n)
	}
	last := w.asked[len(w.asked)-1]
	if !strings.Contains(last, "limit=96&offset=1999") {
		t.Errorf("asked %s", last)
	}
	r.press("g")
	questions := len(w.asked)
	for range 20 {
		r.press("down")
	}
	if n := len(w.asked) - questions; n > 0 {
		t.Errorf("20 lines asked %d questions", n)
	}
	r.shows("› acct-000020")

	a := r.m.top().screen.(*accounts)
	body, err := w.accountsAnswer(map[string][]string{"order": {"desc"}, "offset": {"199970"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.take("rows", body); err != nil { // as if the order had changed
		t.Fatal(err)
	}
	if a.chosen() != "acct-000020" || a.table.cursor == 20 {
		t.Errorf("the cursor is on %s, row %d", a.chosen(), a.table.cursor)
	}
}

func TestFilterAndSort(t *testing.T) {
	r := ready(t, newWorld(250).lists())
	before := len(r.w.asked)
	r.send(keyMsg("/"))
	r.write("0")
	r.pass(60 * time.Millisecond)
	r.write("001")
	r.pass(60 * time.Millisecond)
	r.write("2")
	for _, q := range r.w.asked[before:] {
		if strings.Contains(q, "filter") {
			t.Fatalf("asked %s before the typing stopped", q)
		}
	}
	r.pass(150 * time.Millisecond)
	r.shows("/00012", "11 of 250 match \"00012\"", "acct-000125")
	r.hides("acct-000130")
	asked := 0
	for _, q := range r.w.asked[before:] {
		if strings.Contains(q, "filter") {
			asked++
		}
	}
	if asked != 1 {
		t.Errorf("%d questions for a filter", asked)
	}
	r.press("enter down enter")
	r.shows("accounts › acct-0001")
	r.press("esc")
	r.shows("match \"00012\"")
	r.press("esc")
	r.shows("250 accounts")

	r.press("/")
	r.write(">x1")
	r.pass(time.Second)
	r.shows("is no amount: write >100")
	r.press("esc s s")
	if last := r.w.asked[len(r.w.asked)-1]; !strings.Contains(last, "order=desc&sort=rows") {
		t.Errorf("asked %s", last)
	}
	r.shows("rows▼")

	r.press(":")
	r.write("cat")
	r.press("tab enter s s S")
	r.shows("accounts › catalog", "version▼", "› pro")
	if rows := r.m.top().screen.(*list).shown; rows[0] != 1 || rows[1] != 0 {
		t.Errorf("versions 1 and 2 are shown as %v", rows)
	}
	r.press("/")
	r.write("!current nothing")
	r.pass(time.Second)
	r.shows("nothing here matches")
}

func TestGoTo(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"inv", "accounts › invoices"}, {"meters", "› meters"}, {"accounts", "account▲"},
		{"c", "catalog or checkpoints?"}, {"account", ":account needs an id"},
		{"event x", "x is not a position"}, {"acct-7", "accounts › acct-7"},
		{"account meters", "accounts › meters"}, {"invoice a/b", "accounts › a/b"},
		{"nobody at all", "accounts › nobody at all"}, {"", "account▲"},
	} {
		r := ready(t, newWorld(20).lists())
		r.press(":")
		r.write(c.line)
		r.press("enter")
		r.shows(c.want)
	}
	r := ready(t, newWorld(20).lists())
	r.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("jjj")}) // keys that came at once
	r.shows("› acct-000003")
	r.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("qqq"), Paste: true})
	r.press("/")
	r.send(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune("0001\x1b1"), Paste: true})
	r.pass(time.Second)
	r.shows("/00011")
	r.press("ctrl+c")
	if !r.quit {
		t.Error("ctrl+c does not quit")
	}
}

func TestMouse(t *testing.T) {
	r := ready(t, newWorld(250).lists())
	press := func(y int, b tea.MouseButton) {
		r.send(tea.MouseMsg{X: 5, Y: y, Button: b, Action: tea.MouseActionPress})
		r.answer()
	}
	press(8, tea.MouseButtonLeft)
	r.shows("› acct-000004")
	press(10, tea.MouseButtonWheelDown)
	r.shows("› acct-000007")
	press(11, tea.MouseButtonLeft)
	r.shows("accounts › acct-000007")
	press(2, tea.MouseButtonLeft)
	r.shows("account▲")
	press(29, tea.MouseButtonLeft)
	press(0, tea.MouseButtonLeft)
	r.shows("› acct-000007")
}

func TestCopy(t *testing.T) {
	r := ready(t, newWorld(250))
	r.press("down y")
	seq := ansi.SetSystemClipboard("acct-000001")
	if !strings.Contains(r.m.View(), seq) {
		t.Error("the frame does not tell the terminal what to copy")
	}
	r.shows("copied acct-000001")
	r.pass(time.Second)
	if strings.Contains(r.m.View(), "\x1b]52") {
		t.Error("the frame goes on telling it")
	}
}

func TestExport(t *testing.T) {
	t.Chdir(t.TempDir())
	w := newWorld(250).lists()
	w.page = 100
	r := ready(t, w)
	r.press("e c")
	r.shows("wrote 273 rows to billctl-accounts-20260917T080010Z.csv, by id, from 3 answers")
	got, err := os.ReadFile("billctl-accounts-20260917T080010Z.csv")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"id,name,rows,currency,so_far,if_closed_now,budget,budget_percent\n",
		"\nacct-000008,'=cmd|' /C calc'!A0,296,EUR,64.56,93.00,spend,104\n",
		"\nacct-000005,,185,JPY,1200,1500,,\n", "\nacct-000249,",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("the file lacks %q", want)
		}
	}
	r.press("e j")
	r.shows("jsonl")
	r.press(":")
	r.write("invoices")
	r.press("enter e c")
	r.shows("wrote 2 rows to billctl-invoices-")
	invoices, err := os.ReadFile("billctl-invoices-20260917T080010Z.csv")
	if err != nil || !strings.Contains(string(invoices), ",-120,-132,JPY,") {
		t.Errorf("an amount is not a number any more: %s, %v", invoices, err)
	}
	r.press("e c")
	r.shows("-2.csv")
	if names, err := filepath.Glob("*"); err != nil || len(names) != 4 {
		t.Errorf("files %v, %v", names, err)
	}
	r.press("e esc")
	r.hides("export as")
}

func TestSpreadsheet(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a": "a", "=1+1": "'=1+1", "@x": "'@x", "-1.50": "-1.50", "+3": "+3", "-": "'-",
		"-a": "'-a", "\tx": "'\tx", "+": "'+", "--1": "'--1",
	} {
		if got := spreadsheet(in); got != want {
			t.Errorf("spreadsheet(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCompareNumbers(t *testing.T) {
	rising := []string{"x", "-100", "-20.5", "-20.05", "-0.001", "0.00", "0.0010", "0.01", "9.9",
		"10", "1234567890123456789012.1"}
	for i, a := range rising {
		for j, b := range rising {
			got := compareNumbers(a, b)
			if (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("compareNumbers(%q, %q) = %d", a, b, got)
			}
		}
	}
}

// TestRun: a program on pipes ends by its key, and by its context.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	o := Options{Feed: newWorld(3), Profile: termenv.Ascii}
	if err := Run(context.Background(), o, strings.NewReader("jjq"), &out); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	in, _ := io.Pipe()
	if err := Run(ctx, o, in, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestOnce: one frame, and an error where there are no figures.
func TestOnce(t *testing.T) {
	w := newWorld(20)
	o := Options{Feed: w, Profile: termenv.Ascii, Now: func() time.Time {
		return time.Date(2026, 9, 17, 8, 0, 10, 0, time.UTC)
	}}
	frame, err := Once(context.Background(), o, 80, 12)
	if err != nil || !strings.Contains(frame, "acct-000001") || !strings.Contains(frame, "live") {
		t.Errorf("%v\n%s", err, frame)
	}
	o.Open = "nobody"
	var f *Failure
	if frame, err = Once(context.Background(), o, 80, 12); !errors.As(err, &f) ||
		!strings.Contains(frame, "look elsewhere") {
		t.Errorf("%v\n%s", err, frame)
	}
	w.err = fmt.Errorf("dial: %w", ErrGone)
	if _, err = Once(context.Background(), o, 80, 12); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Once(ctx, o, 80, 12); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
