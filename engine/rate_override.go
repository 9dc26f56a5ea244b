package engine

// with returns the price with the fields replaced that the override names.
func (p Price) with(o *Override) Price {
	v := &o.Value
	replace(o, OverrideAmount, &p.Amount, v.Amount)
	replace(o, OverrideUnit, &p.Unit, v.Unit)
	replace(o, OverrideSize, &p.Size, v.Size)
	replace(o, OverrideTiers, &p.Tiers, v.Tiers)
	replace(o, OverrideFree, &p.Free, v.Free)
	replace(o, OverrideDiscount, &p.Discount, v.Discount)
	replace(o, OverrideMinimum, &p.Minimum, v.Minimum)
	replace(o, OverrideMaximum, &p.Maximum, v.Maximum)
	replace(o, OverrideZeroUsage, &p.ZeroFree, v.ZeroFree)
	replace(o, OverrideRate, &p.Rate, v.Rate)
	replace(o, OverrideFixed, &p.Fixed, v.Fixed)
	replace(o, OverrideFreeEvents, &p.FreeEvents, v.FreeEvents)
	replace(o, OverrideFreeAmount, &p.FreeAmount, v.FreeAmount)
	replace(o, OverrideMinEach, &p.MinEach, v.MinEach)
	replace(o, OverrideMaxEach, &p.MaxEach, v.MaxEach)
	replace(o, OverrideMultiplier, &p.Multiplier, v.Multiplier)
	replace(o, OverrideOff, &p.Off, v.Off)
	replace(o, OverrideCommitment, &p.Commitment, v.Commitment)
	replace(o, OverrideMatrix, &p.Matrix, v.Matrix)
	return p
}

func replace[T any](o *Override, f PriceFields, field *T, value T) {
	if o.Fields&f != 0 {
		*field = value
	}
}
