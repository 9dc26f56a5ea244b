package tui

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

var (
	pictureFrom = flag.String("picture.from", "", "capture of a terminal, with its escape sequences")
	pictureTo   = flag.String("picture.to", "", "SVG file to write, with -picture.from")
)

// TestPicture draws a capture of a terminal (tmux capture-pane -e -p) as a picture for documents.
func TestPicture(t *testing.T) {
	if *pictureFrom == "" {
		t.Skip("no capture is named by -picture.from")
	}
	screen, err := os.ReadFile(*pictureFrom)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(*pictureTo, drawPicture(string(screen)), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPictureOfStyles(t *testing.T) {
	svg := string(drawPicture("plain \x1b[1;38;5;81mblue\x1b[0m \x1b[7mchosen\x1b[27m <&>\n" +
		"wide 株 \x1b[38;2;1;2;3mrgb\x1b[39m \x1b[41mback\n"))
	for _, want := range []string{
		`font-weight="bold" fill="#5fd7ff"`, ">blue</text>", "&lt;&amp;&gt;", ">株</text>",
		`fill="#010203"`, `<rect x="108.4"`, // the chosen word begins behind 11 cells and the edge
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %s:\n%s", want, svg)
		}
	}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

// The measures of the picture, in tenths of a pixel.
const (
	cellWide, cellHigh = 84, 180
	pictureEdge        = 160
	pictureBar         = 300 // the window's title
)

const (
	paper  = "#16181d"
	inkHue = "#d5d8de"
)

// brush is how cells are drawn.
type brush struct {
	fore, back               string // "": the default
	bold, faint, line, turns bool
}

// drawPicture draws what a terminal shows. Every run of cells has the length of its cells, so that
// columns stay columns in every font.
func drawPicture(screen string) []byte {
	lines := strings.Split(strings.TrimRight(screen, "\n"), "\n")
	widest := 0
	for _, l := range lines {
		widest = max(widest, ansi.StringWidth(l))
	}
	w, h := widest*cellWide+2*pictureEdge, len(lines)*cellHigh+pictureBar+pictureEdge
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" `+
		`font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" `+
		`font-size="14">`+"\n", px(w), px(h))
	fmt.Fprintf(&b, `<rect width="%s" height="%s" rx="8" fill="%s"/>`+"\n", px(w), px(h), paper)
	for i, color := range []string{"#ff5f57", "#febc2e", "#28c840"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="15" r="5" fill="%s"/>`+"\n", 20+18*i, color)
	}
	var at brush
	for row, l := range lines {
		at = drawLine(&b, l, row, at)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawLine draws a line of the screen and returns the brush at its end.
func drawLine(b *bytes.Buffer, text string, row int, at brush) brush {
	column, begin, run := 0, 0, ""
	flush := func() {
		drawRun(b, run, begin, column-begin, row, at)
		begin, run = column, ""
	}
	var state byte
	for len(text) > 0 {
		seq, width, n, next := ansi.DecodeSequence(text, state, nil)
		state, text = next, text[n:]
		switch {
		case width == 0 && strings.HasPrefix(seq, "\x1b[") && strings.HasSuffix(seq, "m"):
			flush()
			at = at.sgr(seq[2 : len(seq)-1])
		case width == 1:
			run += seq
			column++
		case width > 1: // it may be drawn wider or narrower than its cells: alone
			flush()
			run, column = seq, column+width
			flush()
		}
	}
	flush()
	return at
}

func drawRun(b *bytes.Buffer, text string, column, cells, row int, at brush) {
	x, y := pictureEdge+column*cellWide, pictureBar+row*cellHigh
	fore, back := at.fore, at.back
	if at.turns {
		fore, back = back, fore
		if fore == "" {
			fore = paper
		}
		if back == "" {
			back = inkHue
		}
	}
	if back != "" && cells > 0 {
		fmt.Fprintf(b, `<rect x="%s" y="%s" width="%s" height="%s" fill="%s"/>`+"\n", px(x), px(y),
			px(cells*cellWide), px(cellHigh), back)
	}
	if strings.TrimSpace(text) == "" {
		return
	}
	if fore == "" {
		fore = inkHue
	}
	style := ""
	if at.bold {
		style += ` font-weight="bold"`
	}
	if at.line {
		style += ` text-decoration="underline"`
	}
	if at.faint {
		style += ` opacity="0.6"`
	}
	fmt.Fprintf(b, `<text xml:space="preserve" x="%s" y="%s" textLength="%s" `+
		`lengthAdjust="spacingAndGlyphs"%s fill="%s">`, px(x), px(y+135), px(cells*cellWide), style, fore)
	_ = xml.EscapeText(b, []byte(text)) // a buffer takes all
	b.WriteString("</text>\n")
}

// px writes tenths of a pixel.
func px(tenths int) string {
	return strings.TrimSuffix(fmt.Sprintf("%d.%d", tenths/10, tenths%10), ".0")
}

// sgr returns the brush behind a sequence of numbers such as 1;38;5;81.
func (b brush) sgr(text string) brush {
	var codes []int
	for _, part := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == ':' }) {
		n, _ := strconv.Atoi(part) // what is no number means 0 to a terminal too
		codes = append(codes, n)
	}
	if len(codes) == 0 {
		return brush{}
	}
	for len(codes) > 0 {
		code := codes[0]
		codes = codes[1:]
		switch {
		case code == 0:
			b = brush{}
		case code == 1:
			b.bold = true
		case code == 2:
			b.faint = true
		case code == 4:
			b.line = true
		case code == 7:
			b.turns = true
		case code == 22:
			b.bold, b.faint = false, false
		case code == 24:
			b.line = false
		case code == 27:
			b.turns = false
		case code == 38:
			b.fore, codes = hue(codes)
		case code == 48:
			b.back, codes = hue(codes)
		case code == 39:
			b.fore = ""
		case code == 49:
			b.back = ""
		case slices.Contains([]int{3, 4, 9, 10}, code/10):
			name := code%10 + code/60*8 // 90 and 100 on are the bright ones
			if code/10%2 == 1 {
				b.fore = hueOf(name)
			} else {
				b.back = hueOf(name)
			}
		}
	}
	return b
}

// hue reads a colour behind 38 or 48: 5;number or 2;red;green;blue.
func hue(codes []int) (string, []int) {
	switch {
	case len(codes) > 1 && codes[0] == 5:
		return hueOf(codes[1]), codes[2:]
	case len(codes) > 3 && codes[0] == 2:
		return fmt.Sprintf("#%02x%02x%02x", codes[1]&255, codes[2]&255, codes[3]&255), codes[4:]
	}
	return "", nil
}

// hueOf returns a colour of the 256 of a terminal.
func hueOf(n int) string {
	named := []string{
		"#15161e", "#f7768e", "#9ece6a", "#e0af68", "#7aa2f7", "#bb9af7", "#7dcfff", "#a9b1d6",
		"#5b6078", "#ff8fa3", "#b5e08a", "#f2c67f", "#93b7ff", "#d0b3ff", "#a0e3ff", "#ffffff",
	}
	if n = n & 255; n < len(named) {
		return named[n]
	}
	if n >= 232 {
		v := 8 + 10*(n-232)
		return fmt.Sprintf("#%02x%02x%02x", v, v, v)
	}
	level := func(i int) int { return []int{0, 95, 135, 175, 215, 255}[i%6] }
	n -= 16
	return fmt.Sprintf("#%02x%02x%02x", level(n/36), level(n/6), level(n))
}
