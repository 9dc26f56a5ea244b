package tui

import (
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// filtered is a screen that shows only what fits words.
type filtered interface {
	filter() string
	setFilter(string)
}

// filterTime is how long nothing must be typed until a filter holds.
const filterTime = 100 * time.Millisecond

// filterMsg says that nothing was typed for a while, unless it was: then number is another one.
type filterMsg struct{ number int }

// beginFilter opens the line for the words of a filter.
func (m *model) beginFilter() {
	f, ok := m.top().screen.(filtered)
	if !ok {
		m.say(faint, "there is no list to filter here")
		return
	}
	m.prompt = &prompt{kind: promptFilter, sign: "/", text: []rune(f.filter())}
}

// typedFilter waits for the next key before it takes the words.
func (m *model) typedFilter() tea.Cmd {
	m.typed++
	return m.later(filterTime, filterMsg{m.typed})
}

func (m *model) applyFilter(msg filterMsg) {
	if msg.number == m.typed && m.prompt != nil && m.prompt.kind == promptFilter {
		m.setFilter(string(m.prompt.text))
	}
}

func (m *model) setFilter(text string) {
	if f, ok := m.top().screen.(filtered); ok && f.filter() != strings.TrimSpace(text) {
		f.setFilter(strings.TrimSpace(text))
	}
}

// filterWords are the words of a filter that a row must have, and those that it must not, lower
// case.
func filterWords(text string) (with, without []string) {
	for _, word := range strings.Fields(strings.ToLower(text)) {
		rest, not := strings.CutPrefix(word, "!")
		switch {
		case not && rest != "":
			without = append(without, rest)
		case !not:
			with = append(with, word)
		}
	}
	return with, without
}

// marked is the word of a filter that is underlined: the first that is looked for in texts.
func marked(text string) string {
	with, _ := filterWords(text)
	for _, word := range with {
		if !strings.ContainsAny(word[:1], "<>") && !strings.HasPrefix(word, "plan:") {
			return word
		}
	}
	return ""
}
