package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
	"github.com/muesli/termenv"
	"github.com/spf13/cobra"

	"billctl/tui"
	_ "billctl/tui/quiet" // no command asks the terminal about its colours
)

// tuiFlags are the flags of tui.
type tuiFlags struct {
	account, color, asOf string
	once, ascii          bool
	asciiSaid            bool
	width, height        int
	interval             time.Duration
}

// The size of a frame where there is no terminal to fill.
const (
	frameWidth  = 120
	frameHeight = 40
	frameMax    = 1000
)

func newTUI(s *session) *cobra.Command {
	var f tuiFlags
	c := &cobra.Command{
		Use:   "tui [ARCHIVE|STATE...]",
		Short: "Watch subtotals live, and find out why",
		Long: `Shows what every account owes now, and the reason: from the account to the line, its tiers,
the events that count for it, and one event as it came. It asks the process that runs on the state
directory; where none runs it reads the directory, or archive files, and says so. It writes nothing
there. Enter goes deeper, Esc goes back, ? shows all keys.

Colours follow the terminal, NO_COLOR and CLICOLOR_FORCE; without a UTF-8 locale (LC_ALL, LC_CTYPE,
LANG) only ASCII is drawn. Set COLORFGBG (15;0 for a dark, 0;15 for a light background) where the
terminal does not.`,
		Example: `  billctl tui
  billctl tui --account acme
  billctl tui --once --width 100 --height 30
  billctl tui /mnt/audit/2026`,
		RunE: func(c *cobra.Command, args []string) error {
			f.asciiSaid = c.Flags().Changed("ascii")
			return s.tui(args, &f)
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.account, "account", "", "begin with the account of this `id`")
	flags.BoolVar(&f.once, "once", false, "print one frame and end")
	flags.IntVar(&f.width, "width", 0,
		"`cells` of a line of that frame (default: the terminal's, or 120)")
	flags.IntVar(&f.height, "height", 0, "`lines` of that frame (default: the terminal's, or 40)")
	flags.BoolVar(&f.ascii, "ascii", false, "draw with ASCII only (default: by the locale)")
	flags.StringVar(&f.color, "color", "auto", "`when` to use colours: auto, always or never")
	flags.DurationVar(&f.interval, "interval", 500*time.Millisecond, "how often to ask")
	asOfFlag(c, &f.asOf)
	return c
}

func (f *tuiFlags) check() error {
	switch f.color {
	case "auto", "always", "never":
	default:
		return usageError(fmt.Sprintf("--color %s is none of: auto, always, never", f.color))
	}
	if f.interval < 100*time.Millisecond || f.interval > time.Hour {
		return usageError(fmt.Sprintf("--interval %s is not from 100ms to 1h", f.interval))
	}
	for _, n := range []struct {
		flag  string
		cells int
	}{{"--width", f.width}, {"--height", f.height}} {
		if n.cells < 0 || n.cells > frameMax {
			return usageError(fmt.Sprintf("%s %d is not from 1 to %d", n.flag, n.cells, frameMax))
		}
		if n.cells > 0 && !f.once {
			return usageError(n.flag + " is for --once: a screen has the size of its terminal")
		}
	}
	return nil
}

func (s *session) tui(args []string, f *tuiFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	look := s.terminal(f)
	if err := look.usable(); err != nil && !f.once {
		return err
	}
	feed, err := s.openFeed(args, f.asOf)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, feed.Close()) }()
	if err := s.tryFeed(feed, f.account); err != nil {
		return err
	}
	o := tui.Options{
		Feed: feed, Profile: look.profile, Dark: look.dark, ASCII: look.ascii, Interval: f.interval,
		Now: time.Now, Open: f.account,
	}
	if f.once {
		return s.tuiOnce(o, f, look)
	}
	err = tui.Run(s.ctx, o, s.stdin, s.stdout)
	if s.ctx.Err() != nil {
		return &exitError{code: exitInterrupted}
	}
	return err
}

