package tui

import (
	"context"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// Once returns one frame of w times h cells, after the first answers. It fails if nobody answers,
// and with a *Failure if the state says no; the frame then says so too.
func Once(ctx context.Context, o Options, w, h int) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(ctx, o)
	var queue []tea.Cmd
	_, cmd := m.Update(tea.WindowSizeMsg{Width: w, Height: h})
	queue = append(queue, cmd)
	// A screen may want more when it has its first answer; a few rounds are enough.
	for rounds := 0; len(queue) > 0 && rounds < 64; rounds++ {
		cmd, queue = queue[0], queue[1:]
		if cmd == nil {
			continue
		}
		msg := cmd()
		if batch, ok := msg.(tea.BatchMsg); ok {
			queue = append(queue, batch...)
			continue
		}
		_, next := m.Update(msg)
		queue = append(queue, next)
	}
	frame := strings.TrimRight(m.View(), "\n")
	if m.link.away != nil {
		return frame, m.link.away
	}
	if f, _ := m.top().failure(); f != nil {
		return frame, f
	}
	return frame, ctx.Err()
}
