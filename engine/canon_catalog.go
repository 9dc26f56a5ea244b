package engine

import "billctl/engine/decimal"

// Canonical bytes of the catalog: part of Change entries, checkpoints, and the billing digest.

func appendMeter(b []byte, m *Meter) []byte {
	b = appendString(b, m.Key)
	b = appendString(b, m.Event)
	b = append(b, byte(m.Aggregate))
	b = appendString(b, m.Value)
	b = appendList(b, m.GroupBy, func(b []byte, d *Dimension) []byte {
		return appendString(appendString(b, d.Name), d.Path)
	})
	b = appendList(b, m.Where, func(b []byte, f *Filter) []byte {
		return appendStrings(appendString(b, f.Path), f.Values)
	})
	return appendString(b, m.Unit)
}

func readMeter(r *reader) Meter {
	return Meter{
		Key: r.string(), Event: r.string(),
		Aggregate: Aggregate(r.between(uint64(Count), uint64(Most), "aggregation")),
		Value:     r.string(),
		GroupBy: readList(r, 2, func(r *reader) Dimension {
			return Dimension{Name: r.string(), Path: r.string()}
		}),
		Where: readList(r, 2, func(r *reader) Filter {
			return Filter{Path: r.string(), Values: readStrings(r)}
		}),
		Unit: r.string(),
	}
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
	b = append(b, byte(p.Interval), byte(p.Rounding))
	return appendList(b, p.Prices, appendPrice)
}

func readPlan(r *reader) Plan {
	return Plan{
		Key: r.string(), Version: int(r.between(1, 1<<31, "version")), Effective: Day(r.int32()),
		Currency: r.string(), Digits: int(r.upTo(18, "digits")),
		Interval: Interval(r.between(uint64(Month), uint64(Month), "interval")),
		Rounding: decimal.Rounding(r.upTo(uint64(decimal.HalfEven), "rounding")),
		Prices:   readList(r, 20, readPrice),
	}
}

func appendPrice(b []byte, p *Price) []byte {
	b = appendString(b, p.Key)
	b = append(b, byte(p.Model))
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
	return appendString(b, p.TaxCode)
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
	return Price{
		Key: r.string(), Model: Model(r.upTo(uint64(Package), "model")),
		Meter: r.string(),
		Match: readList(r, 2, func(r *reader) Match {
			return Match{Dim: r.string(), Values: readStrings(r)}
		}),
		Per:    readStrings(r),
		Amount: r.decimal(), Advance: r.bool(), Prorate: r.bool(),
		Unit: r.decimal(), Size: r.decimal(),
		Tiers:   readList(r, 81, readTier),
		Convert: readOptional(r, readConvert),
		Free:    r.decimal(), Discount: r.decimal(),
		Minimum: readOptional(r, (*reader).decimal), Maximum: readOptional(r, (*reader).decimal),
		ZeroFree: r.bool(), TaxCode: r.string(),
	}
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
	b = appendUint(b, uint64(s.Pin))
	b = appendInt(appendInt(b, int64(s.From)), int64(s.To))
	return appendList(b, s.Overrides, func(b []byte, o *Override) []byte {
		b = appendUint(appendString(b, o.Price), uint64(o.Fields))
		return appendPrice(b, &o.Value)
	})
}

func readSubscription(r *reader) Subscription {
	return Subscription{
		Key: r.string(), Plan: r.string(), Pin: int(r.upTo(1<<31, "pin")),
		From: r.micros(), To: r.micros(),
		Overrides: readList(r, 20, func(r *reader) Override {
			return Override{
				Price: r.string(), Fields: PriceFields(r.upTo(1<<16-1, "fields")),
				Value: readOverride(r),
			}
		}),
	}
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
	return appendList(b, c.Accounts, func(b []byte, a *AccountChange) []byte {
		b = appendString(appendString(appendString(b, a.ID), a.Name), a.Zone)
		b = appendList(b, a.Attach, appendOwnership)
		b = appendList(b, a.Detach, appendOwnership)
		return appendList(b, a.Subscriptions, appendSubscription)
	})
}

func readChange(r *reader) *Change {
	return &Change{
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
}
