package tui

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// statusAnswer is what the header reads of /v1/status.
type statusAnswer struct {
	Position position `json:"position"`
	Controls []struct {
		Source   string            `json:"source"`
		Read     uint64            `json:"read"`
		Rejected map[string]uint64 `json:"rejected"`
	} `json:"controls"`
	Sinks []struct {
		Waiting uint64 `json:"waiting"`
		Parked  uint64 `json:"parked"`
	} `json:"sinks"`
	Process *struct {
		Started      string  `json:"started"`
		Checkpoint   uint64  `json:"checkpoint"`
		CheckpointAt *string `json:"checkpoint_at"`
	} `json:"process"`
}

// sourcePart is how far a source was read.
type sourcePart struct {
	Name       string       `json:"name"`
	LagBytes   uint64       `json:"lag_bytes"`
	LagSeconds *json.Number `json:"lag_seconds"`
}

// startedOf returns when the process of a status began, "" where none runs.
func startedOf(body []byte) string {
	var a statusAnswer
	if err := readAnswer(body, &a); err != nil || a.Process == nil {
		return "" // deliver says what is wrong with it
	}
	return a.Process.Started
}

// header is what the first lines show: the newest status and what came of those before.
type header struct {
	status *statusAnswer
	rates  []uint64  // rows a second, of the last intervals, the newest last
	rows   uint64    // that were read at the last answer
	at     time.Time // of it
	moved  time.Time // when the position last was another one
}

const (
	rateCells = 16
	// stallTime is how long a source may have something to read while nothing is read.
	stallTime = 10 * time.Second
)

// take reads a status.
func (h *header) take(body []byte, now time.Time) error {
	var a statusAnswer
	if err := readAnswer(body, &a); err != nil {
		return err
	}
	var rows uint64
	for _, c := range a.Controls {
		rows += c.Read
	}
	switch gone := now.Sub(h.at).Milliseconds(); {
	case h.status == nil || rows < h.rows:
		h.rates = nil
		h.rows, h.at = rows, now
	case gone > 0:
		h.rates = append(h.rates, (rows-h.rows)*1000/uint64(gone))
		h.rates = h.rates[max(0, len(h.rates)-rateCells):]
		h.rows, h.at = rows, now
	}
	if h.status == nil || h.status.Position.Seq != a.Position.Seq {
		h.moved = now
	}
	h.status = &a
	return nil
}

// rate is rows a second over the last two seconds or so: one interval alone jumps.
func (h *header) rate() uint64 {
	last := h.rates[max(0, len(h.rates)-4):]
	if len(last) == 0 {
		return 0
	}
	var sum uint64
	for _, r := range last {
		sum += r
	}
	return sum / uint64(len(last))
}

// state is the sign, the words and the ink of how things are.
func (m *model) state() (glyph, ink, string) {
	now, status := m.options.Now(), m.header.status
	slot := m.head.slot("status")
	switch {
	case m.link.away != nil:
		words := "disconnected since " + m.link.since.Format(time.TimeOnly)
		if m.w >= 80 {
			words += ", trying again"
		}
		return dotGone, bad, words
	case slot.failed != nil:
		return signBad, bad, "no status: " + slot.failed.Message
	case status == nil:
		return dotWait, faint, "connecting"
	}
	at := &status.Position
	silent := slot.open != nil && now.Sub(slot.open.at) >= stallTime
	stuck := at.Status == "catching_up" && now.Sub(m.header.moved) >= stallTime && !m.pause.on
	switch {
	case silent:
		return dotWait, bad, "stalled: no answer for " + ago(now.Sub(slot.open.at))
	case stuck:
		return dotWait, bad, "stalled for " + ago(now.Sub(m.header.moved))
	case at.Status == "catching_up":
		return dotWait, warning, "catching up"
	case at.Status == "live":
		return dotLive, good, "live"
	case at.Status == "frozen":
		return signWarning, warning, "frozen: nothing closes"
	case at.Status == "read_only":
		return dotGone, warning, "read-only"
	case at.Status == "as_of":
		return dotGone, warning, "as of " + at.Opening
	}
	return signWarning, warning, at.Status
}

// part is a piece of the header: a label, and what it is.
type part struct {
	label, text string
	ink         ink
	drop        int // the greatest leaves first
}

