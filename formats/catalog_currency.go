package formats

import (
	"slices"
	"strings"
)

// Currencies of ISO 4217 as of 2025, by the digits of their minor units. Funds codes,
// metals and test codes are left out: nobody pays in them.
const (
	digits0 = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
	digits2 = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP " +
		"BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP " +
		"GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT " +
		"LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN " +
		"NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP " +
		"SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED " +
		"VES WST XCD XCG YER ZAR ZMW ZWG"
	digits3 = "BHD IQD JOD KWD LYD OMR TND"
	digits4 = "CLF UYW"
)

// currencyDigits returns the digits of a currency's minor unit.
func currencyDigits(code string) (int, bool) {
	if len(code) != 3 || strings.Contains(code, " ") {
		return 0, false
	}
	for _, table := range []struct {
		digits int
		codes  string
	}{{2, digits2}, {0, digits0}, {3, digits3}, {4, digits4}} {
		for list := table.codes; len(list) >= 3; list = strings.TrimPrefix(list[3:], " ") {
			if list[:3] == code {
				return table.digits, true
			}
		}
	}
	return 0, false
}

// maxDigits are the most digits of a currency that a catalog declares.
const maxDigits = 12

// declared is a currency of the catalog's own.
type declared struct {
	digits int
	at     place
}

// ownCurrency reads one item of currencies.
func (r *catalogReader) ownCurrency(n *node) {
	f := fieldsOf(r.faults, n, "a currency", "code", "digits")
	if f == nil {
		return
	}
	code, ok := f.scalar(f.need("code", "name it: code: TOK"), "code")
	if !ok {
		return
	}
	at := n.child("code").at
	f.what = "currency " + clip(code)
	digits, counted := f.whole(f.need("digits", "say how many digits amounts have: digits: 6"),
		"digits", 0, maxDigits)
	if first, twice := r.currencies[code]; twice {
		r.faults.add(at, "the first is in "+first.at.String(), "currency %q is given twice", clip(code))
		return
	}
	iso, known := currencyDigits(code)
	_, upper := currencyDigits(strings.ToUpper(code))
	switch {
	case !isCode(code):
		r.faults.add(at, "use 1 to 12 of the characters A-Z a-z 0-9, a letter first",
			"currency %q is not a code", clip(code))
	case known && counted && digits != iso:
		r.faults.add(n.child("digits").at, "give a unit of your own another code",
			"currency %s has %s in ISO 4217, not %d", code, plural(iso, "digit"), digits)
	case upper && !known:
		r.faults.add(at, "give a unit of your own a code that is not one of ISO 4217",
			"currency %q looks like %s", code, strings.ToUpper(code))
	}
	r.currencies[code] = declared{digits, at}
}

// isCode reports whether s can be the code of a currency of one's own.
func isCode(s string) bool {
	const first = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return s != "" && len(s) <= 12 && strings.Trim(s, first+"0123456789") == "" &&
		strings.IndexByte(first, s[0]) >= 0
}

// knownCurrency returns the digits of a currency of ISO 4217 or of the catalog's own; after a fault
// false. All files must be read before.
func (r *catalogReader) knownCurrency(code string, at place) (digits int, ok bool) {
	if digits, ok = currencyDigits(code); ok {
		return digits, true
	}
	if own, ok := r.currencies[code]; ok {
		return own.digits, true
	}
	hint := "use a code of ISO 4217: EUR, USD, JPY, ..., or declare it: " +
		"currencies: [{code: TOK, digits: 6}]"
	codes := make([]string, 0, len(r.currencies))
	for c := range r.currencies {
		codes = append(codes, c)
	}
	slices.Sort(codes)
	if _, upper := currencyDigits(strings.ToUpper(code)); upper {
		hint = "write it in capitals: " + strings.ToUpper(code)
	} else if len(codes) > 0 {
		hint = "use a code of ISO 4217, or one that the catalog declares; " + known(code, codes)
	}
	r.faults.add(at, hint, "currency %q is not known", clip(code))
	return 0, false
}
