package live

import (
	"fmt"
	"strings"
	"testing"
)

// TestCompareTerms finds a difference in what only some documents have: coupons and taxes, and says
// of which.
func TestCompareTerms(t *testing.T) {
	const doc = `{"account":"a","subscription":"s","period":{"start":"t","start_date":"d"},
		"lines":[{"price":"p","from":"t","amount":"9.00","coupons":[{"id":"launch","percent":"10"}]}],
		"coupons":[{"id":"gift","amount":"1.00"}],"credits":[{"id":"w","amount":"2.00"}],
		"taxes":[{"code":"","percent":"19","base":"6.00","amount":"1.14"},
			{"code":"books","percent":"7","base":"0.00","amount":"0.00"}],"total":"7.14"}`
	for _, c := range []struct{ old, new, want string }{
		{`"id":"launch"`, `"id":"lunch"`, "line p coupons: [{\"id\":\"launch\",\"percent\":\"10\"}] " +
			"[{\"id\":\"lunch\",\"percent\":\"10\"}]"},
		{`"gift","amount":"1.00"`, `"gift","amount":"1.10"`, "coupon gift amount: 1.00 1.10"},
		{`{"id":"gift","amount":"1.00"}`, ``, "coupon gift :  "},
		{`"amount":"2.00"`, `"amount":"2.20"`, "credit w amount: 2.00 2.20"},
		{`"base":"6.00"`, `"base":"6.60"`, "tax 19 % base: 6.00 6.60"},
		{`"percent":"7"`, `"percent":"8"`, "tax books 7 % :  "},
	} {
		changed := strings.Replace(doc, c.old, c.new, 1)
		if changed == doc {
			t.Fatalf("%s is not there", c.old)
		}
		d := compareDocuments([]byte(doc), []byte(changed))
		got := fmt.Sprintf("%s %s %s: %s %s", d.Part, d.Line, d.Member, d.Here.Value, d.There.Value)
		if got != c.want {
			t.Errorf("difference is %s, want %s", got, c.want)
		}
	}
}
