package tui

import (
	"strconv"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// place is somewhere to go to by name.
type place struct {
	name  string
	shows string
	// open makes the screen; of is what follows the name, needs says what that is. nil: the home.
	open  func(of string) screen
	needs string
}

func places() []place {
	view := func(make func() screen) func(string) screen {
		return func(string) screen { return make() }
	}
	return []place{
		{"accounts", "what every account owes now", nil, ""},
		{"invoices", "issued documents", view(newInvoicesScreen), ""},
		{"deliveries", "documents on their way to sinks", view(newDeliveriesScreen), ""},
		{"rejections", "rows that do not count", view(newRejectionsScreen), ""},
		{"meters", "what is counted and how", view(newMetersScreen), ""},
		{"catalog", "plans and their prices", view(newCatalogScreen), ""},
		{"checkpoints", "saved states, archive, openings", view(newCheckpointsScreen), ""},
		{"account", "one account", func(of string) screen { return newAccountScreen(of) }, "an id"},
		{"invoice", "one document", func(of string) screen { return newInvoiceScreen(of) }, "a key"},
		{"event", "one row of the journal", openEvent, "a position"},
	}
}

// openEvent returns nil if that is no position.
func openEvent(of string) screen {
	seq, err := strconv.ParseUint(strings.ReplaceAll(of, ",", ""), 10, 64)
	if err != nil {
		return nil
	}
	return newEventScreen(seq)
}

// completions are the places whose names begin as what was typed.
func completions(typed string) []place {
	var out []place
	for _, p := range places() {
		if strings.HasPrefix(p.name, strings.ToLower(typed)) {
			out = append(out, p)
		}
	}
	return out
}

// complete fills in a name as far as it is certain; if it is whole, the next one.
func complete(text []rune) []rune {
	fits := completions(string(text))
	if len(fits) == 0 {
		return text
	}
	name := fits[0].name
	for _, p := range fits[1:] {
		for !strings.HasPrefix(p.name, name) {
			name = name[:len(name)-1]
		}
	}
	if len(fits) == 1 && fits[0].needs != "" {
		name += " "
	}
	return []rune(name)
}

// jump goes where the line says: a view, a thing by its id, or else the account of that id.
func (m *model) jump(line string) tea.Cmd {
	line = strings.TrimSpace(line)
	if line == "" {
		return nil
	}
	name, of, _ := strings.Cut(line, " ")
	of = strings.TrimSpace(of)
	if name == "q" || name == "quit" {
		return quit
	}
	fits := completions(name)
	for _, p := range fits {
		if p.name == name {
			fits = []place{p}
		}
	}
	if of == "" && len(fits) > 1 && views(fits) == 1 {
		fits = fits[:1]
	}
	switch {
	case len(fits) == 1 && fits[0].needs != "" && of == "":
		m.say(warning, ":"+fits[0].name+" needs "+fits[0].needs)
	case len(fits) == 1 && (of == "") == (fits[0].needs == ""):
		m.goTo(&fits[0], of)
	case len(fits) > 1 && of == "":
		m.say(warning, fits[0].name+" or "+fits[1].name+"?")
	default:
		m.goTo(&place{open: func(of string) screen { return newAccountScreen(of) }}, line)
	}
	return nil
}

// views counts the places that need no more than their name.
func views(list []place) int {
	n := 0
	for _, p := range list {
		if p.needs == "" {
			n++
		}
	}
	return n
}

// goTo leaves every level but the home, and opens a place there.
func (m *model) goTo(p *place, of string) {
	var s screen
	if p.open != nil {
		if s = p.open(of); s == nil {
			m.say(warning, of+" is not "+p.needs)
			return
		}
	}
	for m.pop() {
	}
	if s != nil {
		m.push(s)
	}
}
