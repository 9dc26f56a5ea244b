package tui

import (
	"strings"
	"unicode"

	tea "github.com/charmbracelet/bubbletea"
)

// globalKey is what a key means on every screen that does not know better.
type globalKey struct {
	keys string // as tea names them, a space between
	binding
	short string // for the line at the bottom; "": it is not there
	do    func(*model) tea.Cmd
}

// globalKeys are those that work on every screen. The page of help is made from them.
func globalKeys() []globalKey {
	just := func(do func(*model)) func(*model) tea.Cmd {
		return func(m *model) tea.Cmd {
			do(m)
			return nil
		}
	}
	return []globalKey{
		{"esc backspace", binding{"esc", "back"}, "back", just((*model).escape)},
		{"/", binding{"/", "filter"}, "filter", just((*model).beginFilter)},
		{":", binding{":", "go to a view or an account"}, "go to",
			just((*model).beginJump)},
		{"space", binding{"space", "pause the figures; what runs goes on"}, "pause",
			just((*model).togglePause)},
		{"y", binding{"y", "copy what is chosen"}, "copy", (*model).copy},
		{"e", binding{"e", "export the view to a file"}, "export",
			just((*model).beginExport)},
		{"?", binding{"?", "help"}, "", just(func(m *model) { m.help = &helpPage{} })},
		{"ctrl+z", binding{"ctrl+z", "suspend"}, "",
			func(*model) tea.Cmd { return tea.Suspend }},
		{"q ctrl+c", binding{"q", "quit"}, "quit", func(*model) tea.Cmd { return quit }},
	}
}

func quit() tea.Msg { return quitMsg{} }

// keyName is how globalKeys names a key.
func keyName(k tea.KeyMsg) string {
	if s := k.String(); s != " " {
		return s
	}
	return "space"
}

// key does what a key means: to a line that is typed, to the page of help, to the screen on top, or
// to all screens.
func (m *model) key(k tea.KeyMsg) tea.Cmd {
	if k.Type == tea.KeyRunes && len(k.Runes) > 1 && !k.Paste && !k.Alt {
		// Keys that come quickly come as one message.
		var cmds []tea.Cmd
		for _, r := range k.Runes {
			cmds = append(cmds, m.key(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}}))
		}
		return tea.Batch(cmds...)
	}
	name := keyName(k)
	switch {
	case name == "ctrl+c":
		return quit
	case name == "ctrl+z":
		return tea.Suspend
	case m.prompt != nil:
		return m.typeKey(k)
	case k.Paste:
		m.say(faint, "pasted text means nothing here; / or : first")
		return nil
	case m.help != nil:
		m.help.key(m, name)
		return nil
	}
	if m.word.text != "" && m.word.ink != bad {
		m.word = word{}
	}
	if m.small() && name != "q" {
		return nil // what can't be seen should not be done
	}
	if act, handled := m.top().screen.key(k); handled {
		return m.act(act)
	}
	for i := range m.keys {
		for known := range strings.FieldsSeq(m.keys[i].keys) {
			if known == name {
				return m.keys[i].do(m)
			}
		}
	}
	return nil
}

// escape takes the filter away, or goes back a level.
func (m *model) escape() {
	m.word = word{}
	if f, ok := m.top().screen.(filtered); ok && f.filter() != "" {
		f.setFilter("")
		return
	}
	if !m.pop() {
		m.say(faint, "this is the first screen; q quits")
	}
}

// promptKind is what a line that is typed is for.
type promptKind uint8

const (
	promptFilter promptKind = iota
	promptJump
	promptExport
)

// prompt is a line that is typed, at the bottom.
type prompt struct {
	kind promptKind
	sign string
	text []rune
}

// maxTyped bounds what is typed into a line.
const maxTyped = 512

func (m *model) beginJump() { m.prompt = &prompt{kind: promptJump, sign: ":"} }

// typeKey types into the line, ends it, or leaves it.
func (m *model) typeKey(k tea.KeyMsg) tea.Cmd {
	p := m.prompt
	if p.kind == promptExport {
		return m.chooseExport(keyName(k))
	}
	before := string(p.text)
	switch name := keyName(k); name {
	case "esc":
		return m.leavePrompt()
	case "enter":
		m.prompt = nil
		if p.kind == promptFilter {
			m.setFilter(string(p.text))
			return nil
		}
		return m.jump(string(p.text))
	case "backspace", "ctrl+h":
		if len(p.text) == 0 {
			return m.leavePrompt()
		}
		p.text = p.text[:len(p.text)-1]
	case "ctrl+u":
		p.text = nil
	case "ctrl+w":
		s := strings.TrimRight(string(p.text), " ")
		p.text = []rune(s[:strings.LastIndexByte(s, ' ')+1])
	case "tab":
		if p.kind == promptJump {
			p.text = complete(p.text)
		}
	case "up", "down", "pgup", "pgdown":
		if p.kind == promptFilter { // to look at what is found, one need not stop typing
			act, _ := m.top().screen.key(k)
			return m.act(act)
		}
	default:
		if (k.Type == tea.KeyRunes || k.Type == tea.KeySpace) && !k.Alt {
			p.add(k.Runes)
		}
	}
	if p.kind == promptFilter && string(p.text) != before {
		return m.typedFilter()
	}
	return nil
}

// add types what can be typed.
func (p *prompt) add(runes []rune) {
	for _, r := range runes {
		if !unicode.IsControl(r) && len(p.text) < maxTyped {
			p.text = append(p.text, r)
		}
	}
}

// leavePrompt leaves the line. The filter that was typed is taken back.
func (m *model) leavePrompt() tea.Cmd {
	if m.prompt.kind == promptFilter {
		m.setFilter("")
	}
	m.prompt = nil
	return nil
}

// helpPage is the page of all keys, scrolled to a line.
type helpPage struct{ top int }

func (h *helpPage) key(m *model, name string) {
	switch name {
	case "down", "j":
		h.top++
	case "up", "k":
		h.top--
	case "pgdown", "space":
		h.top += max(1, m.h/2)
	case "pgup":
		h.top -= max(1, m.h/2)
	default:
		m.help = nil
	}
}

// draw lists what the screen's keys do, and those of all screens.
func (h *helpPage) draw(m *model, height int) []string {
	p := m.pen
	lines := []string{p.ink(strong, p.cut("keys of this screen", m.w))}
	entry := func(b binding) {
		lines = append(lines, p.cut("  "+p.ink(accent, p.left(p.safe(b.keys), 18))+p.safe(b.does), m.w))
	}
	for _, b := range m.top().screen.help() {
		entry(b)
	}
	lines = append(lines, "", p.ink(strong, p.cut("keys of every screen", m.w)))
	for _, k := range m.keys {
		entry(k.binding)
	}
	entry(binding{"mouse", "the wheel scrolls, a click chooses, another one opens"})
	lines = append(lines, "", p.ink(strong, p.cut("places after :", m.w)))
	for _, each := range places() {
		name := each.name
		if each.needs != "" {
			name += " " + strings.TrimPrefix(each.needs, "a ")
		}
		entry(binding{name, each.shows})
	}
	entry(binding{"ID", "the account of that id"})
	h.top = max(0, min(h.top, len(lines)-height))
	return lines[h.top:min(len(lines), h.top+height)]
}
