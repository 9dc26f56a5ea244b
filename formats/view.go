package formats

import (
	"strconv"

	"billctl/engine"
	"billctl/engine/decimal"
)

// InvoiceSchema names the version of the documents that AppendInvoice writes.
const InvoiceSchema = "billctl.invoice.v1"

// AppendInvoice appends an invoice as the JSON document that is delivered: indented by two spaces,
// its members always in the same order, ending in a newline (docs/formats/invoice.md).
//
// These bytes are frozen. Documents in outboxes and at customers were written by it, a restart
// compares new documents with them byte for byte, and sinks refuse other bytes under the same key.
// What a catalog could not say when version 1 began has members that stand only where it is used.
// Any other change, even of white space, needs a new schema, a new function beside this one, and a
// new ruleset from which on it is used.
func AppendInvoice(dst []byte, inv *engine.Invoice) []byte {
	j := jsonWriter{dst: dst, taxed: len(inv.Taxes) > 0}
	j.open('{')
	j.text("schema", InvoiceSchema)
	j.text("key", InvoiceKey(inv))
	j.text("kind", inv.Kind.String())
	j.text("account", inv.Account)
	j.text("account_name", inv.AccountName)
	j.text("subscription", inv.Subscription)
	j.text("plan", inv.Plan)
	j.whole("version", inv.Version)
	j.text("currency", inv.Currency)
	j.member("period")
	j.open('{')
	j.time("start", inv.Start)
	j.time("end", inv.End)
	j.text("zone", inv.Zone)
	j.text("start_date", inv.StartDate)
	j.close('}')
	j.member("lines")
	j.open('[')
	for i := range inv.Lines {
		j.line(&inv.Lines[i], inv.Digits)
	}
	j.close(']')
	j.member("adjustments")
	j.open('[')
	for i := range inv.Adjustments {
		j.adjustment(&inv.Adjustments[i], inv.Digits)
	}
	j.close(']')
	if len(inv.Coupons) > 0 {
		j.member("coupons")
		j.open('[')
		for i := range inv.Coupons {
			j.use(inv.Coupons[i].ID, inv.Coupons[i].Amount, inv.Digits)
		}
		j.close(']')
	}
	j.amount("subtotal", inv.Subtotal, inv.Digits)
	j.member("credits")
	j.open('[')
	for i := range inv.Credits {
		j.use(inv.Credits[i].ID, inv.Credits[i].Amount, inv.Digits)
	}
	j.close(']')
	j.taxes(inv)
	j.amount("total", inv.Total, inv.Digits)
	j.close('}')
	return append(j.dst, '\n')
}

// use writes what a coupon or a credit took off an invoice.
func (j *jsonWriter) use(id string, a decimal.Amount, digits int) {
	j.item()
	j.open('{')
	j.text("id", id)
	j.amount("amount", a, digits)
	j.close('}')
}

// taxes writes the taxes of an invoice by rate, if it has any.
func (j *jsonWriter) taxes(inv *engine.Invoice) {
	if !j.taxed {
		return
	}
	j.member("taxes")
	j.open('[')
	for i := range inv.Taxes {
		t := &inv.Taxes[i]
		j.item()
		j.open('{')
		j.text("code", t.Code)
		j.text("percent", t.Percent.String())
		j.amount("base", t.Base, inv.Digits)
		j.amount("amount", t.Amount, inv.Digits)
		j.close('}')
	}
	j.close(']')
}

// line writes one rated price.
func (j *jsonWriter) line(l *engine.Line, digits int) {
	j.item()
	j.open('{')
	j.text("price", l.Price)
	j.text("model", invoiceModel(l.Model))
	if l.Meter != "" {
		j.text("meter", l.Meter)
		j.text("unit", l.Unit)
	}
	j.group(l.Group)
	j.time("from", l.From)
	j.time("to", l.To)
	if l.Meter != "" {
		j.rat("quantity", l.Quantity)
		j.rat("billable", l.Billable)
		j.tiers(l.Tiers)
	}
	j.rat("rated", l.Rated)
	if !l.Discount.IsZero() {
		j.text("discount", l.Discount.String())
	}
	if !l.Off.IsZero() {
		j.text("off", l.Off.String())
	}
	if word := BoundWord(l.Bound); word != "" {
		j.text("bound", word)
	}
	if len(l.Coupons) > 0 {
		j.member("coupons")
		j.open('[')
		for i := range l.Coupons {
			j.item()
			j.open('{')
			j.text("id", l.Coupons[i].ID)
			j.text("percent", l.Coupons[i].Percent.String())
			j.close('}')
		}
		j.close(']')
	}
	if l.Trial {
		j.member("trial")
		j.dst = append(j.dst, "true"...)
	}
	j.rat("exact", l.Exact)
	j.amount("amount", l.Amount, digits)
	j.taxCode(l.TaxCode)
	j.close('}')
}

// taxCode writes the code of a line or adjustment of an invoice that has taxes.
func (j *jsonWriter) taxCode(code string) {
	if j.taxed && code != "" {
		j.text("tax_code", code)
	}
}

