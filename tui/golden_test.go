package tui

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/muesli/termenv"
)

var update = flag.Bool("update", false, "write the golden screens anew")

// looks are the kinds of terminal that golden screens are drawn for.
var looks = []struct {
	name    string
	profile termenv.Profile
	ascii   bool
}{
	{"color", termenv.ANSI256, false}, {"nocolor", termenv.Ascii, false},
	{"ascii", termenv.Ascii, true},
}

// golden compares a screen with testdata/NAME. With -update it writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test ./tui -update writes it", err)
	}
	if string(want) == got {
		return
	}
	was, now := strings.Split(string(want), "\n"), strings.Split(got, "\n")
	for i := range max(len(was), len(now)) {
		var x, y string
		if i < len(was) {
			x = was[i]
		}
		if i < len(now) {
			y = now[i]
		}
		if x != y {
			t.Errorf("%s:%d differs; go test ./tui -update writes it anew\nwas %q\nnow %q", path, i+1,
				x, y)
			return
		}
	}
}

// goldenSizes draws a screen at 60x15, 80x24, 120x40 and 200x60 for every kind of terminal,
// compares it with testdata/NAME-LOOK.txt, and checks that it keeps to its size. draw gets the
// size of the whole terminal and returns at most h lines.
func goldenSizes(t *testing.T, name string, draw func(w, h int, p *pen) []string) {
	t.Helper()
	for _, l := range looks {
		var b strings.Builder
		for _, size := range [][2]int{{60, 15}, {80, 24}, {120, 40}, {200, 60}} {
			w, h := size[0], size[1]
			lines := draw(w, h, newPen(l.profile, true, l.ascii))
			checkLines(t, name, lines, w, h, l.ascii)
			fmt.Fprintf(&b, "=== %dx%d\n%s\n", w, h, strings.Join(lines, "\n"))
		}
		golden(t, name+"-"+l.name+".txt", b.String())
	}
}

// coloring is what a pen may tell the terminal.
var coloring = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// checkLines reports lines that act on the terminal, are wider than the terminal or too many, and
// what an ASCII terminal can't show.
func checkLines(t *testing.T, name string, lines []string, w, h int, ascii bool) {
	t.Helper()
	if len(lines) > h {
		t.Errorf("%s at %dx%d has %d lines", name, w, h, len(lines))
	}
	for i, line := range lines {
		if bare := coloring.ReplaceAllString(line, ""); strings.IndexFunc(bare, unicode.IsControl) >= 0 {
			t.Errorf("%s at %dx%d: line %d acts on the terminal: %q", name, w, h, i, line)
		}
		if n := width(line); n > w {
			t.Errorf("%s at %dx%d: line %d has %d cells: %q", name, w, h, i, n, line)
		}
		if at := strings.IndexFunc(line, func(r rune) bool { return r > '~' }); ascii && at >= 0 {
			t.Errorf("%s at %dx%d: line %d is not ASCII: %q", name, w, h, i, line)
		}
	}
}
