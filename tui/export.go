package tui

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
)

// paged is a screen that holds a part of its view only: an export asks for all of it.
type paged interface{ pages() pager }

// pager asks for a view page by page.
type pager struct {
	path    string
	params  url.Values
	next    string // parameter that takes what the answer before said to go on with
	heading []string
	// records reads the rows of a page, and what to go on with, "" on the last.
	records func(body []byte) (rows [][]string, next string, err error)
}

// exportedMsg says what became of an export.
type exportedMsg struct {
	said string
	err  error
}

func (m *model) beginExport() {
	heading, _, _ := m.top().screen.export()
	if !m.top().took || len(heading) == 0 {
		m.say(faint, "there is nothing to export here")
		return
	}
	m.prompt = &prompt{kind: promptExport}
}

// chooseExport takes the key for the form, and begins to write.
func (m *model) chooseExport(name string) tea.Cmd {
	m.prompt = nil
	form := ""
	switch name {
	case "c", "C", "enter":
		form = "csv"
	case "j", "J":
		form = "json"
	default:
		return nil
	}
	top := m.top().screen
	heading, rows, answer := top.export()
	x := &export{
		name: fileName(top.crumb(), m.options.Now()), form: form,
		heading: heading, rows: rows, answers: [][]byte{answer},
	}
	m.say(faint, "exporting…")
	if p, ok := top.(paged); ok {
		pages := p.pages()
		return func() tea.Msg { return x.all(m.ctx, m.options.Feed, &pages) }
	}
	return func() tea.Msg { return x.write() }
}

// fileName is a name without an ending, of what only names have that no shell minds.
func fileName(crumb string, now time.Time) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, crumb)
	clean = clean[:min(len(clean), 60)]
	return "billctl-" + strings.Trim(clean, "-.") + "-" + now.UTC().Format("20060102T150405Z")
}

// export is what is written to a file.
type export struct {
	name, form string
	heading    []string
	rows       [][]string
	answers    [][]byte
}

// all asks for every page and writes them.
func (x *export) all(ctx context.Context, feed Feed, p *pager) exportedMsg {
	x.heading, x.rows, x.answers = p.heading, nil, nil
	params := url.Values{}
	for name, values := range p.params { // into another map
		params[name] = values
	}
	for {
		asking, cancel := context.WithTimeout(ctx, askTime)
		body, err := feed.Ask(asking, p.path, params)
		cancel()
		if err != nil {
			return exportedMsg{err: err}
		}
		rows, next, err := p.records(body)
		if err != nil {
			return exportedMsg{err: err}
		}
		x.rows = append(x.rows, rows...)
		x.answers = append(x.answers, body)
		if next == "" {
			return x.write()
		}
		params.Set(p.next, next)
	}
}

// write makes a new file in the working directory. One that is there is never written over.
func (x *export) write() exportedMsg {
	f, err := x.create()
	if err != nil {
		return exportedMsg{err: err}
	}
	_, err = f.Write(x.bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		// Half a file would be taken for a whole one.
		return exportedMsg{err: errors.Join(err, os.Remove(f.Name()))}
	}
	said := fmt.Sprintf("wrote %s rows to %s", count(uint64(len(x.rows))), f.Name())
	if len(x.answers) > 1 {
		said += fmt.Sprintf(", by id, from %d answers", len(x.answers))
	}
	return exportedMsg{said: said}
}

// create opens a file of a name that nothing has.
func (x *export) create() (*os.File, error) {
	ending := x.form
	if x.form == "json" && len(x.answers) > 1 {
		ending = "jsonl" // an answer on every line
	}
	const most = 100
	for i := range most {
		name := x.name + "." + ending
		if i > 0 {
			name = fmt.Sprintf("%s-%d.%s", x.name, i+1, ending)
		}
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%s.%s and %d more names are taken", x.name, ending, most-1)
}

func (x *export) bytes() []byte {
	var b bytes.Buffer
	if x.form == "json" {
		for _, a := range x.answers {
			b.Write(bytes.TrimRight(a, "\n"))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}
	w := csv.NewWriter(&b)
	for _, row := range append([][]string{x.heading}, x.rows...) {
		cells := make([]string, len(row))
		for i, text := range row {
			cells[i] = spreadsheet(text)
		}
		if err := w.Write(cells); err != nil {
			panic("BUG: " + err.Error()) // a buffer takes all
		}
	}
	w.Flush()
	return b.Bytes()
}

// spreadsheet keeps a text from being taken for a formula. Numbers stay what they are.
func spreadsheet(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return s
	}
	if signed := s[0] == '-' || s[0] == '+'; signed && signOf(s[1:]) >= 0 && s[1] != '-' {
		return s
	}
	return "'" + s
}
