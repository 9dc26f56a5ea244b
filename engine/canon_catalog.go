package engine

import "billctl/engine/decimal"

// Canonical bytes of the catalog: part of Change entries, checkpoints, and the billing digest.
//
// What ruleset 1 could say is written as it was then. Where a value has more, a bit that ruleset 1
// never set tells so, and the rest follows at the end of the value.

// wide marks a byte of an enumeration whose value has more than ruleset 1 could say.
const wide = 0x40

// appendKind writes a byte of an enumeration.
func appendKind(b []byte, kind byte, more bool) []byte {
	if more {
		kind |= wide
	}
	return append(b, kind)
}

// kind reads what appendKind wrote, and refuses numbers beyond the limits.
func (r *reader) kind(low, high uint64, what string) (kind uint8, more bool) {
	v := r.upTo(wide|high, what)
	more, v = v&wide != 0, v&^uint64(wide)
	if v < low || v > high {
		r.fail(what)
	}
	return uint8(v), more
}

// more refuses an empty rest: a value has one encoding only.
func (r *reader) more(wanted, found bool) {
	if wanted != found && r.err == nil {
		r.fail("a wide value that says no more")
	}
}

func appendMeter(b []byte, m *Meter) []byte {
	b = appendString(b, m.Key)
	b = appendString(b, m.Event)
	b = appendKind(b, byte(m.Aggregate), m.wide())
	b = appendString(b, m.Value)
	b = appendList(b, m.GroupBy, func(b []byte, d *Dimension) []byte {
		return appendString(appendString(b, d.Name), d.Path)
	})
	b = appendList(b, m.Where, func(b []byte, f *Filter) []byte {
		return appendStrings(appendString(b, f.Path), f.Values)
	})
	b = appendString(b, m.Unit)
	if !m.wide() {
		return b
	}
	b = appendOptional(b, m.Constant, appendDecimalAt)
	b = appendOptional(b, m.RoundEach, func(b []byte, r *RoundEach) []byte {
		return append(appendDecimal(b, r.To), byte(r.Round))
	})
	b = append(appendInt(appendDecimal(b, m.Percent), int64(m.Window)), byte(m.Of))
	return appendBool(appendInt(b, int64(m.Per)), m.Correctable)
}

// wide reports whether the meter says more than those of ruleset 1.
func (m *Meter) wide() bool {
	return m.Constant != nil || m.RoundEach != nil || !m.Percent.IsZero() || m.Window != 0 ||
		m.Of != 0 || m.Per != 0 || m.Correctable
}

func readMeter(r *reader) Meter {
	m := Meter{Key: r.string(), Event: r.string()}
	kind, more := r.kind(uint64(Count), uint64(Percentile), "aggregation")
	m.Aggregate, m.Value = Aggregate(kind), r.string()
	m.GroupBy = readList(r, 2, func(r *reader) Dimension {
		return Dimension{Name: r.string(), Path: r.string()}
	})
	m.Where = readList(r, 2, func(r *reader) Filter {
		return Filter{Path: r.string(), Values: readStrings(r)}
	})
	m.Unit = r.string()
	if more {
		m.Constant = readOptional(r, (*reader).decimal)
		m.RoundEach = readOptional(r, func(r *reader) RoundEach {
			return RoundEach{r.decimal(), ConvertRound(r.upTo(uint64(RoundNearest), "rounding"))}
		})
		m.Percent, m.Window = r.decimal(), r.micros()
		m.Of = Aggregate(r.upTo(uint64(Percentile), "aggregation of windows"))
		m.Per, m.Correctable = r.micros(), r.bool()
	}
	r.more(more, m.wide())
	return m
}

// between reads a number within inclusive limits.
func (r *reader) between(low, high uint64, what string) uint64 {
	v := r.upTo(high, what)
	if v < low {
		r.fail(what)
	}
	return v
}

