package formats

import (
	"fmt"
	"slices"
	"strings"

	"billctl/engine"
	"billctl/engine/decimal"
)

// caseUsage reads what was used: a list of events, or a mapping from meters to totals.
func (r *caseReader) caseUsage(f *fields, c *Case) {
	n := f.get("usage")
	if n == nil {
		return
	}
	switch n.kind {
	case listNode:
		rows := 0
		for _, item := range n.items {
			if e := r.event(item, c); e != nil {
				rows += e.Count
				c.Events = append(c.Events, *e)
			}
		}
		if rows > maxCaseRows {
			r.faults.add(n.at, "give totals of meters: usage: {METER: QUANTITY}",
				"the usage has more than %d events", maxCaseRows)
		}
	case mapNode:
		r.totals(n, c)
	default:
		r.faults.add(n.at, "write usage: {METER: QUANTITY}, or a list of events",
			"usage must be a list or a mapping, not %s", n.what())
	}
}

// event reads one event; nil after a fault.
func (r *caseReader) event(n *node, c *Case) *CaseEvent {
	f := fieldsOf(r.faults, n, "an event", "type", "time", "data", "count", "rejected")
	if f == nil {
		return nil
	}
	e := &CaseEvent{File: n.at.src.name, Line: int(n.at.line), Time: c.Start, Count: 1}
	var ok bool
	if e.Type, ok = f.name(f.need("type", "name the type of the event"), "type"); !ok {
		return nil
	}
	e.What = "event " + e.Type
	if text, ok := f.scalar(f.get("time"), "time"); ok {
		t, fault := parseWhen(text, c.Zone)
		if fault != "" {
			r.faults.add(f.get("time").at, whenHint, "time %q %s", clip(text), fault)
			return nil
		}
		e.Time = t
	}
	if v := f.get("count"); v != nil {
		if e.Count, ok = f.whole(v, "count", 1, maxCaseRows); !ok {
			return nil
		}
	}
	e.Data = []byte("{}")
	if v := f.get("data"); v != nil {
		if v.kind != mapNode {
			r.faults.add(v.at, "write data: {tokens: 100}", "data must be a mapping, not %s", v.what())
			return nil
		}
		e.Data = appendNode(nil, v)
	}
	if word, ok := f.word(f.get("rejected"), "rejected", engine.ReasonNames()[1:]...); ok {
		e.Rejected, _ = engine.ReasonOf(word)
	}
	return e
}

// appendNode appends a value as JSON. A plain number or truth value stays one, in quotes it is
// text.
func appendNode(dst []byte, n *node) []byte {
	switch n.kind {
	case mapNode:
		dst = append(dst, '{')
		for i, key := range n.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, key.text), ':')
			dst = appendNode(dst, n.items[i])
		}
		return append(dst, '}')
	case listNode:
		dst = append(dst, '[')
		for i, item := range n.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendNode(dst, item)
		}
		return append(dst, ']')
	case emptyNode:
		return append(dst, "null"...)
	}
	_, err := decimal.Parse(n.text)
	if !n.quoted && (err == nil || err == decimal.ErrRange || n.text == "true" || n.text == "false") {
		return append(dst, n.text...)
	}
	return appendJSONString(dst, n.text)
}

// totals reads quantities of meters. They reach the meter alone: no other meter that listens to the
// same events counts them.
func (r *caseReader) totals(n *node, c *Case) {
	meters := make([]engine.Meter, len(c.Catalog.Meters))
	for i := range meters {
		meters[i] = totalOf(&c.Catalog.Meters[i])
	}
	c.Catalog.Meters = meters
	for i, key := range n.keys {
		m := c.Catalog.meterByKey(key.text)
		if m == nil {
			r.faults.add(key.at, known(key.text, r.c.meterKeys()), "there is no meter %q", clip(key.text))
			continue
		}
		items := []*node{n.items[i]}
		if n.items[i].kind == listNode {
			items = n.items[i].items
		}
		for _, item := range items {
			if e := r.total(item, m, c); e != nil {
				c.Events = append(c.Events, *e)
			}
		}
	}
}

// totalOf returns a meter with the key, the dimensions and the unit of m whose events are totals.
func totalOf(m *engine.Meter) engine.Meter {
	out := engine.Meter{
		Key: m.Key, Event: "total of " + m.Key, Aggregate: m.Aggregate, Value: "data.quantity",
		Unit: m.Unit,
	}
	for i, d := range m.GroupBy {
		out.GroupBy = append(out.GroupBy,
			engine.Dimension{Name: d.Name, Path: fmt.Sprintf("data.group.%d", i)})
	}
	switch m.Aggregate {
	case engine.Count, engine.Unique, engine.TimeWeighted:
		out.Aggregate = engine.Total
	case engine.Percentile:
		out.Percent = m.Percent // the total is the only sample
	}
	return out
}

