package engine

// Digits returns the digits of a currency's minor unit as the journal's plans have it; false if no
// plan is in the currency.
func (v *View) Digits(currency string) (digits int, known bool) {
	for _, p := range v.first().plans {
		if p.Currency == currency {
			return p.Digits, true
		}
	}
	return 0, false
}
