package tui

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	tea "github.com/charmbracelet/bubbletea"
)

// membersScreen shows a piece of an answer as it is: every member with its name.
type membersScreen struct {
	title  string
	body   []byte
	sheet  sheet
	deeper func() screen // what Enter opens; nil: nothing
}

func newMembersScreen(title string, body []byte, deeper func() screen) screen {
	m := &membersScreen{title: title, body: body, deeper: deeper}
	items, err := memberItems(body)
	if err != nil {
		items = []sheetItem{{kind: textItem, ink: bad, text: err.Error()}}
	}
	m.sheet.replace(items)
	return m
}

func (m *membersScreen) crumb() string         { return m.title }
func (m *membersScreen) wants() []want         { return nil }
func (m *membersScreen) fail(string, *Failure) {}
func (m *membersScreen) chosen() string        { return m.sheet.copied() }
func (m *membersScreen) take(id string, _ []byte) error {
	return fmt.Errorf("read answer: nothing was asked as %q", id)
}

func (m *membersScreen) key(k tea.KeyMsg) (action, bool) {
	if k.String() != "enter" {
		return action{}, m.sheet.key(k)
	}
	if m.deeper == nil {
		return action{}, true
	}
	return action{open: m.deeper()}, true
}

func (m *membersScreen) click(line, wheel int) action { return m.sheet.click(line, wheel) }

func (m *membersScreen) draw(w, h int, p *pen) []string { return m.sheet.draw(w, h, true, p) }

func (m *membersScreen) help() []binding {
	if m.deeper == nil {
		return nil
	}
	return []binding{{"enter", "the events that count"}}
}

func (m *membersScreen) export() ([]string, [][]string, []byte) {
	return []string{"member", "value"}, memberRows(m.sheet.items), m.body
}

// memberRows are the facts of a sheet, each with the names that it stands below.
func memberRows(items []sheetItem) [][]string {
	var rows [][]string
	var above []string
	for i := range items {
		it := &items[i]
		if it.kind != factItem {
			continue
		}
		depth := min(it.indent/2, len(above))
		above = append(above[:depth], it.label)
		if it.text != "" {
			rows = append(rows, []string{strings.Join(above, "."), it.text})
		}
	}
	return rows
}

// memberItems returns a fact for every member of a JSON object, in its order; what has members
// itself is a heading over them.
func memberItems(body []byte) ([]sheetItem, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	t := tree{decoder: d}
	if err := t.value("", 0); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read answer: there is more behind the object")
	}
	return t.items, nil
}

// tree walks through JSON and writes down names and values.
type tree struct {
	decoder *json.Decoder
	items   []sheetItem
	path    []string
}

const deepest = 64 // deeper JSON is written in one line

func (t *tree) value(name string, depth int) error {
	if depth > deepest {
		var rest json.RawMessage
		if err := t.decoder.Decode(&rest); err != nil {
			return err
		}
		t.add(name, string(rest), depth)
		return nil
	}
	token, err := t.decoder.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		return t.inside(name, token, depth)
	case string:
		if token == "" {
			token = `""`
		}
		t.add(name, token, depth)
	case nil:
		t.add(name, "null", depth)
	default:
		t.add(name, fmt.Sprint(token), depth)
	}
	return nil
}

// inside reads the members of an object, or the elements of an array by their number from 1.
func (t *tree) inside(name string, open json.Delim, depth int) error {
	if !t.decoder.More() {
		t.add(name, map[json.Delim]string{'{': "{}", '[': "[]"}[open], depth)
	} else if depth > 0 {
		t.add(name, "", depth)
	}
	t.path = append(t.path, name)
	for n := 1; t.decoder.More(); n++ {
		member := fmt.Sprint(n)
		if open == '{' {
			key, err := t.decoder.Token()
			if err != nil {
				return err
			}
			member = fmt.Sprint(key)
		}
		if err := t.value(member, depth+1); err != nil {
			return err
		}
	}
	t.path = t.path[:len(t.path)-1]
	_, err := t.decoder.Token()
	return err
}

func (t *tree) add(name, text string, depth int) {
	t.items = append(t.items, sheetItem{
		kind: factItem, id: strings.Join(t.path, "\x00") + "\x00" + name, label: name, text: text,
		indent: 2 * max(depth-1, 0), exact: true,
	})
}
