package formats

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"billctl/engine"
	"billctl/engine/decimal"
)

// fields is a mapping whose keys were checked against the ones its kind of thing knows.
type fields struct {
	faults *faultList
	node   *node
	what   string   // "meter tokens_out", for messages
	meant  []string // keys that unknown ones were probably meant to be
}

// fieldsOf checks that the node is a mapping, that it has no key twice, and that every key is
// known. The mapping can be used after a fault; it is nil if the node is none.
func fieldsOf(faults *faultList, n *node, what string, allowed ...string) *fields {
	if n == nil {
		return nil
	}
	if n.kind != mapNode {
		faults.add(n.at, "known here: "+strings.Join(allowed, ", "),
			"%s must be a mapping, not %s", what, n.what())
		return nil
	}
	f := &fields{faults: faults, node: n, what: what}
	for i, key := range n.keys {
		if !contains(allowed, key.text) {
			faults.add(key.at, known(key.text, allowed), "%s has no key %q", what, clip(key.text))
			f.meant = append(f.meant, nearest(key.text, allowed))
		}
		for _, before := range n.keys[:min(i, len(allowed)+8)] {
			if before.text == key.text {
				faults.add(key.at, fmt.Sprintf("the first is in line %d", before.at.line),
					"key %q is given twice", clip(key.text))
				break
			}
		}
	}
	return f
}

// get returns the value of a key, or nil where the key is absent or, which is a fault, empty.
func (f *fields) get(key string) *node {
	for i, k := range f.node.keys {
		if k.text != key {
			continue
		}
		if v := f.node.items[i]; v.kind != emptyNode {
			return v
		}
		f.faults.add(k.at, "give it a value or leave the key out", "%s has no value", key)
		return nil
	}
	return nil
}

// has reports whether the key is written at all.
func (f *fields) has(key string) bool {
	for _, k := range f.node.keys {
		if k.text == key {
			return true
		}
	}
	return false
}

// need is get of a key that must be there.
func (f *fields) need(key, hint string) *node {
	if !f.has(key) {
		if contains(f.meant, key) {
			return nil // reported with the key that was written instead
		}
		f.faults.add(f.node.at, hint, "%s needs %s", f.what, key)
		return nil
	}
	return f.get(key)
}

// refuse reports each of the keys that is written, with the reason why it can't be.
func (f *fields) refuse(hint, format string, keys ...string) {
	for _, k := range f.node.keys {
		if contains(keys, k.text) {
			f.faults.add(k.at, hint, format, k.text)
		}
	}
}

// list returns the items of a list; nil after a fault, or if n is nil.
func (f *fields) list(n *node, what string) []*node {
	if n == nil {
		return nil
	}
	if n.kind != listNode {
		hint := "put it in brackets: [" + clip(n.text) + "]"
		if n.kind == mapNode {
			hint = `begin every item with "- "`
		}
		f.faults.add(n.at, hint, "%s must be a list, not %s", what, n.what())
		return nil
	}
	return n.items
}

// scalar returns the text of a value; false after a fault, or if n is nil.
func (f *fields) scalar(n *node, what string) (string, bool) {
	if n == nil {
		return "", false
	}
	if n.kind != scalarNode {
		f.faults.add(n.at, "", "%s must be a single value, not %s", what, n.what())
		return "", false
	}
	return n.text, true
}

// name returns a text for people or from events: not empty, at most engine.MaxName bytes, without
// control characters.
func (f *fields) name(n *node, what string) (string, bool) {
	s, ok := f.scalar(n, what)
	if !ok {
		return "", false
	}
	if fault := nameFault(s); fault != "" {
		f.faults.add(n.at, "", "%s %s", what, fault)
		return "", false
	}
	return s, true
}

// nameFault says what is wrong with a name, or "".
func nameFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > engine.MaxName:
		return fmt.Sprintf("is longer than %d bytes", engine.MaxName)
	case strings.ContainsRune(s, utf8.RuneError):
		return "is not valid text"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "has a control character"
	}
	return ""
}

// maxKey is the length of a key, in bytes.
const maxKey = 80

