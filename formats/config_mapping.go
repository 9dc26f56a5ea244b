package formats

import "strings"

// mapping reads how rows that are no CloudEvents become events; nil after a fault.
func (r *configReader) mapping(n *node) *Mapping {
	before := len(r.faults.list)
	f := fieldsOf(r.faults, n, "mapping",
		"id", "source", "type", "subject", "time", "data", "delimiter")
	if f == nil {
		return nil
	}
	m := &Mapping{}
	if id := f.need("id", "name what makes an event unique: id: $.id"); id != nil {
		parts := []*node{id}
		if id.kind == listNode {
			parts = id.items
		}
		for _, part := range parts {
			if s, ok := f.scalar(part, "id"); ok {
				m.ID = append(m.ID, s)
			}
		}
	}
	m.Source = r.mapped(f, f.get("source"), "source")
	m.Type = r.mapped(f, f.need("type", "write type: $.type or type: {const: call}"), "type")
	m.Subject = r.mapped(f, f.need("subject", "write subject: $.customer"), "subject")
	r.mappedTime(f, f.get("time"), m)
	r.mappedData(f, f.get("data"), m)
	if d := f.get("delimiter"); d != nil {
		m.Delimiter, _ = f.scalar(d, "delimiter")
	}
	if len(r.faults.list) > before {
		return nil
	}
	if err := m.Validate(); err != nil {
		message := strings.TrimPrefix(err.Error(), "check mapping: ")
		at := n.at
		if part, _, ok := strings.Cut(message, ":"); ok { // "type: ...", "data.minutes: ..."
			if v := n.child(part); v != nil {
				at = v.at
			} else if v := n.child("data"); v != nil && strings.HasPrefix(part, "data") {
				at = v.at
				if p := v.child(strings.TrimPrefix(part, "data.")); p != nil {
					at = p.at
				}
			}
		}
		r.faults.add(at, "", "%s", printable(message))
		return nil
	}
	return m
}

// mapped reads a path, or a constant in a mapping.
func (r *configReader) mapped(f *fields, n *node, what string) MappedValue {
	if n == nil {
		return MappedValue{}
	}
	if n.kind == mapNode {
		c := fieldsOf(r.faults, n, what, "const") // not nil: n is a mapping
		s, _ := c.name(c.need("const", "write {const: TEXT} or a path"), what)
		return MappedValue{Const: s}
	}
	s, _ := f.name(n, what)
	return MappedValue{Path: s}
}

// mappedTime reads where the time stands and how it is written.
func (r *configReader) mappedTime(f *fields, n *node, m *Mapping) {
	if n == nil {
		return
	}
	if n.kind == scalarNode {
		m.Time.Path, _ = f.name(n, "time")
		return
	}
	t := fieldsOf(r.faults, n, "time", "field", "layout", "zone")
	if t == nil {
		return
	}
	m.Time.Path, _ = t.name(t.need("field", "name the field: field: $.time"), "field")
	r.text(t, "layout", &m.Time.Layout)
	r.text(t, "zone", &m.Time.Zone)
}

// mappedData reads the properties by name.
func (r *configReader) mappedData(f *fields, n *node, m *Mapping) {
	if n == nil {
		return
	}
	if n.kind != mapNode {
		r.faults.add(n.at, "write data: {minutes: $.minutes}",
			"data must be a mapping, not %s", n.what())
		return
	}
	m.Data = map[string]string{}
	for i, key := range n.keys {
		if _, twice := m.Data[key.text]; twice {
			r.faults.add(key.at, "", "property %q is given twice", clip(key.text))
			continue
		}
		if s, ok := f.name(n.items[i], "data."+clip(key.text)); ok {
			m.Data[key.text] = s
		}
	}
}
