package tui

import (
	"net/url"

	tea "github.com/charmbracelet/bubbletea"
)

// screen is one level of the drill-down. It has no I/O and no clock: the model asks what it wants,
// and hands it answers, keys and a size. A screen is a pointer; its methods run in Update and View.
type screen interface {
	// crumb is its part of the breadcrumb, not escaped.
	crumb() string
	// wants are the questions whose answers it shows now. They are asked at once when they change, and
	// again at every tick while the screen is on top.
	wants() []want
	// take reads the answer to a want; id is the want's. An error is a BUG of either side.
	take(id string, body []byte) error
	// fail is told of a *Failure to a want, which the model also shows.
	fail(id string, err *Failure)
	// key does what a key means here. handled is false for keys that it does not know.
	key(k tea.KeyMsg) (act action, handled bool)
	// click is a press of the left button or a turn of the wheel at a line of the body; wheel is -1 or
	// +1, 0 for a press.
	click(line, wheel int) action
	// draw returns the body: at most h lines, none wider than w cells.
	draw(w, h int, p *pen) []string
	// help lists the keys that it knows, for the footer and the page of help.
	help() []binding
	// export is what `e` writes: a heading and rows of raw text, as the view has them; the JSON is the
	// last answer. No heading: there is nothing to export.
	export() (heading []string, rows [][]string, answer []byte)
	// chosen is what `y` copies: the id, key or line that is chosen; "" for nothing.
	chosen() string
}

// want is a question that a screen has.
type want struct {
	id     string // unique within the screen
	path   string
	params url.Values
	once   bool // the answer does not change: it is asked again only after a failure
	every  int  // ticks between two questions; 0: it is asked at each
}

// action is what came of a key.
type action struct {
	open screen  // a level deeper
	back bool    // a level up
	say  string  // a word for the line at the bottom, not escaped
	cmd  tea.Cmd // seldom
}

// binding is a key with its meaning.
type binding struct{ keys, does string }
