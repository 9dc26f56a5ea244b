package engine

import (
	"slices"

	"billctl/engine/decimal"
)

// Reason says why a row does not count. In order of precedence.
type Reason uint8

// The reasons. Accepted is the reason of a row that counts.
const (
	Accepted Reason = iota
	ReasonMalformed
	ReasonUnknownAccount
	ReasonTooLate
	ReasonTooEarly
	ReasonNoSubscription
	ReasonUnmatched
	ReasonBadValue
	ReasonOverflow
	ReasonConflict
	ReasonDuplicate
	ReasonUnknownEvent   // a Void: no event with this id counted
	ReasonVoided         // a Void: the event was taken back before
	ReasonNotCorrectable // a Void: a meter that counted the event can't take it back
	NumReasons           = iota
)

var reasonNames = [NumReasons]string{
	"accepted", "malformed", "unknown_account", "too_late", "too_early", "no_subscription",
	"unmatched", "bad_value", "overflow", "conflict", "duplicate", "unknown_event", "voided",
	"not_correctable",
}

// String returns the name that documents and queries use.
func (r Reason) String() string { return reasonNames[r] }

// ReasonOf returns the reason with a name.
func ReasonOf(name string) (Reason, bool) {
	i := slices.Index(reasonNames[:], name)
	return Reason(max(i, 0)), i >= 0
}

// ReasonNames returns the names of all reasons, in order of precedence.
func ReasonNames() []string { return slices.Clone(reasonNames[:]) }

// Rejection is a row that does not count.
type Rejection struct {
	Seq    Seq
	Reason Reason
}

// DocumentKind is the last part of an invoice's key.
type DocumentKind uint8

// The kinds of invoice.
const (
	PeriodInvoice     DocumentKind = 1 // at a period's close
	StartInvoice      DocumentKind = 2 // first flat amounts in advance
	CorrectionInvoice DocumentKind = 3 // adjustments after a subscription's last period
)

var documentKinds = [...]string{"", "period", "start", "correction"}

// String returns the word in keys and documents.
func (k DocumentKind) String() string { return documentKinds[k] }

// Invoice is a document: what a subscription owes for a period. Frozen once it is an effect.
// It holds no Seq, At, Watermark or Origin, so it is equal however the usage reached us in time.
type Invoice struct {
	Kind         DocumentKind
	Account      string
	AccountName  string
	Subscription string
	Plan         string
	Version      int
	Currency     string
	Digits       int
	Zone         string
	Start, End   Micros // half-open; of the correction's or start's period
	StartDate    string // Start as the key has it: "2026-09-01", or RFC 3339 inside a day
	Lines        []Line
	Adjustments  []Adjustment
	Coupons      []CouponUse    // amounts off; percents are in the lines
	Subtotal     decimal.Amount // Σ lines + Σ adjustments − Σ coupons
	Credits      []CreditUse
	Taxes        []TaxUse
	Total        decimal.Amount // Subtotal − Σ credits + Σ taxes

	rounding decimal.Rounding
	due      due // what brought it about; zero in a preview
}

// Dated returns the date of the document: of a period invoice and of a correction the end of the
// period, of a start invoice the beginning.
func (v *Invoice) Dated() Micros {
	if v.Kind == StartInvoice {
		return v.Start
	}
	return v.End
}

// Line is one rated price of an invoice, rounded once.
type Line struct {
	Price    string
	Group    []GroupValue // values of the price's Per dimensions
	Meter    string       // "" for Flat
	Unit     string       // of the meter
	Model    Model
	Quantity decimal.Rat     // of the meter, before conversion
	Billable decimal.Rat     // after conversion, rounding and free units
	Rated    decimal.Rat     // by the model alone, or the flat amount prorated
	Discount decimal.Decimal // percent taken off Rated
	Bound    Bound           // the bound that made Exact, if one did
	Exact    decimal.Rat     // Rated less discount, within the bounds; Amount is it rounded
	Amount   decimal.Amount
	Tiers    []TierUse // by rising tier, of models with tiers; of a Matrix none
	From, To Micros    // what the line is for: the period, or the next one (in advance)

	Off     decimal.Decimal // amount taken off, as far as it went
	Coupons []CouponOff     // percents taken off the amount within the bounds, one after another
	Trial   bool            // free: Exact is 0 whatever Rated is
	TaxCode string
}

// CouponOff is a percentage that a coupon takes off a line.
type CouponOff struct {
	ID      string
	Percent decimal.Decimal
}

// Bound says which bound of a price made a line's amount.
type Bound uint8

// The bounds.
const (
	NoBound Bound = iota
	ByMinimum
	ByMaximum
	ByCommitment // the usage did not reach the commitment, or went beyond it
)

// TierUse is the part of a line's quantity that one tier priced.
type TierUse struct {
	Tier     int // index in the price
	Quantity decimal.Rat
	Amount   decimal.Rat // unit amounts and flat of the tier
}

// GroupValue is the value of one dimension; Absent where events carry none.
type GroupValue struct {
	Dim    string
	Value  string
	Absent bool
}

// Adjustment bills the difference between a closed period's line rated again and what was booked.
type Adjustment struct {
	Start, End Micros // of the closed period
	StartDate  string
	Price      string
	Group      []GroupValue
	Quantity   decimal.Rat    // now
	Rated      decimal.Amount // now
	Booked     decimal.Amount // by the invoices before
	Amount     decimal.Amount // Rated − Booked
	TaxCode    string
}

// CreditUse is the part of a grant that an invoice used.
type CreditUse struct {
	ID     string
	Amount decimal.Amount
}

// CouponUse is what a coupon took off an invoice.
type CouponUse struct {
	ID     string
	Amount decimal.Amount
}

// TaxUse is one rate of tax on an invoice. Base is what is left of the lines and adjustments of the
// rate after coupons and credits, which are spread over all of them in proportion.
type TaxUse struct {
	Code    string
	Percent decimal.Decimal
	Base    decimal.Amount
	Amount  decimal.Amount
}

// Alert says that a budget was reached: once for each period and percentage.
type Alert struct {
	Seq          Seq    // of the entry after which it was so
	At           Micros // of the entry
	Budget       string
	Account      string
	Subscription string
	Plan         string
	Meter        string // "" where Value is an amount
	Start, End   Micros // of the period
	StartDate    string
	Percent      decimal.Decimal // of Limit that was reached
	Limit        decimal.Decimal
	Value        decimal.Rat // the quantity, or the amount so far in major units
	Currency     string      // of an amount
	Unit         string      // of a quantity
}

// Usage is the aggregate of one meter and group in one period.
type Usage struct {
	Meter *Meter
	Group []GroupValue // by the meter's dimensions, in their order
	Fold  Fold
	Each  bool // a Percentage price covers the meter: Fold.Samples has every row
}
