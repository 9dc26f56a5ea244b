package engine

// AppendInvoice appends the canonical bytes of an invoice, which the billing digest covers.
func AppendInvoice(b []byte, v *Invoice) []byte {
	b = append(b, byte(v.Kind))
	for _, s := range []string{v.Account, v.AccountName, v.Subscription, v.Plan} {
		b = appendString(b, s)
	}
	b = appendUint(b, uint64(v.Version))
	b = appendUint(appendString(b, v.Currency), uint64(v.Digits))
	b = appendString(b, v.Zone)
	b = appendInt(appendInt(b, int64(v.Start)), int64(v.End))
	b = appendList(b, v.Lines, appendLine)
	b = appendList(b, v.Adjustments, func(b []byte, a *Adjustment) []byte {
		b = appendInt(appendInt(b, int64(a.Start)), int64(a.End))
		b = appendList(appendString(b, a.Price), a.Group, appendGroupValue)
		b = appendRat(b, a.Quantity)
		return appendAmount(appendAmount(appendAmount(b, a.Rated), a.Booked), a.Amount)
	})
	b = appendList(b, v.Credits, func(b []byte, c *CreditUse) []byte {
		return appendAmount(appendString(b, c.ID), c.Amount)
	})
	return appendAmount(appendAmount(b, v.Subtotal), v.Total)
}

func appendLine(b []byte, l *Line) []byte {
	b = appendList(appendString(b, l.Price), l.Group, appendGroupValue)
	b = appendString(appendString(b, l.Meter), l.Unit)
	b = append(b, byte(l.Model))
	b = appendRat(appendRat(appendRat(b, l.Quantity), l.Billable), l.Rated)
	b = appendRat(append(appendDecimal(b, l.Discount), byte(l.Bound)), l.Exact)
	b = appendAmount(b, l.Amount)
	b = appendList(b, l.Tiers, func(b []byte, t *TierUse) []byte {
		return appendRat(appendRat(appendUint(b, uint64(t.Tier)), t.Quantity), t.Amount)
	})
	return appendInt(appendInt(b, int64(l.From)), int64(l.To))
}

func appendGroupValue(b []byte, g *GroupValue) []byte {
	return appendString(appendBool(appendString(b, g.Dim), g.Absent), g.Value)
}

func readGroupValue(r *reader) GroupValue {
	return GroupValue{Dim: r.string(), Absent: r.bool(), Value: r.string()}
}
