package tui

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// askTime is how long a question may take before nobody seems to answer.
const askTime = 30 * time.Second

// level is a screen with the questions that were asked for it. That of the header has no screen.
type level struct {
	screen screen
	slots  map[string]*slot // by the id of a want
	took   bool             // an answer: there is something to draw
}

func newLevel(s screen) *level { return &level{screen: s, slots: map[string]*slot{}} }

// slot is what became of one want of a screen.
type slot struct {
	open   *question // nil: none
	asked  string    // the question that was asked last
	taken  string    // the question whose answer is shown
	ticks  int       // since it was asked
	seq    uint64    // position of the answer that is shown
	late   int       // answers in a row that were dropped, since they were older
	failed *Failure  // of the last answer
	held   []byte    // the newest answer while the figures are paused
	heldAt position
	came   time.Time // when it did
}

// question is one that was asked and not answered yet.
type question struct {
	key    string
	number int
	at     time.Time
	cancel context.CancelFunc
}

type answerMsg struct {
	level *level
	id    string
	q     *question
	body  []byte
	err   error
	where string
}

// cancel ends the questions of a level that is left. They stay open until they are back.
func (l *level) cancel() {
	for _, s := range l.slots { // in no order: each is ended alone
		if s.open != nil {
			s.open.cancel()
		}
	}
}

// failure returns what the state says no to, of the first want that has it. stale: the answer
// before is still shown.
func (l *level) failure() (f *Failure, stale bool) {
	for _, w := range l.screen.wants() {
		if s := l.slots[w.id]; s != nil && s.failed != nil && s.asked == keyOf(&w) {
			return s.failed, s.taken != ""
		}
	}
	return nil, false
}

func (l *level) slot(id string) *slot {
	s := l.slots[id]
	if s == nil {
		s = &slot{}
		l.slots[id] = s
	}
	return s
}

func keyOf(w *want) string { return w.path + "?" + w.params.Encode() }

func statusWant() want { return want{id: "status", path: "/v1/status"} }

// ask asks what is shown and has no open question: all of it at a tick, otherwise what changed.
func (m *model) ask(tick bool) tea.Cmd {
	cmds := []tea.Cmd{m.askFor(m.head, statusWant(), tick)}
	if m.w <= 0 {
		return tea.Batch(cmds...) // what is seen depends on the size
	}
	top := m.top()
	for _, w := range top.screen.wants() {
		cmds = append(cmds, m.askFor(top, w, tick))
	}
	return tea.Batch(cmds...)
}

func (m *model) askFor(l *level, w want, tick bool) tea.Cmd {
	s, key := l.slot(w.id), keyOf(&w)
	if m.ctx.Err() != nil {
		return nil
	}
	if s.open != nil {
		if s.open.key != key {
			s.open.cancel() // the new one is asked when the old one is back
		}
		return nil
	}
	if tick {
		s.ticks++
	}
	switch {
	case s.asked != key:
	case !tick, w.once && s.taken == key && s.failed == nil, s.ticks < w.every && s.taken == key:
		return nil
	}
	s.asked, s.ticks = key, 0
	ctx, cancel := context.WithTimeout(m.ctx, askTime)
	m.link.asked++
	q := &question{key: key, number: m.link.asked, at: m.options.Now(), cancel: cancel}
	s.open = q
	feed := m.options.Feed
	return func() tea.Msg {
		body, err := feed.Ask(ctx, w.path, w.params)
		return answerMsg{l, w.id, q, body, err, feed.Where()}
	}
}

// answer takes what came back, unless nobody wants it any more.
func (m *model) answer(a *answerMsg) {
	s := a.level.slot(a.id)
	if s.open != a.q {
		panic("BUG: two questions of one want were open")
	}
	s.open = nil
	a.q.cancel()
	m.link.where = a.where
	if errors.Is(a.err, context.Canceled) {
		s.asked = "" // if somebody wants it again
		return
	}
	if m.link.lost(a.q) {
		return
	}
	if !m.wanted(a) {
		s.asked = ""
		if a.err == nil {
			m.link.found()
		}
		return
	}
	if a.err != nil {
		m.refused(a, s)
		return
	}
	at, err := readPosition(a.body)
	if err != nil {
		m.say(bad, err.Error())
		return
	}
	m.judge(a, s, at)
}

// wanted says whether an answer is to a question that is shown now.
func (m *model) wanted(a *answerMsg) bool {
	if a.level == m.head {
		return true
	}
	if a.level != m.top() {
		return false
	}
	for _, w := range a.level.screen.wants() {
		if w.id == a.id {
			return keyOf(&w) == a.q.key
		}
	}
	return false
}

// refused takes an error: the state says no, or nobody is there.
func (m *model) refused(a *answerMsg, s *slot) {
	f, away := gone(a.err)
	if away {
		why := a.err
		if errors.Is(why, context.DeadlineExceeded) {
			why = fmt.Errorf("no answer within %s", askTime)
		}
		m.link.lose(why, m.options.Now())
		return
	}
	m.link.found()
	s.failed, s.held = f, nil
	if a.level.screen != nil {
		a.level.screen.fail(a.id, f)
	}
}

// judge compares the position of an answer with what was shown before, and takes or drops it.
func (m *model) judge(a *answerMsg, s *slot, at position) {
	if a.level == m.head {
		m.link.process(startedOf(a.body))
	}
	change := m.link.arrive(at, a.where)
	if change.words != "" {
		m.say(change.ink, change.words)
	}
	if change.anew {
		m.anew()
		if a.level != m.head {
			return
		}
	}
	// Answers overtake each other now and then; but what stays older has gone back.
	if at.Seq < s.seq && s.seq <= m.link.shown.Seq {
		if s.late++; s.late < lateAnswers {
			return
		}
		m.say(bad, backWords(s.seq, at.Seq))
		m.link.shown = at
	}
	s.late, s.failed = 0, nil
	if m.hold(a, s, at) {
		return
	}
	s.came = m.options.Now()
	m.deliver(a.level, a.id, a.q.key, a.body, at)
}

// lateAnswers is how many older answers are dropped before one is believed.
const lateAnswers = 3

// anew forgets everything that was shown: it was of another journal.
func (m *model) anew() {
	m.home()
	m.pause = pause{}
	m.header = header{}
	m.prompt, m.help = nil, nil
	for _, s := range m.head.slots { // in no order: each alone
		s.seq, s.held = 0, nil
	}
}

// deliver hands an answer to its screen.
func (m *model) deliver(l *level, id, key string, body []byte, at position) {
	s := l.slot(id)
	s.taken, s.seq, s.held = key, at.Seq, nil
	m.link.show(at)
	var err error
	if l == m.head {
		err = m.header.take(body, s.came)
	} else {
		m.tell(l.screen)
		err = l.screen.take(id, body)
	}
	if err != nil {
		m.say(bad, fmt.Sprintf("the answer to %s is not understood: %s", key, err))
		return
	}
	l.took = true
}

// timed is a screen that shows for a while what has changed.
type timed interface{ setTime(time.Time) }

func (m *model) tell(s screen) {
	if t, ok := s.(timed); ok {
		t.setTime(m.options.Now())
	}
}
