package engine

import "billctl/engine/decimal"

// Meter is what is counted and how. A key's definition never changes.
type Meter struct {
	Key       string
	Event     string // CloudEvents type
	Aggregate Aggregate
	Value     string      // path of the number; "" for Count
	GroupBy   []Dimension // by rising Name
	Where     []Filter    // all must hold; by rising Path
	Unit      string
}

// Aggregate folds the values of a meter into one quantity. The numbers are journaled.
type Aggregate uint8

// The aggregations.
const (
	Count Aggregate = 1
	Total Aggregate = 2 // "sum" in the catalog
	Least Aggregate = 3 // "min"
	Most  Aggregate = 4 // "max"
)

// Dimension is one property by which a meter's usage is kept apart.
type Dimension struct{ Name, Path string }

// Filter lets a row pass whose property at Path is written as one of Values (rising).
type Filter struct {
	Path   string
	Values []string
}

// Plan is one immutable version of a named set of prices.
type Plan struct {
	Key       string
	Version   int    // from 1
	Effective Day    // periods that start on it or later, in the account's zone, are rated by it
	Currency  string // ISO 4217
	Digits    int    // of the currency's minor unit, 0 to 4
	Interval  Interval
	Rounding  decimal.Rounding
	Prices    []Price // in the catalog's order, which is the order of an invoice's lines
}

// Interval is the length of a period.
type Interval uint8

// Month is the calendar month of the account's zone; other intervals have numbers to come.
const Month Interval = 3

// Price is one charge model on one meter, or on none (Flat).
// Amounts and unit prices are in major units of the plan's currency.
type Price struct {
	Key   string
	Model Model
	Meter string   // "" for Flat
	Match []Match  // groups the price covers; none: all
	Per   []string // dimensions with a line, tiers and bounds of their own for each value

	Amount  decimal.Decimal // Flat; Package without tiers: of a package
	Advance bool            // Flat: billed with the period before, or at the start
	Prorate bool            // Flat: by calendar days of an incomplete period
	Unit    decimal.Decimal // Unit
	Size    decimal.Decimal // Package without tiers: quantity in a package
	Tiers   []Tier          // Graduated, Volume, Package with tiers; the last is unbounded

	Convert  *Convert
	Free     decimal.Decimal // quantity, after conversion
	Discount decimal.Decimal // percent, 0 to 100
	Minimum  *decimal.Decimal
	Maximum  *decimal.Decimal
	ZeroFree bool // a quantity of 0 does not pay the first tier's flat amount
	TaxCode  string
}

// Model is a charge model. The numbers are journaled.
type Model uint8

// The charge models (docs/semantics.md, "Prices").
const (
	Flat      Model = 1
	Unit      Model = 2
	Graduated Model = 3
	Volume    Model = 4
	Package   Model = 5
)

// Match lets a group pass whose Dim is one of Values (rising).
type Match struct {
	Dim    string
	Values []string
}

// Tier is a range of quantity; its upper bound is inclusive, its lower is the bound before.
type Tier struct {
	UpTo   decimal.Decimal
	Last   bool            // no upper bound
	Unit   decimal.Decimal // Graduated, Volume
	Flat   decimal.Decimal // Graduated, Volume: when the tier is entered
	Size   decimal.Decimal // Package
	Amount decimal.Decimal // Package: of a package
}

// Convert changes a quantity before it is priced: quantity × Multiply ÷ Divide, then Round.
type Convert struct {
	Multiply decimal.Decimal // 1 where the catalog has none
	Divide   decimal.Decimal // 1 where the catalog has none
	Round    ConvertRound
}

// ConvertRound rounds a converted quantity to a whole number.
type ConvertRound uint8

// The roundings of a converted quantity.
const (
	KeepFraction ConvertRound = iota
	RoundUp
	RoundDown
	RoundNearest // half away from zero
)

// Subscription binds an account to a plan for [From, To). (Account, Key, From) identifies it.
type Subscription struct {
	Key       string
	Plan      string
	Pin       int // plan version, or 0: by effective date
	From      Micros
	To        Micros // Future while it has no end
	Overrides []Override
}

// Override replaces, for one subscription, the fields of one price that Fields names.
type Override struct {
	Price  string
	Fields PriceFields
	Value  Price
}

// PriceFields is a set of fields of a Price that an Override may replace.
type PriceFields uint16

// The fields that can be overridden.
const (
	OverrideAmount PriceFields = 1 << iota
	OverrideUnit
	OverrideSize
	OverrideTiers
	OverrideFree
	OverrideDiscount
	OverrideMinimum
	OverrideMaximum
	OverrideZeroUsage
)

// Ownership says that events of Subject in [From, To) are the account's.
type Ownership struct {
	Subject  string
	Account  string
	From, To Micros
}

// Change is a delta of the catalog and the accounts: what `catalog apply` and `accounts import`
// write. Everything in it is complete: a meter or plan version as a whole, an account with all
// that is set anew. Applying what is so already changes nothing.
type Change struct {
	File     Digest // SHA-256 of the control file it came in; a file counts once
	Actor    string
	Reason   string
	Meters   []Meter
	Plans    []Plan
	Defaults []Default
	Accounts []AccountChange
}

// Default makes subjects that no account names accounts of their own, by the type of their event.
type Default struct {
	Event string
	Plan  string // "" ends the default
}

// AccountChange creates an account or changes it.
type AccountChange struct {
	ID            string
	Name          string
	Zone          string      // journaled before; never changes
	Attach        []Ownership // Account is ID; To is Future
	Detach        []Ownership // From is the ownership's From, To its end
	Subscriptions []Subscription
}

// Credit grants money to an account, used on its invoices before tax, oldest grant first.
type Credit struct {
	ID       string // of the grant, unique within the account
	Account  string
	Currency string
	Amount   decimal.Amount
	Actor    string
	Reason   string
}