func appendPlan(b []byte, p *Plan) []byte {
	b = appendString(b, p.Key)
	b = appendUint(b, uint64(p.Version))
	b = appendInt(b, int64(p.Effective))
	b = appendString(b, p.Currency)
	b = appendUint(b, uint64(p.Digits))
	b = append(appendKind(b, byte(p.Interval), p.Anchor != 0), byte(p.Rounding))
	b = appendList(b, p.Prices, appendPrice)
	if p.Anchor != 0 {
		b = append(b, byte(p.Anchor))
	}
	return b
}

func readPlan(r *reader) Plan {
	p := Plan{
		Key: r.string(), Version: int(r.between(1, 1<<31, "version")), Effective: Day(r.int32()),
		Currency: r.string(), Digits: int(r.upTo(18, "digits")),
	}
	kind, more := r.kind(uint64(OfDay), uint64(Year), "interval")
	p.Interval = Interval(kind)
	p.Rounding = decimal.Rounding(r.upTo(uint64(decimal.HalfEven), "rounding"))
	p.Prices = readList(r, 20, readPrice)
	if more {
		p.Anchor = Anchor(r.between(1, uint64(StartAnchor), "anchor"))
	}
	return p
}

func appendPrice(b []byte, p *Price) []byte {
	b = appendString(b, p.Key)
	b = appendKind(b, byte(p.Model), p.wide())
	b = appendString(b, p.Meter)
	b = appendList(b, p.Match, func(b []byte, m *Match) []byte {
		return appendStrings(appendString(b, m.Dim), m.Values)
	})
	b = appendStrings(b, p.Per)
	b = appendDecimal(b, p.Amount)
	b = appendBool(appendBool(b, p.Advance), p.Prorate)
	b = appendDecimal(b, p.Unit)
	b = appendDecimal(b, p.Size)
	b = appendList(b, p.Tiers, appendTier)
	b = appendOptional(b, p.Convert, appendConvert)
	b = appendDecimal(b, p.Free)
	b = appendDecimal(b, p.Discount)
	b = appendOptional(b, p.Minimum, appendDecimalAt)
	b = appendOptional(b, p.Maximum, appendDecimalAt)
	b = appendBool(b, p.ZeroFree)
	b = appendString(b, p.TaxCode)
	if !p.wide() {
		return b
	}
	b = appendInt(appendDecimal(appendDecimal(b, p.Rate), p.Fixed), p.FreeEvents)
	b = appendOptional(appendDecimal(b, p.FreeAmount), p.MinEach, appendDecimalAt)
	b = appendOptional(b, p.MaxEach, appendDecimalAt)
	b = appendDecimal(appendDecimal(b, p.Multiplier), p.Off)
	b = appendOptional(b, p.Commitment, func(b []byte, c *Commitment) []byte {
		return appendDecimal(appendDecimal(b, c.Amount), c.Overage)
	})
	return appendOptional(b, p.Matrix, appendMatrix)
}

// wide reports whether the price says more than those of ruleset 1.
func (p *Price) wide() bool {
	return !p.Rate.IsZero() || !p.Fixed.IsZero() || p.FreeEvents != 0 || !p.FreeAmount.IsZero() ||
		p.MinEach != nil || p.MaxEach != nil || !p.Multiplier.IsZero() || !p.Off.IsZero() ||
		p.Commitment != nil || p.Matrix != nil
}

func appendMatrix(b []byte, m *Matrix) []byte {
	return appendList(appendStrings(b, m.Dims), m.Rows, func(b []byte, row *MatrixRow) []byte {
		return appendDecimal(appendStrings(b, row.Values), row.Unit)
	})
}

func readMatrix(r *reader) Matrix {
	return Matrix{Dims: readStrings(r), Rows: readList(r, 17, func(r *reader) MatrixRow {
		return MatrixRow{Values: readStrings(r), Unit: r.decimal()}
	})}
}

func readPrice(r *reader) Price {
	p := readOverride(r)
	if p.Model == 0 {
		r.fail("model")
	}
	return p
}