// total reads the total of one meter, or of one of its groups; nil after a fault.
func (r *caseReader) total(n *node, m *engine.Meter, c *Case) *CaseEvent {
	e := &CaseEvent{
		File: n.at.src.name, Line: int(n.at.line), What: "total of meter " + m.Key, Type: m.Event,
		Time: c.Start, Count: 1,
	}
	f := &fields{faults: r.faults, node: n, what: "a total"}
	var group []engine.GroupValue
	quantity := n
	if n.kind == mapNode {
		f = fieldsOf(r.faults, n, "a total", "quantity", "group")
		quantity = f.need("quantity", "write {group: {model: large}, quantity: 100}")
		group = r.group(f.get("group"), dimensionNames(m), "meter "+m.Key)
	}
	q, ok := f.decimal(quantity, "quantity")
	if !ok {
		return nil
	}
	e.Data = append(e.Data, `{"quantity":`+q.String()+`,"group":{`...)
	first := true
	for i, d := range m.GroupBy {
		at := slices.IndexFunc(group, func(v engine.GroupValue) bool { return v.Dim == d.Name })
		if at < 0 || group[at].Absent {
			continue
		}
		if !first {
			e.Data = append(e.Data, ',')
		}
		first = false
		e.Data = append(e.Data, fmt.Sprintf("%q:", fmt.Sprint(i))...)
		e.Data = appendJSONString(e.Data, group[at].Value)
	}
	e.Data = append(e.Data, "}}"...)
	return e
}

// group reads values of dimensions, rising by name; a value that is empty is none.
func (r *caseReader) group(n *node, dims []string, of string) []engine.GroupValue {
	if n == nil {
		return nil
	}
	if n.kind != mapNode {
		r.faults.add(n.at, "write group: {model: large}", "group must be a mapping, not %s", n.what())
		return nil
	}
	var out []engine.GroupValue
	for i, key := range n.keys {
		if dims != nil && !contains(dims, key.text) {
			r.faults.add(key.at, known(key.text, dims), "%s has no dimension %q", of, clip(key.text))
			continue
		}
		v := engine.GroupValue{Dim: key.text, Absent: n.items[i].kind == emptyNode}
		if !v.Absent {
			values := (&fields{faults: r.faults}).values(n.items[i], "group "+clip(key.text))
			if len(values) != 1 {
				r.faults.add(n.items[i].at, "", "group %s must be one value", clip(key.text))
				continue
			}
			v.Value = values[0]
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b engine.GroupValue) int { return strings.Compare(a.Dim, b.Dim) })
	return out
}

// caseCredits reads what the account has been granted.
func (r *caseReader) caseCredits(f *fields, c *Case) {
	plan := &c.Catalog.Plans[0]
	for i, item := range f.list(f.get("credits"), "credits") {
		g := fieldsOf(r.faults, item, "a credit", "id", "amount", "expires", "priority")
		if g == nil {
			continue
		}
		out := engine.Credit{
			ID: fmt.Sprintf("credit-%d", i+1), Account: caseAccount, Currency: plan.Currency,
			Actor: "case", Reason: "case",
		}
		if id := g.get("id"); id != nil {
			out.ID, _ = g.key(id, "credit id")
		}
		n := g.need("amount", `write amount: "10.00"`)
		if text, ok := g.scalar(n, "amount"); ok {
			var err error
			out.Amount, err = decimal.ParseAmount(text, plan.Digits)
			if err != nil || out.Amount.Sign() <= 0 {
				hint := fmt.Sprintf("write an amount above 0 with at most %d digits behind the point",
					plan.Digits)
				r.faults.add(n.at, hint, "amount %q is not money in %s", clip(text), plan.Currency)
			}
		}
		if v := g.get("expires"); v != nil {
			r.when(&out.Expires, g.written(v, "expires"), "expires", c.Zone)
		}
		if v := g.get("priority"); v != nil {
			out.Priority, _ = g.whole(v, "priority", 0, engine.MaxPriority)
		}
		c.Credits = append(c.Credits, out)
	}
}

// expect reads what the document must say.
func (r *caseReader) expect(f *fields, c *Case) {
	n := f.need("expect", `write expect: {total: "29.00"}`)
	e := fieldsOf(r.faults, n, "expect", append([]string{"lines", "some_lines"}, caseSums...)...)
	if e == nil {
		return
	}
	if len(n.keys) == 0 {
		r.faults.add(n.at, `write expect: {total: "29.00"}`, "expect says nothing")
	}
	c.Expect.HasAll, c.Expect.HasSome = e.has("lines"), e.has("some_lines")
	if c.Expect.HasAll {
		e.refuse("lines are all of them", "lines and %s exclude each other", "some_lines")
	}
	for _, key := range []string{"lines", "some_lines"} {
		for _, item := range e.list(e.get(key), key) {
			if line := r.line(item); line != nil {
				c.Expect.Lines = append(c.Expect.Lines, *line)
			}
		}
	}
	for _, name := range caseSums {
		if v := e.get(name); v != nil {
			if d, ok := e.decimal(v, name); ok {
				c.Expect.Sums = append(c.Expect.Sums, CaseSum{name, d.Rat()})
			}
		}
	}
}

// line reads a line that is expected; nil after a fault.
func (r *caseReader) line(n *node) *CaseLine {
	f := fieldsOf(r.faults, n, "a line", "price", "group", "quantity", "amount")
	if f == nil {
		return nil
	}
	out := &CaseLine{}
	var ok bool
	if out.Price, ok = f.key(f.need("price", "name the price"), "price"); !ok {
		return nil
	}
	out.Group = r.group(f.get("group"), nil, "")
	number := func(key string) *decimal.Rat {
		v := f.get(key)
		text, ok := f.scalar(v, key)
		if !ok {
			return nil
		}
		if over, under, fraction := strings.Cut(text, "/"); fraction {
			a, err := decimal.Parse(over)
			b, err2 := decimal.Parse(under)
			if err == nil && err2 == nil && !b.IsZero() {
				q := a.Rat().Quo(b.Rat())
				return &q
			}
		}
		d, ok := f.decimal(v, key)
		if !ok {
			return nil
		}
		q := d.Rat()
		return &q
	}
	out.Quantity, out.Amount = number("quantity"), number("amount")
	return out
}