// key returns the key of a meter, plan, price, account or subscription.
func (f *fields) key(n *node, what string) (string, bool) {
	s, ok := f.scalar(n, what)
	if !ok {
		return "", false
	}
	if !isKey(s) {
		f.faults.add(n.at, "use 1 to 80 of the characters A-Z a-z 0-9 . _ : @ -",
			"%s %q is not a key", what, clip(s))
		return "", false
	}
	return s, true
}

// isKey reports whether s is 1 to 80 of the characters A-Z a-z 0-9 . _ : @ -.
func isKey(s string) bool {
	if s == "" || len(s) > maxKey {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// word returns one of the words allowed.
func (f *fields) word(n *node, what string, allowed ...string) (string, bool) {
	s, ok := f.scalar(n, what)
	if !ok {
		return "", false
	}
	if !contains(allowed, s) {
		f.faults.add(n.at, known(s, allowed), "%s %q is not known", what, clip(s))
		return "", false
	}
	return s, true
}

// flag returns true or false as written; false if n is nil.
func (f *fields) flag(n *node, what string) bool {
	s, ok := f.scalar(n, what)
	if !ok {
		return false
	}
	if n.quoted || s != "true" && s != "false" {
		f.faults.add(n.at, "write true or false, without quotes", "%s %q is not true or false",
			what, clip(s))
	}
	return s == "true"
}

// whole returns a whole number from low to high.
func (f *fields) whole(n *node, what string, low, high int) (int, bool) {
	s, ok := f.scalar(n, what)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(s)
	if err != nil || strconv.Itoa(v) != s || v < low || v > high {
		f.faults.add(n.at, fmt.Sprintf("write a number from %d to %d", low, high),
			"%s %q is not a whole number in range", what, clip(s))
		return 0, false
	}
	return v, true
}

// decimal returns a number from the text as written.
func (f *fields) decimal(n *node, what string) (decimal.Decimal, bool) {
	s, ok := f.scalar(n, what)
	if !ok {
		return decimal.Decimal{}, false
	}
	d, err := decimal.Parse(s)
	if err == nil {
		return d, true
	}
	if errors.Is(err, decimal.ErrRange) {
		f.faults.add(n.at, "write fewer digits",
			"%s %s has more than 20 digits before or 18 after the point", what, clip(s))
		return d, false
	}
	f.faults.add(n.at, decimalHint(s), "%s %q is not a decimal", what, clip(s))
	return d, false
}

// decimalHint tells how the number was probably meant.
func decimalHint(s string) string {
	const plain = "write a plain decimal: 1234.56"
	fixed := strings.NewReplacer("_", "", " ", "", "'", "").Replace(s)
	fixed = strings.TrimPrefix(fixed, "+")
	whole, frac, comma := strings.Cut(fixed, ",")
	switch {
	case comma && len(frac) == 3 && strings.Trim(whole, "0-") != "" && !strings.Contains(s, "."):
		return "write decimals with a point and thousands without a separator"
	case comma && !strings.Contains(fixed, "."):
		fixed = whole + "." + frac
	}
	if strings.HasPrefix(fixed, ".") {
		fixed = "0" + fixed
	}
	fixed = strings.TrimSuffix(fixed, ".")
	if _, err := decimal.Parse(fixed); err != nil || fixed == s {
		return plain
	}
	if comma {
		return fmt.Sprintf("write decimals with a point: %q", fixed)
	}
	return "write it without decoration: " + fixed
}

// amount returns a number that may not be negative.
func (f *fields) amount(n *node, what string) (decimal.Decimal, bool) {
	d, ok := f.decimal(n, what)
	if ok && d.Sign() < 0 {
		f.faults.add(n.at, "money back is a credit to an account, not a price",
			"%s %s is negative", what, n.text)
		return d, false
	}
	return d, ok
}

// quantity returns a number that may not be negative.
func (f *fields) quantity(n *node, what string) (decimal.Decimal, bool) {
	d, ok := f.decimal(n, what)
	if ok && d.Sign() < 0 {
		f.faults.add(n.at, numberHint(what), "%s %s is negative", what, n.text)
		return d, false
	}
	return d, ok
}

// positive returns a number above 0.
func (f *fields) positive(n *node, what string) (decimal.Decimal, bool) {
	d, ok := f.decimal(n, what)
	if ok && d.Sign() <= 0 {
		f.faults.add(n.at, numberHint(what), "%s %s is not above 0", what, n.text)
		return d, false
	}
	return d, ok
}

// The ends of the ranges of numbers that multiply and divide, so that a slip in them is found here
// and not on invoices. 10^18 holds every unit of bytes and of time.
const (
	leastDivisor = "0.000000001"
	mostDivisor  = "1000000000000000000"
	mostFactor   = "1000000"
)

// within is the number if it is from low to high, "" for no end; what it is otherwise is a fault.
func (f *fields) within(
	n *node, what string, d decimal.Decimal, ok bool, low, high string,
) (decimal.Decimal, bool) {
	if !ok {
		return d, false
	}
	if least, err := decimal.Parse(low); err == nil && d.Cmp(least) < 0 {
		f.faults.add(n.at, "write "+low+" or more", "%s %s is too small", what, n.text)
		return d, false
	}
	if most, err := decimal.Parse(high); err == nil && d.Cmp(most) > 0 {
		f.faults.add(n.at, "write "+high+" or less", "%s %s is too large", what, n.text)
		return d, false
	}
	return d, true
}

// divisor returns a number that a quantity is multiplied or divided by.
func (f *fields) divisor(n *node, what string) (decimal.Decimal, bool) {
	d, ok := f.positive(n, what)
	return f.within(n, what, d, ok, leastDivisor, mostDivisor)
}

// size returns how much a package holds.
func (f *fields) size(n *node) (decimal.Decimal, bool) {
	d, ok := f.positive(n, "size")
	return f.within(n, "size", d, ok, leastDivisor, "")
}

// numberHint says what to write for a number that is too low.
func numberHint(what string) string {
	switch what {
	case "divide":
		return "write divide: 1000 to price thousands"
	case "multiply":
		return "write multiply: 60, or leave it out"
	case "size":
		return "say how much a package holds: size: 1000"
	case "multiplier":
		return "write multiplier: 1.2, or leave it out for 1"
	case "percent":
		return "write percentages above 0: at: [80, 100]"
	case "to":
		return "say the step: to: 60 rounds to multiples of 60"
	case "up_to":
		return "a tier begins at 0 and reaches further: up_to: 1000"
	case "amount":
		return `write what is taken off: amount: "10.00"`
	case "free":
		return "write free: 100, or leave it out"
	case "limit":
		return "write limit: 1000; limit: 0 ends the budget"
	case "overage":
		return "write overage: 1, or leave it out for 1"
	}
	return "write a greater number"
}

// percent returns a number from 0 to 100.
func (f *fields) percent(n *node, what string) (decimal.Decimal, bool) {
	d, ok := f.decimal(n, what)
	if ok && (d.Sign() < 0 || d.Cmp(decimal.FromInt(100)) > 0) {
		f.faults.add(n.at, "10 is ten percent", "%s %s is not from 0 to 100", what, n.text)
		return d, false
	}
	return d, ok
}

// values returns the texts of one value or of a list of them, rising, each once. A number without
// quotes stands for the number, in its canonical text: 5.0 is 5.
func (f *fields) values(n *node, what string) []string {
	if n == nil {
		return nil
	}
	items := []*node{n}
	if n.kind == listNode {
		items = n.items
	}
	if len(items) == 0 {
		f.faults.add(n.at, "leave it out to cover all", "%s lists no value", what)
	}
	var out []string
	for _, item := range items {
		s, ok := f.scalar(item, what)
		if !ok {
			continue
		}
		if d, err := decimal.Parse(s); err == nil && !item.quoted {
			s = d.String()
		}
		if len(s) > engine.MaxName {
			f.faults.add(item.at, "", "%s is longer than %d bytes", what, engine.MaxName)
		}
		out = append(out, s)
	}
	return sortedSet(out)
}