// tryFeed asks what the first screen will ask, so that what is wrong is said in words.
func (s *session) tryFeed(feed tui.Feed, account string) error {
	path, params := "/v1/status", url.Values(nil)
	if account != "" {
		path, params = "/v1/account", url.Values{"id": {account}}
	}
	_, err := feed.Ask(s.ctx, path, params)
	if err = inWords(err); account != "" {
		return missing(err, "billctl query accounts lists them")
	}
	return err
}

// inWords gives an answer that says no its exit code and its way out.
func inWords(err error) error {
	var fail *tui.Failure
	if !errors.As(err, &fail) {
		return err
	}
	return &exitError{code: exitOf(fail.Code), text: fail.Message, hint: fail.Hint, err: err}
}

func (s *session) tuiOnce(o tui.Options, f *tuiFlags, look *terminalLook) error {
	w, h := frameWidth, frameHeight
	if look.out != nil {
		if tw, th, err := term.GetSize(look.out.Fd()); err == nil && tw > 0 && th > 0 {
			w, h = tw, th
		}
	}
	if f.width > 0 {
		w = f.width
	}
	if f.height > 0 {
		h = f.height
	}
	ctx, cancel := context.WithTimeout(s.ctx, askPatience)
	defer cancel()
	frame, err := tui.Once(ctx, o, w, h)
	if err != nil {
		return inWords(err)
	}
	if look.plain {
		frame = ansi.Strip(frame)
	}
	_, err = io.WriteString(s.stdout, strings.TrimSuffix(frame, "\n")+"\n")
	return err
}

// terminalLook is how to draw for the terminal, as the environment says. The terminal itself is
// never asked: who types ahead would find the answer among what was typed.
type terminalLook struct {
	in, out     *os.File // nil: no terminal
	dumb        bool
	profile     termenv.Profile
	plain       bool // not even bold: the frame goes into a file
	dark, ascii bool
}

func (s *session) terminal(f *tuiFlags) *terminalLook {
	l := &terminalLook{dumb: os.Getenv("TERM") == "dumb", dark: darkBackground(os.Getenv("COLORFGBG"))}
	if in, ok := s.stdin.(*os.File); ok && term.IsTerminal(in.Fd()) {
		l.in = in
	}
	if out, ok := s.stdout.(*os.File); ok && term.IsTerminal(out.Fd()) {
		l.out = out
	}
	env := termenv.NewOutput(s.stdout, termenv.WithTTY(f.color == "always" || l.out != nil))
	switch f.color {
	case "always":
		l.profile = min(env.ColorProfile(), termenv.ANSI) // a lower profile has more colours
	case "auto":
		l.profile = env.EnvColorProfile()
	default:
		l.profile = termenv.Ascii
	}
	l.plain = l.profile == termenv.Ascii && (l.out == nil || l.dumb)
	if l.ascii = asciiOnly(); f.asciiSaid {
		l.ascii = f.ascii
	}
	return l
}

// usable says why a screen can't open here.
func (l *terminalLook) usable() error {
	hint := "billctl tui --once prints one frame anywhere; billctl query has every figure"
	switch {
	case l.in == nil || l.out == nil:
		return &exitError{
			code: exitUsage, text: "there is no terminal: stdin and stdout must be one", hint: hint,
		}
	case l.dumb:
		return &exitError{
			code: exitUsage, text: "this terminal can't place text (TERM=dumb)", hint: hint,
		}
	}
	return nil
}

// asciiOnly reports whether the locale lacks UTF-8. The first of the three that is set counts. The
// console of Linux takes UTF-8, but has no signs to draw bars and curves with.
func asciiOnly() bool {
	if os.Getenv("TERM") == "linux" || os.Getenv("TERM") == "dumb" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if value := strings.ToLower(os.Getenv(name)); value != "" {
			return !strings.Contains(value, "utf-8") && !strings.Contains(value, "utf8")
		}
	}
	return true
}

// darkBackground reads COLORFGBG, which ends with the number of the background's colour: 7 and the
// bright ones are light. Most terminals are dark, so without it that is assumed.
func darkBackground(text string) bool {
	n, err := strconv.Atoi(text[strings.LastIndexByte(text, ';')+1:])
	return err != nil || n >= 0 && n <= 6 || n == 8
}
