package tui

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/x/ansi"
)

// copyTime is how long a frame carries what is copied: longer than two frames are apart.
const copyTime = 300 * time.Millisecond

type copiedMsg struct{}

// copy hands what is chosen to the clipboard of the terminal (OSC 52). It is part of a frame, since
// nothing but the frame may be written to the terminal.
func (m *model) copy() tea.Cmd {
	text := m.top().screen.chosen()
	if text == "" {
		m.say(faint, "there is nothing to copy here")
		return nil
	}
	m.copied = ansi.SetSystemClipboard(text)
	m.say(good, "copied "+text)
	return m.later(copyTime, copiedMsg{})
}
