package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"billctl/engine"
	"billctl/internal/live"
)

// progress is one line on a terminal that says how far a command is; nothing anywhere else.
type progress struct {
	s     *session
	on    bool
	mu    sync.Mutex
	shown int // width of the line that stands there
	start time.Time
	last  time.Time
}

func newProgress(s *session) *progress {
	return &progress{s: s, on: isTerminal(s.stderr), start: time.Now()}
}

// line replaces the line.
func (p *progress) line(text string) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	pad := max(0, p.shown-len(text))
	fmt.Fprintf(p.s.stderr, "\r%s%s", text, strings.Repeat(" ", pad))
	p.shown = len(text)
}

// clear takes the line away, so that other words can be written.
func (p *progress) clear() {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown > 0 {
		fmt.Fprintf(p.s.stderr, "\r%s\r", strings.Repeat(" ", p.shown))
		p.shown = 0
	}
}

// restoring shows how far a restore is.
func (p *progress) restoring(seq engine.Seq) {
	if now := time.Now(); now.Sub(p.last) > 200*time.Millisecond {
		p.last = now
		p.line(fmt.Sprintf("restoring: entry %s, %s", grouped(uint64(seq)),
			now.Sub(p.start).Round(time.Second)))
	}
}

// running shows rate, lag and watermark of a run until ctx ends.
func (p *progress) running(ctx context.Context, r *live.Run) {
	if !p.on {
		return
	}
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	before, at := uint64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			m := r.Metrics()
			rate := float64(m.Rows-before) / now.Sub(at).Seconds()
			before, at = m.Rows, now
			p.line(runLine(&m, rate))
		}
	}
}

func runLine(m *live.Metrics, rate float64) string {
	var lag int64
	for _, s := range m.Sources {
		lag += s.LagBytes
	}
	text := fmt.Sprintf("%s rows, %s rows/s", grouped(m.Rows), grouped(uint64(rate)))
	if lag == 0 {
		return text + ", caught up"
	}
	text += fmt.Sprintf(", %s MiB to read", grouped(uint64(lag>>20)))
	if read := m.Bytes; read > 0 && rate > 0 && m.Rows > 0 {
		perRow := float64(read) / float64(m.Rows)
		left := time.Duration(float64(lag) / perRow / rate * float64(time.Second))
		text += ", about " + left.Round(time.Second).String()
	}
	return text
}

// grouped writes a number with commas between thousands.
func grouped(n uint64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// counted writes a number of things: "1 row", "2,000 rows".
func counted(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}
