package engine

// AppendInvoice appends the canonical bytes of an invoice, which the billing digest covers.
func AppendInvoice(b []byte, v *Invoice) []byte {
	more := len(v.Coupons)+len(v.Taxes) > 0
	b = appendKind(b, byte(v.Kind), more)
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
	b = appendAmount(appendAmount(b, v.Subtotal), v.Total)
	if !more {
		return b
	}
	b = appendList(b, v.Coupons, func(b []byte, c *CouponUse) []byte {
		return appendAmount(appendString(b, c.ID), c.Amount)
	})
	return appendList(b, v.Taxes, func(b []byte, t *TaxUse) []byte {
		b = appendDecimal(appendString(b, t.Code), t.Percent)
		return appendAmount(appendAmount(b, t.Base), t.Amount)
	})
}

func appendLine(b []byte, l *Line) []byte {
	b = appendList(appendString(b, l.Price), l.Group, appendGroupValue)
	b = appendString(appendString(b, l.Meter), l.Unit)
	more := !l.Off.IsZero() || len(l.Coupons) > 0 || l.Trial
	b = appendKind(b, byte(l.Model), more)
	b = appendRat(appendRat(appendRat(b, l.Quantity), l.Billable), l.Rated)
	b = appendRat(append(appendDecimal(b, l.Discount), byte(l.Bound)), l.Exact)
	b = appendAmount(b, l.Amount)
	b = appendList(b, l.Tiers, func(b []byte, t *TierUse) []byte {
		return appendRat(appendRat(appendUint(b, uint64(t.Tier)), t.Quantity), t.Amount)
	})
	b = appendInt(appendInt(b, int64(l.From)), int64(l.To))
	if !more {
		return b
	}
	b = appendList(appendDecimal(b, l.Off), l.Coupons, func(b []byte, c *CouponOff) []byte {
		return appendDecimal(appendString(b, c.ID), c.Percent)
	})
	return appendBool(b, l.Trial)
}

func appendGroupValue(b []byte, g *GroupValue) []byte {
	return appendString(appendBool(appendString(b, g.Dim), g.Absent), g.Value)
}

func readGroupValue(r *reader) GroupValue {
	return GroupValue{Dim: r.string(), Absent: r.bool(), Value: r.string()}
}