// readOverride reads the price that holds an override's fields; it need not have a model.
func readOverride(r *reader) Price {
	p := Price{Key: r.string()}
	kind, more := r.kind(0, uint64(Dynamic), "model")
	p.Model, p.Meter = Model(kind), r.string()
	p.Match = readList(r, 2, func(r *reader) Match {
		return Match{Dim: r.string(), Values: readStrings(r)}
	})
	p.Per = readStrings(r)
	p.Amount, p.Advance, p.Prorate = r.decimal(), r.bool(), r.bool()
	p.Unit, p.Size = r.decimal(), r.decimal()
	p.Tiers = readList(r, 81, readTier)
	p.Convert = readOptional(r, readConvert)
	p.Free, p.Discount = r.decimal(), r.decimal()
	p.Minimum = readOptional(r, (*reader).decimal)
	p.Maximum = readOptional(r, (*reader).decimal)
	p.ZeroFree, p.TaxCode = r.bool(), r.string()
	if more {
		p.Rate, p.Fixed, p.FreeEvents = r.decimal(), r.decimal(), r.int()
		p.FreeAmount = r.decimal()
		p.MinEach = readOptional(r, (*reader).decimal)
		p.MaxEach = readOptional(r, (*reader).decimal)
		p.Multiplier, p.Off = r.decimal(), r.decimal()
		p.Commitment = readOptional(r, func(r *reader) Commitment {
			return Commitment{Amount: r.decimal(), Overage: r.decimal()}
		})
		p.Matrix = readOptional(r, readMatrix)
	}
	r.more(more, p.wide())
	return p
}

func appendTier(b []byte, t *Tier) []byte {
	b = appendBool(appendDecimal(b, t.UpTo), t.Last)
	b = appendDecimal(appendDecimal(b, t.Unit), t.Flat)
	return appendDecimal(appendDecimal(b, t.Size), t.Amount)
}

func readTier(r *reader) Tier {
	return Tier{
		UpTo: r.decimal(), Last: r.bool(), Unit: r.decimal(), Flat: r.decimal(),
		Size: r.decimal(), Amount: r.decimal(),
	}
}

func appendConvert(b []byte, c *Convert) []byte {
	return append(appendDecimal(appendDecimal(b, c.Multiply), c.Divide), byte(c.Round))
}

func readConvert(r *reader) Convert {
	return Convert{
		Multiply: r.decimal(), Divide: r.decimal(),
		Round: ConvertRound(r.upTo(uint64(RoundNearest), "rounding of units")),
	}
}

func appendDecimalAt(b []byte, d *decimal.Decimal) []byte { return appendDecimal(b, *d) }

func appendOptional[T any](b []byte, v *T, one func([]byte, *T) []byte) []byte {
	if v == nil {
		return append(b, 0)
	}
	return one(append(b, 1), v)
}

func readOptional[T any](r *reader, one func(*reader) T) *T {
	if !r.bool() {
		return nil
	}
	v := one(r)
	return &v
}

func appendSubscription(b []byte, s *Subscription) []byte {
	b = appendString(appendString(b, s.Key), s.Plan)
	pin := uint64(s.Pin)
	if s.Trial != 0 {
		pin |= widePin
	}
	b = appendInt(appendInt(appendUint(b, pin), int64(s.From)), int64(s.To))
	b = appendList(b, s.Overrides, func(b []byte, o *Override) []byte {
		b = appendUint(appendString(b, o.Price), uint64(o.Fields))
		return appendPrice(b, &o.Value)
	})
	if s.Trial != 0 {
		b = appendInt(b, int64(s.Trial))
	}
	return b
}

// widePin marks a subscription that says more than those of ruleset 1.
const widePin = 1 << 32

func readSubscription(r *reader) Subscription {
	s := Subscription{Key: r.string(), Plan: r.string()}
	pin := r.upTo(widePin|1<<31, "pin")
	s.Pin = int(pin &^ uint64(widePin))
	s.From, s.To = r.micros(), r.micros()
	s.Overrides = readList(r, 20, func(r *reader) Override {
		return Override{
			Price: r.string(), Fields: PriceFields(r.upTo(1<<32-1, "fields")),
			Value: readOverride(r),
		}
	})
	if pin >= widePin {
		s.Trial = r.micros()
	}
	r.more(pin >= widePin, s.Trial != 0)
	return s
}

