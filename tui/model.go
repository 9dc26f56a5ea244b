package tui

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/muesli/termenv"
)

// Options say what is shown, how, and how often it is asked for.
type Options struct {
	Feed Feed
	// Profile is what colours the terminal has; termenv.Ascii: none, as NO_COLOR asks for.
	Profile termenv.Profile
	Dark    bool // the background
	ASCII   bool // nothing beyond ASCII is written
	// Interval is the time between two questions of a kind; 0: half a second.
	Interval time.Duration
	Now      func() time.Time // nil: time.Now
	Open     string           // id of an account to begin with; "": the list of them
}

const (
	usualInterval = 500 * time.Millisecond
	frameRate     = 10 // frames a second at most
)

// Run shows a state in a terminal until the user quits or ctx ends. It fails if the terminal can't
// be used. in and out are the terminal, if they are files of it.
func Run(ctx context.Context, o Options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := tea.NewProgram(newModel(ctx, o), tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out),
		tea.WithAltScreen(), tea.WithMouseCellMotion(), tea.WithFPS(frameRate),
		// ctx ends with a signal. A handler of Bubble Tea's own would hand the signal on to a loop that
		// has ended by then, and wait for it for ever.
		tea.WithoutSignalHandler())
	if _, err := p.Run(); err != nil {
		if ended := ctx.Err(); ended != nil {
			return ended
		}
		return fmt.Errorf("use the terminal: %w", err)
	}
	return nil
}

// model is the frame around screens: what is asked, what is on top, and the words at the edges. Its
// methods run in Update; they change it in place and return what is to be done outside.
type model struct {
	options Options
	ctx     context.Context // of Run: its end ends every question
	pen     *pen
	keys    []globalKey
	// later sends a message after a while.
	later func(time.Duration, tea.Msg) tea.Cmd

	w, h   int
	head   *level // the status, which the header shows
	header header
	levels []*level // the home first; the last one is on top

	link   link
	pause  pause
	prompt *prompt // nil: keys mean what they mean
	typed  int     // counts changes of the filter: only the last one is asked for
	help   *helpPage
	word   word
	copied string // what the terminal is told to put into its clipboard
	frame  string // what View returns
}

// word is a message for the line at the bottom, until a time or the next key after it was seen.
type word struct {
	text  string
	ink   ink
	until time.Time
}

// wordTime is how long a message stays.
const wordTime = 10 * time.Second

type tickMsg struct{}

func newModel(ctx context.Context, o Options) *model {
	if o.Interval <= 0 {
		o.Interval = usualInterval
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	m := &model{
		options: o, ctx: ctx, pen: newPen(o.Profile, o.Dark, o.ASCII), keys: globalKeys(),
		later: func(d time.Duration, msg tea.Msg) tea.Cmd {
			return tea.Tick(d, func(time.Time) tea.Msg { return msg })
		},
	}
	m.head = newLevel(nil)
	m.link.where = o.Feed.Where()
	m.home()
	if o.Open != "" {
		m.push(newAccountScreen(o.Open))
	}
	return m
}

// Init asks the first questions.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.ask(true), m.later(m.options.Interval, tickMsg{}))
}

// Update takes a message, draws, and asks for what is shown now and was not asked for.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.take(msg)
	if _, quits := msg.(quitMsg); quits {
		return m, tea.Quit
	}
	m.frame = m.draw() // screens learn how many rows are seen, and want those
	return m, tea.Batch(cmd, m.ask(false))
}

// View returns the frame that Update drew.
func (m *model) View() string { return m.frame }

type quitMsg struct{}

func (m *model) take(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h = msg.Width, msg.Height
	case tickMsg:
		return tea.Batch(m.ask(true), m.later(m.options.Interval, tickMsg{}))
	case tea.KeyMsg:
		return m.key(msg)
	case tea.MouseMsg:
		return m.mouse(msg)
	case answerMsg:
		m.answer(&msg)
	case filterMsg:
		m.applyFilter(msg)
	case copiedMsg:
		m.copied = ""
	case exportedMsg:
		if msg.err != nil {
			m.say(bad, "export: "+msg.err.Error())
		} else {
			m.say(good, msg.said)
		}
	}
	return nil
}

// say puts a message on the line at the bottom.
func (m *model) say(in ink, text string) {
	m.word = word{text, in, m.options.Now().Add(wordTime)}
}

func (m *model) top() *level { return m.levels[len(m.levels)-1] }

// maxDepth bounds the way down: from an event to its correction and on.
const maxDepth = 32

func (m *model) push(s screen) {
	if len(m.levels) >= maxDepth {
		m.say(warning, "that is as deep as it goes; Esc goes back")
		return
	}
	if len(m.levels) > 0 {
		m.top().cancel()
	}
	m.levels = append(m.levels, newLevel(s))
}

// pop goes back a level. false: it is the home.
func (m *model) pop() bool {
	if len(m.levels) <= 1 {
		return false
	}
	m.top().cancel()
	m.levels = m.levels[:len(m.levels)-1]
	return true
}

// home leaves all levels and begins with the accounts.
func (m *model) home() {
	for _, l := range m.levels {
		l.cancel()
	}
	m.levels = []*level{newLevel(newAccountsScreen())}
}

// act does what came of a key or a click.
func (m *model) act(a action) tea.Cmd {
	switch {
	case a.open != nil:
		m.push(a.open)
	case a.back:
		m.pop()
	}
	if a.say != "" {
		m.say(plain, a.say)
	}
	return a.cmd
}

// mouse hands presses and turns over the body to the screen. A press on the path goes back.
func (m *model) mouse(e tea.MouseMsg) tea.Cmd {
	f := m.fit()
	if e.Action != tea.MouseActionPress || f.body <= 0 || m.prompt != nil {
		return nil
	}
	line, wheel := e.Y-f.header-1, 0
	switch e.Button {
	case tea.MouseButtonWheelUp:
		wheel = -1
	case tea.MouseButtonWheelDown:
		wheel = 1
	case tea.MouseButtonLeft:
		if line == -1 && m.help == nil {
			m.pop()
			return nil
		}
	default:
		return nil
	}
	if m.help != nil {
		m.help.top += 3 * wheel
		return nil
	}
	if line < 0 || line >= f.body {
		return nil
	}
	return m.act(m.top().screen.click(line, wheel))
}

// gone says whether an error means that nobody answers, which may change, and not that the state
// says no.
func gone(err error) (*Failure, bool) {
	var f *Failure
	if errors.As(err, &f) && f.Code != "unavailable" {
		return f, false
	}
	return nil, true
}