// BoundWord returns the word of a bound in documents, "" for none.
func BoundWord(b engine.Bound) string {
	switch b {
	case engine.NoBound:
		return ""
	case engine.ByMinimum:
		return "minimum"
	case engine.ByMaximum:
		return "maximum"
	case engine.ByCommitment:
		return "commitment"
	}
	panic("BUG: documents of version 1 have no word for a bound")
}

func (j *jsonWriter) tiers(tiers []engine.TierUse) {
	j.member("tiers")
	j.open('[')
	for i := range tiers {
		j.item()
		j.open('{')
		j.whole("tier", tiers[i].Tier+1)
		j.rat("quantity", tiers[i].Quantity)
		j.rat("amount", tiers[i].Amount)
		j.close('}')
	}
	j.close(']')
}

// adjustment writes the difference of a closed period's line.
func (j *jsonWriter) adjustment(a *engine.Adjustment, digits int) {
	j.item()
	j.open('{')
	j.text("price", a.Price)
	j.group(a.Group)
	j.member("period")
	j.open('{')
	j.time("start", a.Start)
	j.time("end", a.End)
	j.text("start_date", a.StartDate)
	j.close('}')
	j.rat("quantity", a.Quantity)
	j.amount("rated", a.Rated, digits)
	j.amount("booked", a.Booked, digits)
	j.amount("amount", a.Amount, digits)
	j.taxCode(a.TaxCode)
	j.close('}')
}

// group writes the values that a line was kept apart by; null where events carry none. It is a
// list because its order is the order of the price's dimensions.
func (j *jsonWriter) group(values []engine.GroupValue) {
	j.member("group")
	j.open('[')
	for i := range values {
		j.item()
		j.open('{')
		j.text("dimension", values[i].Dim)
		if values[i].Absent {
			j.member("value")
			j.dst = append(j.dst, "null"...)
		} else {
			j.text("value", values[i].Value)
		}
		j.close('}')
	}
	j.close(']')
}

// invoiceModel returns the word of a charge model in documents of version 1.
func invoiceModel(m engine.Model) string {
	switch m {
	case engine.Flat:
		return "flat"
	case engine.Unit:
		return "unit"
	case engine.Graduated:
		return "graduated"
	case engine.Volume:
		return "volume"
	case engine.Package:
		return "package"
	case engine.Stairstep:
		return "stairstep"
	case engine.Percentage:
		return "percentage"
	case engine.GraduatedPercentage:
		return "graduated_percentage"
	case engine.Dynamic:
		return "dynamic"
	}
	panic("BUG: documents of version 1 have no word for a charge model")
}

// InvoiceKey returns the natural key of an invoice: account/subscription/start/kind. In the parts,
// every byte but A-Z a-z 0-9 . _ @ : - is written as % and two hexadecimal digits, in capitals.
func InvoiceKey(inv *engine.Invoice) string {
	key := appendKeyPart(nil, inv.Account)
	key = appendKeyPart(append(key, '/'), inv.Subscription)
	key = appendKeyPart(append(key, '/'), inv.StartDate)
	key = appendKeyPart(append(key, '/'), inv.Kind.String())
	return string(key)
}

func appendKeyPart(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_',
			c == '@', c == ':', c == '-':
			dst = append(dst, c)
		default:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		}
	}
	return dst
}

// jsonWriter writes indented JSON. Empty lists and objects take one line.
type jsonWriter struct {
	dst   []byte
	depth int
	fresh bool // nothing stands in the innermost list or object yet
	taxed bool // the invoice has taxes, so that tax codes matter
}

// item begins an element of a list.
func (j *jsonWriter) item() {
	if !j.fresh {
		j.dst = append(j.dst, ',')
	}
	j.fresh = false
	j.newline()
}

// member begins a member of an object.
func (j *jsonWriter) member(name string) {
	j.item()
	j.dst = append(appendJSONString(j.dst, name), ": "...)
}

func (j *jsonWriter) open(c byte) {
	j.dst = append(j.dst, c)
	j.depth++
	j.fresh = true
}

func (j *jsonWriter) close(c byte) {
	j.depth--
	if !j.fresh {
		j.newline()
	}
	j.fresh = false
	j.dst = append(j.dst, c)
}

func (j *jsonWriter) newline() {
	j.dst = append(j.dst, '\n')
	for range j.depth {
		j.dst = append(j.dst, "  "...)
	}
}

func (j *jsonWriter) text(name, value string) {
	j.member(name)
	j.dst = appendJSONString(j.dst, value)
}

func (j *jsonWriter) time(name string, t engine.Micros) { j.text(name, t.String()) }

func (j *jsonWriter) whole(name string, n int) {
	j.member(name)
	j.dst = strconv.AppendInt(j.dst, int64(n), 10)
}

// rat writes an exact number: a decimal where it is one, else a fraction "1/3".
func (j *jsonWriter) rat(name string, r decimal.Rat) { j.text(name, r.String()) }

// amount writes money in major units, with the digits of its currency.
func (j *jsonWriter) amount(name string, a decimal.Amount, digits int) {
	j.text(name, a.Text(digits))
}