func appendOwnership(b []byte, o *Ownership) []byte {
	b = appendString(appendString(b, o.Subject), o.Account)
	return appendInt(appendInt(b, int64(o.From)), int64(o.To))
}

func readOwnership(r *reader) Ownership {
	return Ownership{Subject: r.string(), Account: r.string(), From: r.micros(), To: r.micros()}
}

func appendChange(b []byte, c *Change) []byte {
	b = append(b, c.File[:]...)
	b = appendString(appendString(b, c.Actor), c.Reason)
	b = appendList(b, c.Meters, appendMeter)
	b = appendList(b, c.Plans, appendPlan)
	b = appendList(b, c.Defaults, func(b []byte, d *Default) []byte {
		return appendString(appendString(b, d.Event), d.Plan)
	})
	b = appendList(b, c.Accounts, func(b []byte, a *AccountChange) []byte {
		b = appendString(appendString(appendString(b, a.ID), a.Name), a.Zone)
		b = appendList(b, a.Attach, appendOwnership)
		b = appendList(b, a.Detach, appendOwnership)
		return appendList(b, a.Subscriptions, appendSubscription)
	})
	if c.kind() == kindWide {
		b = appendList(b, c.Coupons, appendCoupon)
		b = appendList(b, c.Taxes, appendTaxes)
		b = appendList(b, c.Budgets, appendBudget)
	}
	return b
}

func appendCoupon(b []byte, c *Coupon) []byte {
	b = appendString(appendString(appendString(b, c.ID), c.Account), c.Subscription)
	b = appendString(appendDecimal(appendDecimal(b, c.Percent), c.Amount), c.Currency)
	return appendUint(appendInt(b, int64(c.From)), uint64(c.Periods))
}

func readCoupon(r *reader) Coupon {
	return Coupon{
		ID: r.string(), Account: r.string(), Subscription: r.string(), Percent: r.decimal(),
		Amount: r.decimal(), Currency: r.string(), From: r.micros(),
		Periods: int(r.upTo(1<<31, "periods")),
	}
}

func appendTaxes(b []byte, t *AccountTaxes) []byte {
	b = appendBool(appendInt(appendString(b, t.Account), int64(t.From)), t.PerInvoice)
	return appendList(b, t.Rates, func(b []byte, r *TaxRate) []byte {
		return appendDecimal(appendString(b, r.Code), r.Percent)
	})
}

func readTaxes(r *reader) AccountTaxes {
	return AccountTaxes{
		Account: r.string(), From: Day(r.int32()), PerInvoice: r.bool(),
		Rates: readList(r, 17, func(r *reader) TaxRate { return TaxRate{r.string(), r.decimal()} }),
	}
}

func appendBudget(b []byte, v *Budget) []byte {
	for _, s := range []string{v.Key, v.Account, v.Plan, v.Meter, v.Currency} {
		b = appendString(b, s)
	}
	return appendList(appendDecimal(b, v.Limit), v.At, appendDecimalAt)
}

func readBudget(r *reader) Budget {
	return Budget{
		Key: r.string(), Account: r.string(), Plan: r.string(), Meter: r.string(),
		Currency: r.string(), Limit: r.decimal(), At: readList(r, 16, (*reader).decimal),
	}
}

func readChange(r *reader, wide bool) *Change {
	c := &Change{
		File: r.digest(), Actor: r.string(), Reason: r.string(),
		Meters: readList(r, 7, readMeter), Plans: readList(r, 8, readPlan),
		Defaults: readList(r, 2, func(r *reader) Default {
			return Default{Event: r.string(), Plan: r.string()}
		}),
		Accounts: readList(r, 6, func(r *reader) AccountChange {
			return AccountChange{
				ID: r.string(), Name: r.string(), Zone: r.string(),
				Attach: readList(r, 4, readOwnership), Detach: readList(r, 4, readOwnership),
				Subscriptions: readList(r, 6, readSubscription),
			}
		}),
	}
	if wide {
		c.Coupons, c.Taxes = readList(r, 38, readCoupon), readList(r, 4, readTaxes)
		c.Budgets = readList(r, 22, readBudget)
	}
	r.more(wide, c.kind() == kindWide)
	return c
}
