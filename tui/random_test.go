package tui

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"
)

// TestRandom gives a model keys, sizes, presses and answers in any order, while the world behind
// the feed moves, goes away, refuses, goes back and becomes another one. Nothing panics, no frame
// leaves the terminal, and no want is asked twice at once. TUI_SEED repeats a run.
func TestRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TUI_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	t.Logf("TUI_SEED=%d", seed)
	t.Chdir(t.TempDir()) // exports
	rng := rand.New(rand.NewPCG(seed, 1))
	for _, o := range []Options{
		{Profile: termenv.TrueColor, Dark: true}, {Profile: termenv.Ascii, ASCII: true, Open: "acme"},
	} {
		c := &chance{rng: rng, r: newRigOf(t, newWorld(300).lists().details(), o, 80, 24)}
		const steps = 1000
		for step := range steps {
			what := c.step()
			if c.check(); t.Failed() {
				t.Fatalf("after step %d: %s", step, what)
			}
		}
	}
}

// chance does one thing after the other to a rig.
type chance struct {
	rng *rand.Rand
	r   *rig
}

func (c *chance) step() string {
	r, w := c.r, c.r.w
	switch n := c.rng.IntN(100); {
	case n < 55:
		k := c.key()
		r.send(k)
		return "key " + k.String()
	case n < 75:
		if len(r.asked) > 0 { // any of those that are on their way
			i := c.rng.IntN(len(r.asked))
			msg := r.asked[i]
			r.asked = append(r.asked[:i], r.asked[i+1:]...)
			r.send(msg)
		}
		return "an answer"
	case n < 80:
		r.send(tea.WindowSizeMsg{Width: c.rng.IntN(301), Height: c.rng.IntN(60)})
		if c.rng.IntN(3) > 0 {
			r.send(tea.WindowSizeMsg{Width: 40 + c.rng.IntN(60), Height: 8 + c.rng.IntN(20)})
		}
		return "a size"
	case n < 85:
		r.send(tea.MouseMsg{
			X: c.rng.IntN(100), Y: c.rng.IntN(40), Action: tea.MouseAction(c.rng.IntN(3)),
			Button: tea.MouseButton(c.rng.IntN(8)),
		})
		return "the mouse"
	case n < 93:
		r.now = r.now.Add(time.Duration(c.rng.IntN(4000)) * time.Millisecond)
		due := r.timers
		r.timers = nil
		for _, each := range due {
			r.send(each.msg)
		}
		return "time"
	}
	return c.world(w)
}

func (c *chance) world(w *world) string {
	switch c.rng.IntN(12) {
	case 0:
		w.err = fmt.Errorf("dial: %w", ErrGone)
	case 1:
		w.refuse["/v1/accounts"] = &Failure{"internal", "a \x1b[31m disk \x00", "hint\n\n"}
	case 2:
		w.journal = strings.Repeat(strconv.Itoa(c.rng.IntN(10)), 32)
	case 3:
		w.seq -= min(w.seq, uint64(c.rng.IntN(100)))
	case 4:
		w.n = c.rng.IntN(400)
	case 5:
		w.started = fmt.Sprint(w.seq)
	case 6:
		statuses := []string{"live", "catching_up", "frozen", "read_only", "as_of", "new"}
		w.status = statuses[c.rng.IntN(len(statuses))]
	case 7:
		w.where = strings.Repeat("directory /a/株式会社\x1b", 1+c.rng.IntN(5))
	case 8:
		w.started = ""
	default:
		w.err = nil
		clear(w.refuse)
	}
	w.seq += uint64(c.rng.IntN(50))
	w.bump++
	return "the world"
}

func (c *chance) key() tea.KeyMsg {
	names := strings.Fields("enter enter enter esc up down down pgup pgdown home end g G j k l tab " +
		"backspace / : space y s S < > ? e c j ctrl+u ctrl+w left right 1 v a n p o [ ] x")
	switch c.rng.IntN(12) {
	case 0:
		words := []string{"accounts", "inv", "0001", "!x", "acme", ">5", "cat", "🚀", "株", "event 7",
			"meters", "\x1b[2J", "deliveries", "checkpoints", "rejections"}
		return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(words[c.rng.IntN(len(words))]),
			Paste: c.rng.IntN(3) > 0}
	}
	return keyMsg(names[c.rng.IntN(len(names))])
}

// check looks at the frame, and at what the screen on top draws by itself.
func (c *chance) check() {
	r := c.r
	m := r.m
	if r.w.most > 1 || len(m.levels) > maxDepth {
		r.t.Errorf("%d questions of a want at once, %d levels", r.w.most, len(m.levels))
	}
	open := map[string]bool{}
	for _, msg := range r.asked {
		if a, ok := msg.(answerMsg); ok {
			id := fmt.Sprintf("%p %s", a.level, a.id)
			if open[id] {
				r.t.Errorf("two open questions of %s", a.id)
			}
			open[id] = true
		}
	}
	frame := strings.Replace(m.View(), m.copied, "", 1)
	lines := strings.Split(frame, "\n")
	checkLines(r.t, "frame", lines, m.w, max(m.h, 1), m.options.ASCII)
	if m.small() || !m.top().took {
		return
	}
	if h := m.fit().body; len(lines) != m.h {
		r.t.Errorf("%d lines of %d", len(lines), m.h)
	} else {
		checkLines(r.t, m.top().screen.crumb(), m.top().screen.draw(m.w, h, m.pen), m.w, h,
			m.options.ASCII)
	}
}