// parts are the figures of the second line, as they stand.
func (m *model) parts() []part {
	status := m.header.status
	if status == nil {
		return nil
	}
	var rejected, undelivered, parked, bytes uint64
	for _, c := range status.Controls {
		for _, n := range c.Rejected {
			rejected += n
		}
	}
	for _, s := range status.Sinks {
		undelivered += s.Waiting + s.Parked
		parked += s.Parked
	}
	lag := ""
	for _, s := range status.Position.Sources {
		bytes += s.LagBytes
		if s.LagSeconds != nil && longer(s.LagSeconds.String(), lag) {
			lag = s.LagSeconds.String()
		}
	}
	if whole, _, _ := strings.Cut(lag, "."); lag != "" {
		lag = grouped(whole) + " s"
	} else {
		lag = "not known"
	}
	if bytes > 0 {
		lag += ", " + size(bytes)
	}
	parts := []part{{"lag", lag, plain, 3}}
	if status.Process != nil {
		saved := "none yet"
		if c := status.Process.CheckpointAt; c != nil && status.Process.Checkpoint > 0 {
			saved = m.since(*c) + " ago"
		}
		parts = append(parts, part{"checkpoint", saved, plain, 4})
	}
	return append(parts,
		part{"rejected", count(rejected), inkOf(rejected, warning), 1},
		part{"undelivered", count(undelivered), inkOf(undelivered, plain+inkIf(parked > 0, bad)), 2})
}

// inkOf is plain for nothing.
func inkOf(n uint64, in ink) ink { return inkIf(n > 0, in) }

func inkIf(yes bool, in ink) ink {
	if yes {
		return in
	}
	return plain
}

// longer compares two numbers of seconds as they are written, "" is less than any.
func longer(a, b string) bool { return b == "" || compareNumbers(a, b) > 0 }

// since is how long ago an instant was.
func (m *model) since(instant string) string {
	t, err := time.Parse(time.RFC3339Nano, instant)
	if err != nil {
		return "?"
	}
	return ago(m.options.Now().Sub(t))
}

// ago writes a time that has passed, in its greatest unit.
func ago(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	switch {
	case s < 120:
		return fmt.Sprintf("%d s", s)
	case s < 120*60:
		return fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%d h", s/3600)
	}
	return fmt.Sprintf("%d days", s/86400)
}

// size writes bytes in their greatest unit.
func size(n uint64) string {
	for _, u := range []struct {
		unit string
		of   uint64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.of {
			return fmt.Sprintf("%d.%d %s", n/u.of, n%u.of*10/u.of, u.unit)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// drawHeader returns lines lines: the state and where, position and watermark, and how things run.
func (m *model) drawHeader(lines int) []string {
	p := m.pen
	sign, in, words := m.state()
	first := p.ink(in, p.glyph(sign)+" "+p.safe(words))
	if m.pause.on {
		first += "  " + p.ink(changed, fmt.Sprintf("paused +%d updates", m.pause.updates))
	}
	right := m.positionText()
	where := p.safe(m.link.where)
	if room := m.w - width(first) - width(right) - 4; room >= 8 {
		first += "  " + p.ink(faint, p.cut(where, room))
	}
	out := []string{m.apart(first, right)}
	if lines > 1 {
		out = append(out, m.second())
	}
	return out
}

// positionText is the position and the watermark, as far as there is room.
func (m *model) positionText() string {
	if m.link.shown.Journal == "" {
		return ""
	}
	p := m.pen
	text := p.ink(faint, "position ") + p.ink(strong, count(m.link.shown.Seq))
	if m.w >= 72 {
		mark := "none yet"
		if w := m.link.shown.Watermark; w != nil {
			mark = minutes(*w)
		}
		text += p.ink(faint, "  watermark ") + p.safe(mark)
	}
	return text
}

// minutes is an instant without its seconds.
func minutes(instant string) string {
	if len(instant) < len("2026-09-01T10:00") {
		return instant
	}
	return strings.Replace(instant[:len("2026-09-01T10:00")], "T", " ", 1)
}

// second is the line of figures: those that have room.
func (m *model) second() string {
	p := m.pen
	parts := m.parts()
	rate := ""
	if len(parts) > 0 && m.header.status.Process != nil {
		rate = p.ink(plain, count(m.header.rate())) + p.ink(faint, " events/s ") +
			sparkline(m.header.rates, rateCells, p)
	}
	for {
		line := rate
		for _, each := range parts {
			if line != "" {
				line += "  "
			}
			line += p.ink(faint, each.label+" ") + p.ink(each.ink, p.safe(each.text))
		}
		if width(line) <= m.w {
			return line
		}
		if rate != "" && m.w < 100 && width(rate) > 24 {
			rate = p.ink(plain, count(m.header.rate())) + p.ink(faint, " ev/s ") +
				sparkline(m.header.rates, min(8, len(m.header.rates)), p)
			continue
		}
		if len(parts) == 0 {
			return p.cut(line, m.w)
		}
		at := 0
		for i := range parts {
			if parts[i].drop > parts[at].drop {
				at = i
			}
		}
		parts = append(parts[:at:at], parts[at+1:]...)
	}
}

// apart puts one text at the left and one at the right, if both have room; the left one stays.
func (m *model) apart(left, right string) string {
	space := m.w - width(left) - width(right)
	if right == "" || space < 2 {
		return m.pen.cut(left, m.w)
	}
	return left + strings.Repeat(" ", space) + right
}
