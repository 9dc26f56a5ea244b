package formats

import (
	"fmt"
	"strings"

	"billctl/engine"
)

// noZone ends the type, for people, of a column of times that are no instants.
const noZone = " without a zone"

// rowPlan says which columns make an event.
type rowPlan struct {
	ids                   []rowField // parts of the id
	idText                rowField   // of an archive: ids that are no UUIDs
	source, kind, subject rowField
	time                  rowField
	data                  []*rowData
	rest, entry           rowField // of CloudEvents only; entry is the column kind
	read                  []int    // columns of the file, in the order of a run's vectors
}

// rowField is where a part of an event comes from: a column, a constant or the row's place.
type rowField struct {
	at    int // of plan.read; -1: no column
	kind  vectorKind
	local bool   // times of the column are no instants
	short bool   // numbers of the column have 32 bits or fewer
	fixed string // a constant, or FilePart or RowPart
	path  string // of the mapping, for words
	name  string // of the column
	texts rowTexts
}

// rowData is a property.
type rowData struct {
	rowField
	path string
	node *pathNode
}

// uses are what a column may be used for.
type columnUse uint8

const (
	forText columnUse = iota // a source, a type, a subject, a part of an id
	forTime
	forData
	forRest
)

// bind finds the columns of the plan.
func (r *RowReader) bind() error {
	p := &r.plan
	for _, f := range []*rowField{&p.idText, &p.source, &p.kind, &p.subject, &p.time, &p.rest,
		&p.entry} {
		f.at = -1
	}
	var err error
	if r.o.Mapping != nil {
		err = r.bindMapping()
	} else {
		err = r.bindEvents()
	}
	if err != nil {
		return err
	}
	if len(p.data) > engine.MaxColumns {
		return r.fault("", fmt.Sprintf("more than %d columns are properties", engine.MaxColumns),
			"name those that are billed in a mapping")
	}
	return nil
}

// bindMapping finds what a mapping names.
func (r *RowReader) bindMapping() error {
	p, m := &r.plan, r.o.Mapping
	for _, part := range m.ID {
		f := rowField{at: -1, fixed: part, path: part}
		if part != FilePart && part != RowPart {
			if err := r.mapped(&f, part, "part of the id", forText); err != nil {
				return err
			}
		}
		p.ids = append(p.ids, f)
	}
	for _, a := range []struct {
		to    *rowField
		value MappedValue
		what  string
		fixed string
	}{
		{&p.source, m.Source, "source", r.o.Source}, {&p.kind, m.Type, "type", ""},
		{&p.subject, m.Subject, "subject", ""},
	} {
		if a.to.fixed = a.value.Const; a.value == (MappedValue{}) {
			a.to.fixed = a.fixed
		}
		if a.value.Path == "" {
			continue
		}
		if err := r.mapped(a.to, a.value.Path, a.what, forText); err != nil {
			return err
		}
	}
	if m.Time.Path != "" {
		if err := r.mapped(&p.time, m.Time.Path, "time", forTime); err != nil {
			return err
		}
	}
	for _, name := range m.names() {
		if err := r.mappedData("data."+escapeName(name), m.Data[name]); err != nil {
			return err
		}
	}
	return nil
}

// mapped finds the column of a path.
func (r *RowReader) mapped(f *rowField, path, what string, use columnUse) error {
	name := columnName(strings.TrimPrefix(path, "$."))
	f.path = path
	at, err := r.find(name)
	if err != nil {
		return err
	}
	if at < 0 {
		return r.fault("", fmt.Sprintf("no column %s; the columns are %s", quoted(name), r.names()),
			"correct the mapping")
	}
	return r.take(f, at, what, use)
}

