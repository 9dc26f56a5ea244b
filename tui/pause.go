package tui

// pause freezes the figures; questions go on, so that nothing has to be caught up afterwards.
type pause struct {
	on      bool
	updates int    // positions that came since
	seq     uint64 // the last of them
}

// hold keeps an answer back while the figures are paused. What was never shown is not held.
func (m *model) hold(a *answerMsg, s *slot, at position) bool {
	if !m.pause.on || s.taken != a.q.key {
		return false
	}
	if at.Seq > m.pause.seq {
		m.pause.seq = at.Seq
		m.pause.updates++
	}
	s.held, s.heldAt, s.came = a.body, at, m.options.Now()
	return true
}

// togglePause freezes the figures, or shows the newest ones.
func (m *model) togglePause() {
	if !m.pause.on {
		m.pause = pause{on: true, seq: m.link.shown.Seq}
		return
	}
	m.pause = pause{}
	m.release(m.head, []want{statusWant()})
	m.release(m.top(), m.top().screen.wants())
}

// release hands a level what was held.
func (m *model) release(l *level, wants []want) {
	for _, w := range wants {
		if s := l.slot(w.id); s.held != nil && s.taken == keyOf(&w) {
			m.deliver(l, w.id, s.taken, s.held, s.heldAt)
		}
	}
}
