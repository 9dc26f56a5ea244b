package engine

import "billctl/engine/decimal"

// Meter is what is counted and how. A key's definition never changes.
type Meter struct {
	Key       string
	Event     string // CloudEvents type
	Aggregate Aggregate
	Value     string      // path of the number, of Unique any scalar; "" for Count and with Constant
	GroupBy   []Dimension // by rising Name
	Where     []Filter    // all must hold; by rising Path
	Unit      string

	Constant    *decimal.Decimal // the number of every row, in the place of one at Value
	RoundEach   *RoundEach       // of each row's number, before it is folded
	Percent     decimal.Decimal  // Percentile: above 0, up to 100
	Window      Micros           // Percentile: the samples are windows of this length; 0: the rows
	Of          Aggregate        // Percentile with windows: Average, Most or Total of a window
	Per         Micros           // TimeWeighted: quantity is level × time ÷ Per; 0: ÷ whole period
	Correctable bool             // Least, Most, Latest: a value can be taken back (see Void)
}

// RoundEach rounds the number of one row to a whole multiple of To, as telephone companies count
// minutes that were begun. To is above 0; Round is not KeepFraction.
type RoundEach struct {
	To    decimal.Decimal
	Round ConvertRound
}

// Aggregate folds the values of a meter into one quantity. The numbers are journaled.
type Aggregate uint8

// The aggregations.
const (
	Count Aggregate = 1
	Total Aggregate = 2 // "sum" in the catalog
	Least Aggregate = 3 // "min"
	Most  Aggregate = 4 // "max"

	Average      Aggregate = 5 // "avg": the sum over the number of rows
	Unique       Aggregate = 6 // how many values there are
	Latest       Aggregate = 7 // the value of the last event
	TimeWeighted Aggregate = 8 // a level that holds until the next event, integrated over time
	Percentile   Aggregate = 9 // nearest rank
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
	Version   int      // from 1
	Effective Day      // periods that start on it or later, in the account's zone, are rated by it
	Currency  string   // ISO 4217
	Digits    int      // of the currency's minor unit, 0 to 4
	Interval  Interval // and Anchor, Currency and Digits: equal in all versions of a plan
	Anchor    Anchor
	Rounding  decimal.Rounding
	Prices    []Price // in the catalog's order, which is the order of an invoice's lines
}

// Interval is the length of a period, in the account's zone.
type Interval uint8

// The intervals. The numbers are journaled.
const (
	OfDay   Interval = 1
	Week    Interval = 2
	Month   Interval = 3
	Quarter Interval = 4
	Year    Interval = 5
)

// Anchor says where the periods of a plan begin.
//
//   - CalendarAnchor: weeks on Monday, months, quarters and years on the 1st.
//   - 1 to 31: of months, quarters and years, the day on which they begin; in months that are
//     shorter, their last day. Quarters and years then begin in January. Of weeks, 1 (Monday) to
//     7 (Sunday).
//   - StartAnchor: the local day on which the subscription begins; of quarters and years its month
//     too.
type Anchor uint8

// The anchors that are no day.
const (
	CalendarAnchor Anchor = 0
	StartAnchor    Anchor = 63
)

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

	Rate       decimal.Decimal  // Percentage: percent of an event's amount
	Fixed      decimal.Decimal  // Percentage: for each event that pays
	FreeEvents int64            // Percentage: the first events of the period pay nothing
	FreeAmount decimal.Decimal  // Percentage: nor does this much of the first amounts
	MinEach    *decimal.Decimal // Percentage: least of a paying event
	MaxEach    *decimal.Decimal // Percentage: most of a paying event
	Multiplier decimal.Decimal  // Dynamic: of the summed amounts; 1 where the catalog has none
	Off        decimal.Decimal  // amount taken off after Discount, no further than to zero
	Commitment *Commitment
	Matrix     *Matrix // Unit: a unit price for each combination of values
}

// Commitment is an amount that is due in any case; what usage costs beyond it counts × Overage.
type Commitment struct {
	Amount  decimal.Decimal
	Overage decimal.Decimal // 1 where the catalog has none
}

// Matrix prices groups by the values of dimensions. Usage whose values have no row is not covered
// by the price. Each row that has usage is a line.
type Matrix struct {
	Dims []string    // at least one, each once
	Rows []MatrixRow // by rising Values, each once
}

// MatrixRow is the unit price of one combination of values, in the order of Dims.
type MatrixRow struct {
	Values []string
	Unit   decimal.Decimal
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

	Stairstep           Model = 6 // the Flat of the tier that holds the quantity
	Percentage          Model = 7 // of each event's amount
	GraduatedPercentage Model = 8 // Graduated, with percents for unit prices
	Dynamic             Model = 9 // the amounts that events carry
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
	Unit   decimal.Decimal // Graduated, Volume; GraduatedPercentage: percent
	Flat   decimal.Decimal // Graduated, Volume, GraduatedPercentage, Stairstep: of a tier entered
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
	Trial     Micros // what is before it is free, and periods are cut there; 0: no trial
}

// Override replaces, for one subscription, the fields of one price that Fields names.
type Override struct {
	Price  string
	Fields PriceFields
	Value  Price
}

// PriceFields is a set of fields of a Price that an Override may replace.
type PriceFields uint32

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
	OverrideRate
	OverrideFixed
	OverrideFreeEvents
	OverrideFreeAmount
	OverrideMinEach
	OverrideMaxEach
	OverrideMultiplier
	OverrideOff
	OverrideCommitment
	OverrideMatrix
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
	Coupons  []Coupon
	Taxes    []AccountTaxes
	Budgets  []Budget
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

// Coupon takes something off what a subscription owes for some of its periods.
type Coupon struct {
	ID           string // unique within the account; a coupon never changes
	Account      string
	Subscription string          // key; "": all of the account
	Percent      decimal.Decimal // off every line of a period; above 0, up to 100; or Amount
	Amount       decimal.Decimal // off the invoice of a period, no further than to zero
	Currency     string          // of Amount; a percentage has none
	From         Micros          // the first period is the one that holds it, or the next to begin
	Periods      int             // how many; 0: all
}

// AccountTaxes says what taxes the invoices of an account have. Rates bind by the start of a
// period, as terms do: the latest whose From is that day or an earlier one.
type AccountTaxes struct {
	Account    string
	From       Day  // in the account's zone
	PerInvoice bool // rounded once for each rate of an invoice; otherwise once for each line
	Rates      []TaxRate
}

// TaxRate is a percentage for the prices that carry its code.
type TaxRate struct {
	Code    string          // a price's TaxCode; "" for prices whose code has no rate of its own
	Percent decimal.Decimal // 0 to 100
}

// Budget says of which amounts or quantities somebody wants to be told. It bills nothing. A budget
// replaces one with the same Key.
type Budget struct {
	Key      string
	Account  string // "": every account
	Plan     string // "": every subscription; otherwise those on the plan
	Meter    string // the quantity of this meter; "": the amount so far, in Currency
	Currency string
	Limit    decimal.Decimal   // above 0; 0 ends the budget
	At       []decimal.Decimal // percents of Limit, rising; none: 100
}

// Credit grants money to an account, used on its invoices before tax: by rising Priority, then the
// one that expires first, then the oldest grant.
type Credit struct {
	ID       string // of the grant, unique within the account
	Account  string
	Currency string
	Amount   decimal.Amount
	Actor    string
	Reason   string
	Expires  Micros // it pays documents that are dated before it (Invoice.Dated); 0: never
	Priority int    // 0 to MaxPriority
}

// MaxPriority is the last priority of a credit.
const MaxPriority = 1000