// mappedData finds the column of a property, or the columns below a struct, whose members become
// properties below the name.
func (r *RowReader) mappedData(path, from string) error {
	name := columnName(strings.TrimPrefix(from, "$."))
	at, err := r.find(name)
	if err != nil {
		return err
	}
	found := false
	for i, c := range r.all {
		below, ok := strings.CutPrefix(c.name, name+".")
		if at >= 0 || !ok {
			continue
		}
		found = true
		if twice, err := r.find(c.name); err != nil || twice != i {
			return err
		}
		if err := r.property(path+"."+strings.ReplaceAll(below, `\`, `\\`), i); err != nil {
			return err
		}
	}
	if found {
		return nil
	}
	d := &rowData{path: path}
	if err := r.mapped(&d.rowField, from, "property "+quoted(path), forData); err != nil {
		return err
	}
	r.plan.data = append(r.plan.data, d)
	return nil
}

// property makes a column a property.
func (r *RowReader) property(path string, at int) error {
	if len(path) > engine.MaxName || !validPath(path) {
		return r.fault(r.all[at].name, "the name is no path of a property", "give a mapping")
	}
	d := &rowData{path: path}
	if err := r.take(&d.rowField, at, "property", forData); err != nil {
		return err
	}
	r.plan.data = append(r.plan.data, d)
	return nil
}

// bindEvents finds the columns of CloudEvents.
func (r *RowReader) bindEvents() error {
	p := &r.plan
	p.ids = []rowField{{at: -1}}
	for _, a := range []struct {
		to     *rowField
		name   string
		use    columnUse
		needed bool
	}{
		{&p.ids[0], "id", forText, true}, {&p.idText, "id_text", forText, false},
		{&p.source, "source", forText, true},
		{&p.kind, "type", forText, true}, {&p.subject, "subject", forText, true},
		{&p.time, "time", forTime, false}, {&p.rest, "rest", forRest, false},
		{&p.entry, "kind", forRest, false},
	} {
		at, err := r.find(a.name)
		if err != nil {
			return err
		}
		if at < 0 && a.needed {
			return r.fault("", fmt.Sprintf("no column %s, so the rows are no CloudEvents; the columns "+
				"are %s", quoted(a.name), r.names()), "say by a mapping which columns make an event")
		}
		if at < 0 {
			continue
		}
		if err := r.take(a.to, at, a.name, a.use); err != nil {
			return err
		}
	}
	for i, c := range r.all {
		if !strings.HasPrefix(c.name, "data.") {
			continue
		}
		if _, err := r.find(c.name); err != nil {
			return err
		}
		if err := r.property(c.name, i); err != nil {
			return err
		}
	}
	return nil
}

// find returns the column of a name, -1 if there is none.
func (r *RowReader) find(name string) (int, error) {
	found := -1
	for i := range r.all {
		if r.all[i].name != name {
			continue
		}
		if found >= 0 {
			return 0, r.fault(name, "the column is there twice", "rename one of them")
		}
		found = i
	}
	return found, nil
}

// take makes a column that of a field, if its type can serve.
func (r *RowReader) take(f *rowField, at int, what string, use columnUse) error {
	c := &r.all[at]
	f.describe(c)
	hint := r.unfit(c.kind, use)
	if hint != "" {
		return r.fault(c.name, fmt.Sprintf("%s can't be the %s", c.what, what), hint)
	}
	for i, have := range r.plan.read {
		if have == at {
			f.at = i
			return nil
		}
	}
	f.at = len(r.plan.read)
	r.plan.read = append(r.plan.read, at)
	return nil
}

// describe notes what the type of a column says of its values.
func (f *rowField) describe(c *tableColumn) {
	f.name, f.kind, f.local = c.name, c.kind, strings.HasSuffix(c.what, noZone)
	switch c.what {
	case "FLOAT", "FLOAT16", "float32", "float16":
		f.short = true
	}
}

// unfit returns "" if a column of a kind can be used so, and what helps otherwise.
func (r *RowReader) unfit(kind vectorKind, use columnUse) string {
	switch use {
	case forData:
		if kind == noVector {
			return "write its values as columns of their own, or as text"
		}
		return ""
	case forRest:
		if kind == textVector {
			return ""
		}
		return "rename the column, or give a mapping"
	case forText:
		switch kind {
		case noVector, floatVector, boolVector:
			return "write it as text or an integer, or name another column"
		}
		return ""
	}
	switch kind {
	case timeVector, dateVector, textVector:
		return ""
	case intVector, numberVector, floatVector:
		if r.clock.unit != 0 {
			return ""
		}
		return "say by the mapping what it counts: layout: unix or layout: unix_ms"
	}
	return "write it as a timestamp, or name another column"
}

// names lists the columns for a message.
func (r *RowReader) names() string {
	const most = 40
	var names []string
	for i, c := range r.all {
		if i == most {
			return strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(r.all)-most)
		}
		names = append(names, quoted(c.name))
	}
	return strings.Join(names, ", ")
}

func (r *RowReader) fault(column, reason, hint string) error {
	return &FileError{
		Name: r.name, Group: -1, Column: column, Row: -1, Reason: reason, Hint: hint,
	}
}

// validPath reports whether a path is names joined by points, with '.' and '\' in them escaped.
func validPath(path string) bool {
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' {
			if i++; i == len(path) || path[i] != '.' && path[i] != '\\' {
				return false
			}
		}
	}
	return !strings.Contains(path, "\x00")
}
