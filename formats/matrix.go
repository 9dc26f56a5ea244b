package formats

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"billctl/engine"
)

// matrixTable is a CSV file of unit prices: a header of dimension names and "unit", then a row for
// each combination of values.
type matrixTable struct {
	csvTable // its src is nil where there is no text
	r        *catalogReader
	dims     []written      // of the header
	matrix   *engine.Matrix // nil where the file is at fault
	checked  []string       // meters that the dimensions were compared with
}

// matrix reads the file that the node names, once for all prices; nil after a fault.
func (r *catalogReader) matrix(n *node) *engine.Matrix {
	s, ok := (&fields{faults: r.faults}).name(n, "matrix")
	if !ok {
		return nil
	}
	name, fault, hint := r.matrixName(n)
	if fault != "" {
		r.faults.add(n.at, hint, "matrix %q %s", clip(s), fault)
		return nil
	}
	t, seen := r.matrices[name]
	if !seen {
		t = &matrixTable{r: r}
		r.matrices[name] = t
		if fault, hint := t.open(name); fault != "" {
			r.faults.add(n.at, hint, "matrix %q %s", clip(s), fault)
		} else if t.src != nil {
			t.read()
		}
	}
	return t.matrix
}

// matrixName returns the name in the catalog of the file that the node names from its own file.
func (r *catalogReader) matrixName(n *node) (name, fault, hint string) {
	const inside = "name a file from the directory of this one: matrix: prices/tokens.csv"
	name = path.Join(path.Dir(n.at.src.name), n.text)
	switch base := path.Base(n.text); {
	case r.fsys == nil || n.at.src.name == r.outside:
		return "", "can't be named here", "name it in a YAML file of the catalog"
	case strings.Contains(n.text, `\`):
		return "", "is not a path", "separate directories by /"
	case path.IsAbs(n.text) || !fs.ValidPath(name):
		return "", "is not inside the catalog directory", inside
	case path.Ext(base) != ".csv":
		return "", "is not a CSV file", inside
	case strings.HasPrefix(base, "accounts"):
		return "", "is a table of accounts by its name", "give it another name"
	}
	return name, "", ""
}

// open reads the text of the file. src stays nil where it is no text.
func (t *matrixTable) open(name string) (fault, hint string) {
	file, info, err := inside(t.r.fsys, name)
	switch {
	case errors.Is(err, errOutside):
		return err.Error(), outsideHint
	case errors.Is(err, fs.ErrNotExist):
		return "does not exist", "it would be " + name + " of the catalog"
	case err != nil:
		return "can't be read: " + err.Error(), ""
	case info.IsDir():
		return "is a directory", "name the file in it"
	case !info.Mode().IsRegular():
		return "is no regular file", "name a file"
	case info.Size() > MaxFile:
		return fmt.Sprintf("has more than %d MiB", MaxFile>>20), "split it by match into two prices"
	}
	data, err := fs.ReadFile(t.r.fsys, file)
	if err != nil {
		return "can't be read: " + err.Error(), ""
	}
	t.r.c.Files = append(t.r.c.Files, name)
	src, bad := newSource(name, data)
	if bad != nil {
		t.r.faults.list = append(t.r.faults.list, bad)
		return "", ""
	}
	t.csvTable = newCSVTable(t.r.faults, src)
	return "", ""
}

// read reads header and rows into the matrix.
func (t *matrixTable) read() {
	before := len(t.r.faults.list)
	const hint = "begin with a line of dimension names and unit"
	if !t.next(hint) || !t.header() {
		return
	}
	m := &engine.Matrix{}
	order := make([]int, len(t.dims)) // columns by rising name of their dimension
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		return strings.Compare(t.dims[i].text, t.dims[j].text)
	})
	for _, i := range order {
		m.Dims = append(m.Dims, t.dims[i].text)
	}
	first := map[string]place{}
	for t.next(hint) && !t.r.faults.full() {
		if row, ok := t.row(order); ok {
			t.once(row.Values, first)
			m.Rows = append(m.Rows, row)
		}
	}
	if len(t.r.faults.list) > before {
		return
	}
	if len(m.Rows) == 0 {
		t.r.faults.add(place{t.src, 1, 1, 1}, "write a line of values and a unit price",
			"the table has no row")
		return
	}
	slices.SortFunc(m.Rows, func(a, b engine.MatrixRow) int {
		return slices.Compare(a.Values, b.Values)
	})
	t.matrix = m
}

// header reads the names of dimensions.
func (t *matrixTable) header() bool {
	const hint = "the columns are dimensions of the meter, and unit as the last"
	last := len(t.record) - 1
	if name := strings.TrimSpace(t.record[last]); name != "unit" {
		if strings.Contains(name, ";") {
			t.r.faults.add(t.place(last), "separate columns by commas", "the columns are not CSV")
			return false
		}
		t.r.faults.add(t.place(last), hint, "the last column is %q, not unit", clip(name))
		return false
	}
	if last == 0 {
		t.r.faults.add(t.place(0), hint, "the table has no dimension")
		return false
	}
	for i, name := range t.record[:last] {
		name = strings.TrimSpace(name)
		switch {
		case !isKey(name):
			t.r.faults.add(t.place(i), hint, "dimension %q is not a key", clip(name))
			return false
		case slices.ContainsFunc(t.dims, func(d written) bool { return d.text == name }):
			t.r.faults.add(t.place(i), "give each dimension one column", "column %q is given twice",
				name)
			return false
		}
		t.dims = append(t.dims, written{name, t.place(i)})
	}
	return true
}

// row reads the record as the price of a combination of values; false after a fault.
func (t *matrixTable) row(order []int) (row engine.MatrixRow, ok bool) {
	width := len(t.dims) + 1
	if len(t.record) != width {
		t.r.faults.add(t.place(min(width, len(t.record)-1)), "put values with commas in quotes",
			"the row has %s, the header has %d", plural(len(t.record), "field"), width)
		return row, false
	}
	ok = true
	for _, i := range order {
		value := strings.TrimSpace(t.record[i])
		fault := nameFault(value)
		if fault != "" {
			t.r.faults.add(t.place(i), "usage without a value has no row and is not covered",
				"%s %s", t.dims[i].text, fault)
			ok = false
		}
		row.Values = append(row.Values, value)
	}
	n := &node{text: strings.TrimSpace(t.record[width-1]), at: t.place(width - 1)}
	unit, priced := (&fields{faults: t.r.faults}).amount(n, "unit")
	row.Unit = unit
	return row, ok && priced
}

// once reports values that stand in a row before.
func (t *matrixTable) once(values []string, first map[string]place) {
	key := strings.Join(values, "\x00") // no value has a control character
	if at, twice := first[key]; twice {
		t.r.faults.add(t.place(0), "the first is in "+at.String(), "the row of %s is given twice",
			clip(strings.Join(values, ", ")))
		return
	}
	first[key] = t.place(0)
}

// checkMatrix checks that the meter is grouped by the dimensions of the matrix that the node names.
func (r *catalogReader) checkMatrix(m *engine.Meter, n *node) {
	if n.kind != scalarNode {
		return
	}
	name, _, _ := r.matrixName(n)
	t := r.matrices[name]
	if t == nil || contains(t.checked, m.Key) {
		return
	}
	t.checked = append(t.checked, m.Key)
	for _, d := range t.dims {
		r.checkDimension(m, &node{text: d.text, at: d.at})
	}
}
