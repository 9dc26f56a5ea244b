package live

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"billctl/engine"
)

// Difference is the first thing in which two documents of one key differ.
type Difference struct {
	Key          string
	Account      string
	Subscription string
	Period       string // start date
	// Part is where they differ: "line", "adjustment", "coupon", "credit", "tax", "subtotal", "total",
	// or another member of the document; "bytes": the same values are written in another way.
	Part   string
	Line   string // of a line or adjustment its key, of a coupon or credit its id, of a tax its rate
	For    string // start of what the line is for, where that is not the document's period
	Member string // of the line, which is not the same: "amount"; "" where one side has no line
	Here   Side   // of the replay
	There  Side   // of the reference
}

// Side is what one document says there.
type Side struct {
	Missing                 bool   // it has no such line
	Quantity, Exact, Amount string // of the line; "" where it has none
	Value                   string // of the member
}

// compareDocuments returns in what two documents differ, whose bytes do: the first line, then the
// first adjustment, coupon, credit, tax, sum, or other member.
func compareDocuments(here, there []byte) Difference {
	a, errHere := readDocument(here)
	b, errThere := readDocument(there)
	d := Difference{
		Account: text(a["account"]), Subscription: text(a["subscription"]),
		Period: text(object(a["period"])["start_date"]),
	}
	if errHere != nil || errThere != nil {
		d.Part, d.Here.Value, d.There.Value = "document", "an invoice", "no invoice"
		if errThere != nil {
			d.There.Value += " (" + errThere.Error() + ")"
		}
		return d
	}
	for _, list := range []struct{ part, member string }{
		{"line", "lines"}, {"adjustment", "adjustments"}, {"coupon", "coupons"},
		{"credit", "credits"}, {"tax", "taxes"},
	} {
		if d.items(list.part, itemsOf(a, list.member), itemsOf(b, list.member)) {
			return d
		}
	}
	members := slices.Sorted(maps.Keys(a))
	for _, m := range slices.Sorted(maps.Keys(b)) {
		if _, both := a[m]; !both {
			members = append(members, m)
		}
	}
	for _, m := range append([]string{"subtotal", "total"}, members...) {
		if !reflect.DeepEqual(a[m], b[m]) {
			d.Part, d.Here.Value, d.There.Value = m, text(a[m]), text(b[m])
			return d
		}
	}
	at := 0
	for at < len(here) && at < len(there) && here[at] == there[at] {
		at++
	}
	d.Part = "bytes"
	d.Here.Value = fmt.Sprintf("%d bytes", len(here))
	d.There.Value = fmt.Sprintf("the same values in %d bytes, other ones from byte %d on",
		len(there), at)
	return d
}

// items finds the first item of a list that differs.
func (d *Difference) items(part string, here, there []docItem) bool {
	in := func(list []docItem, key string) *docItem {
		i := slices.IndexFunc(list, func(x docItem) bool { return x.key == key })
		if i < 0 {
			return nil
		}
		return &list[i]
	}
	for i := range here {
		a := &here[i]
		if b := in(there, a.key); b == nil || !reflect.DeepEqual(a.members, b.members) {
			d.item(part, a, b)
			return true
		}
	}
	for i := range there {
		if b := &there[i]; in(here, b.key) == nil {
			d.item(part, nil, b)
			return true
		}
	}
	return false
}

// item says in what an item differs; nil is the side that does not have it.
func (d *Difference) item(part string, a, b *docItem) {
	d.Part = part
	one := a
	if one == nil {
		one = b
	}
	d.Line, d.For = one.line, one.from
	if a == nil || b == nil {
		d.Here, d.There = a.side(""), b.side("")
		return
	}
	members := []string{"amount", "exact", "quantity"}
	for _, list := range []*docItem{a, b} {
		members = append(members, slices.Sorted(maps.Keys(list.members))...)
	}
	for _, m := range members {
		if !reflect.DeepEqual(a.members[m], b.members[m]) {
			d.Member = m
			break
		}
	}
	d.Here, d.There = a.side(d.Member), b.side(d.Member)
}

// docItem is a line, an adjustment, a coupon, a credit or a tax of a document.
type docItem struct {
	key     string // tells it apart within its list
	line    string
	from    string
	members map[string]any
}

func (i *docItem) side(member string) Side {
	if i == nil {
		return Side{Missing: true}
	}
	s := Side{
		Quantity: text(i.members["quantity"]), Exact: text(i.members["exact"]),
		Amount: text(i.members["amount"]),
	}
	if member != "" {
		s.Value = text(i.members[member])
	}
	return s
}

// itemsOf returns the items of a list of the document.
func itemsOf(doc map[string]any, member string) []docItem {
	list, _ := doc[member].([]any) // another kind of value differs as a member
	start := text(object(doc["period"])["start"])
	times := map[string]int{}
	var out []docItem
	for _, v := range list {
		i := docItem{members: object(v)}
		switch member {
		case "coupons", "credits":
			i.line = text(i.members["id"])
		case "taxes":
			i.line = strings.TrimSpace(text(i.members["code"]) + " " + text(i.members["percent"]) + " %")
		default:
			var group []engine.GroupValue
			values, _ := i.members["group"].([]any)
			for _, g := range values {
				value, given := object(g)["value"].(string)
				group = append(group, engine.GroupValue{
					Dim: text(object(g)["dimension"]), Value: value, Absent: !given,
				})
			}
			i.line = engine.LineKey(text(i.members["price"]), group)
		}
		if from := text(i.members["from"]); from != start {
			i.from = from
		}
		if p := object(i.members["period"]); p != nil {
			i.from = text(p["start_date"])
		}
		i.key = i.line + "\x00" + i.from
		if times[i.key]++; times[i.key] > 1 {
			i.key += fmt.Sprintf("\x00%d", times[i.key])
		}
		out = append(out, i)
	}
	return out
}

// readDocument reads one JSON object.
func readDocument(b []byte) (map[string]any, error) {
	var doc map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return doc, nil
}

func object(v any) map[string]any {
	o, _ := v.(map[string]any) // nil has no members
	return o
}

// text returns a value for people: of a string its text, of nothing "", of others their JSON.
func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: a decoded value can't be written: " + err.Error())
	}
	return string(b)
}
