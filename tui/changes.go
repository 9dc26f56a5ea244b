package tui

import (
	"strings"
	"time"
)

// changeTime is how long a figure that moved is marked.
const changeTime = 2 * time.Second

// changes remembers the figures of the answer before, by row, and when each has moved.
type changes struct {
	now  time.Time
	rows map[string]*changedRow
}

type changedRow struct {
	texts []string
	at    []time.Time
	kept  bool // it is in the newest answer
}

func (c *changes) setTime(now time.Time) { c.now = now }

// see notes the figures of a row of a new answer.
func (c *changes) see(id string, texts ...string) {
	if c.rows == nil {
		c.rows = map[string]*changedRow{}
	}
	r := c.rows[id]
	if r == nil || len(r.texts) != len(texts) {
		c.rows[id] = &changedRow{texts, make([]time.Time, len(texts)), true}
		return
	}
	for i, text := range texts {
		if r.texts[i] != text {
			r.texts[i], r.at[i] = text, c.now
		}
	}
	r.kept = true
}

// forget drops the rows that the newest answer does not have.
func (c *changes) forget() {
	for id, r := range c.rows { // in no order: each alone
		if !r.kept {
			delete(c.rows, id)
		}
		r.kept = false
	}
}

// moved says whether a figure has changed a moment ago.
func (c *changes) moved(id string, figure int) bool {
	r := c.rows[id]
	return r != nil && !r.at[figure].IsZero() && c.now.Sub(r.at[figure]) < changeTime
}

// compareNumbers compares two decimals as they are written. What is no decimal comes first.
func compareNumbers(a, b string) int {
	a, b = strings.TrimPrefix(a, "+"), strings.TrimPrefix(b, "+")
	sa, sb := signOf(a), signOf(b)
	switch {
	case sa != sb:
		return sa - sb
	case sa == -1:
		return compareSizes(b[1:], a[1:])
	case sa == -2:
		return strings.Compare(a, b)
	}
	return compareSizes(a, b)
}

// signOf returns -1, 0 and 1, and -2 for what is no decimal.
func signOf(s string) int {
	digits := strings.TrimPrefix(s, "-")
	zero := true
	whole, fraction, point := strings.Cut(digits, ".")
	if whole == "" || point && fraction == "" {
		return -2
	}
	for _, r := range whole + fraction {
		if r < '0' || r > '9' {
			return -2
		}
		zero = zero && r == '0'
	}
	switch {
	case zero:
		return 0
	case len(digits) < len(s):
		return -1
	}
	return 1
}

// compareSizes compares decimals without a sign.
func compareSizes(a, b string) int {
	wholeA, restA, _ := strings.Cut(a, ".")
	wholeB, restB, _ := strings.Cut(b, ".")
	wholeA, wholeB = strings.TrimLeft(wholeA, "0"), strings.TrimLeft(wholeB, "0")
	if len(wholeA) != len(wholeB) {
		return len(wholeA) - len(wholeB)
	}
	if c := strings.Compare(wholeA, wholeB); c != 0 {
		return c
	}
	return strings.Compare(strings.TrimRight(restA, "0"), strings.TrimRight(restB, "0"))
}
