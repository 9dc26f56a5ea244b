// Package decimal is the exact arithmetic of a bill. An input value is a Decimal, a running total
// of input values is a Sum, money is an Amount of whole minor units, and everything in between is
// a Rat, an exact rational number. No step before the one rounding function, Rat.Round, loses
// anything, so a bill does not depend on the order in which its events were read, nor on how the
// work was divided.
//
// # Owns
//
//   - Reading and writing decimal text: Parse, ParseBytes, ParseAmount and the Append methods.
//   - The fixed-width words of Decimal, Sum and Amount, which other packages may store as they are.
//   - Rounding: Rat.Round is the only place where a value becomes money.
//   - Dividing an Amount into parts which sum to it: Amount.Spread.
//
// # Does not own
//
//   - Currencies. The number of minor digits is an argument, never a property of an Amount.
//   - Prices, tiers, proration and every other rule about what is multiplied by what.
//   - Where a bad value was read. The errors are bare sentinels, and the caller adds the position.
//
// # Invariants
//
//   - No binary fractions: no value of the package ever passes through the hardware's fractions.
//   - Decimal, Sum and Amount have one representation per value, so == is equality and they may be
//     map keys. Their zero values are 0. A Rat may have several, and does not compile with ==.
//   - The canonical text of a value is unique, and Parse of a Decimal's text gives it back.
//   - A Decimal is below 10^20 in magnitude. Every operation that could leave that range says so
//     in its result; Neg cannot, because the range is symmetrical.
//   - A Sum of fewer than 2^63 Decimals cannot overflow.
//   - A Rat operation never overflows and is never inexact: beyond 256 bits it uses math/big.
//   - An Amount operation that would leave 256 bits panics rather than wrap round.
//   - Parsing, summing, formatting into a large enough slice, and Rat arithmetic within 256 bits
//     do not allocate.
package decimal
