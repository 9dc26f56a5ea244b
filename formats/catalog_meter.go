package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
)

// meter reads one meter.
func (r *catalogReader) meter(n *node) {
	f := fieldsOf(r.faults, n, "a meter",
		"key", "event", "aggregate", "value", "group_by", "where", "unit", "constant", "round_each",
		"time_unit", "percentile", "window", "of", "correctable")
	if f == nil {
		return
	}
	key, ok := f.key(f.need("key", `name it: key: tokens_out`), "meter key")
	if !ok {
		return
	}
	f.what = "meter " + key
	keyNode := f.get("key")
	if at, twice := r.c.meterAt[key]; twice {
		r.faults.add(keyNode.at, "the first is in "+at.String(), "meter %q is defined twice", key)
		return
	}
	r.c.meterAt[key] = keyNode.at
	m := engine.Meter{Key: key}
	m.Event, _ = f.name(f.need("event", "name the CloudEvents type to count"), "event")
	r.aggregate(f, &m)
	r.groupBy(f, f.get("group_by"), &m)
	r.where(f, f.get("where"), &m)
	if unit := f.get("unit"); unit != nil {
		m.Unit, _ = f.name(unit, "unit")
	}
	r.c.Meters = append(r.c.Meters, m)
}

// path reads the path of a property of data.
func (r *catalogReader) path(f *fields, n *node, what string) (string, bool) {
	s, ok := f.name(n, what)
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(s, "data.") {
		hint := "paths begin with data."
		if isPath("data." + s) {
			hint = "paths begin with data.: data." + s
		}
		r.faults.add(n.at, hint, "%s %q is not a path", what, clip(s))
		return "", false
	}
	if !isPath(s) {
		r.faults.add(n.at, `join names with points, and write '\.' for a point inside a name`,
			"%s %q is not a path", what, clip(s))
		return "", false
	}
	return s, true
}

// isPath reports whether s is "data." and names joined by points, none of them empty; '.' and '\'
// inside a name are escaped by '\' (engine.Column).
func isPath(s string) bool {
	s, ok := strings.CutPrefix(s, "data.")
	if !ok {
		return false
	}
	empty := true
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '.':
			if empty {
				return false
			}
			empty = true
			continue
		case '\\':
			if i++; i == len(s) || s[i] != '.' && s[i] != '\\' {
				return false
			}
		}
		empty = false
	}
	return !empty
}

// groupBy reads the meter's dimensions.
func (r *catalogReader) groupBy(f *fields, n *node, m *engine.Meter) {
	if n == nil {
		return
	}
	if n.kind != mapNode {
		r.faults.add(n.at, "write group_by: {model: data.model}",
			"group_by must be a mapping, not %s", n.what())
		return
	}
	for i, key := range n.keys {
		name, ok := f.key(key, "dimension")
		if !ok {
			continue
		}
		path, ok := r.path(f, n.items[i], "path of "+name)
		if !ok {
			continue
		}
		if hasDimension(m, name) {
			r.faults.add(key.at, "", "dimension %q is given twice", name)
			continue
		}
		m.GroupBy = append(m.GroupBy, engine.Dimension{Name: name, Path: path})
	}
	slices.SortFunc(m.GroupBy, func(a, b engine.Dimension) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// where reads the meter's filters. A key is a path, the name of a dimension, or else the name of
// a member of data.
func (r *catalogReader) where(f *fields, n *node, m *engine.Meter) {
	if n == nil {
		return
	}
	if n.kind != mapNode {
		r.faults.add(n.at, "write where: {region: [eu, us]}",
			"where must be a mapping, not %s", n.what())
		return
	}
	for i, key := range n.keys {
		path := key.text
		if d := dimension(m, path); d != nil {
			path = d.Path
		} else if !strings.HasPrefix(path, "data.") {
			path = "data." + path
		}
		if !isPath(path) || len(path) > engine.MaxName {
			r.faults.add(key.at, "name a property: data.region", "%q is not a path", clip(key.text))
			continue
		}
		values := f.values(n.items[i], "where "+clip(key.text))
		if slices.ContainsFunc(m.Where, func(w engine.Filter) bool { return w.Path == path }) {
			r.faults.add(key.at, "put all values into one list",
				"where names %s twice", clip(path))
			continue
		}
		m.Where = append(m.Where, engine.Filter{Path: path, Values: values})
	}
	slices.SortFunc(m.Where, func(a, b engine.Filter) int { return strings.Compare(a.Path, b.Path) })
}

// dimension returns the meter's dimension of that name, or nil.
func dimension(m *engine.Meter, name string) *engine.Dimension {
	for i := range m.GroupBy {
		if m.GroupBy[i].Name == name {
			return &m.GroupBy[i]
		}
	}
	return nil
}

func hasDimension(m *engine.Meter, name string) bool { return dimension(m, name) != nil }

// dimensionNames returns the names of the meter's dimensions, rising.
func dimensionNames(m *engine.Meter) []string {
	names := make([]string, len(m.GroupBy))
	for i, d := range m.GroupBy {
		names[i] = d.Name
	}
	return names
}

// meterByKey returns the catalog's meter, or nil.
func (c *Catalog) meterByKey(key string) *engine.Meter {
	i, ok := slices.BinarySearchFunc(c.Meters, key, func(m engine.Meter, key string) int {
		return strings.Compare(m.Key, key)
	})
	if !ok {
		return nil
	}
	return &c.Meters[i]
}

// plansOf returns the versions of a plan, rising; none if the catalog has no such plan.
func (c *Catalog) plansOf(key string) []engine.Plan {
	from, _ := slices.BinarySearchFunc(c.Plans, key, func(p engine.Plan, key string) int {
		return strings.Compare(p.Key, key)
	})
	to := from
	for to < len(c.Plans) && c.Plans[to].Key == key {
		to++
	}
	return c.Plans[from:to]
}

// planKeys returns the keys of all plans, rising.
func (c *Catalog) planKeys() []string {
	var keys []string
	for _, p := range c.Plans {
		if len(keys) == 0 || keys[len(keys)-1] != p.Key {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

// meterKeys returns the keys of all meters, rising.
func (c *Catalog) meterKeys() []string {
	keys := make([]string, len(c.Meters))
	for i, m := range c.Meters {
		keys[i] = m.Key
	}
	return keys
}

// String names a version of a plan in messages.
func (id planID) String() string { return fmt.Sprintf("plan %s version %d", id.key, id.version) }
