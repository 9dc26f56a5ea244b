package decimal_test

import (
	"fmt"

	"billctl/engine/decimal"
)

// A total of usage, priced for seven days of a month of 31, and rounded once.
func Example() {
	var used decimal.Sum
	for _, text := range []string{"512", "0.125", "1.5e3"} {
		d, err := decimal.Parse(text)
		if err != nil {
			fmt.Println(err)
			return
		}
		used.Add(d)
	}
	price, err := decimal.Parse("0.0725")
	if err != nil {
		fmt.Println(err)
		return
	}
	exact := used.Rat().Mul(price.Rat()).Mul(decimal.Ratio(7, 31))
	fmt.Println(used, exact, exact.Round(2, decimal.HalfEven).Text(2))
	// Output: 2012.125 3267691/99200 32.94
}

// A hundred cents do not divide by three, and the odd one goes to the first part.
func ExampleAmount_Spread() {
	equal := decimal.AmountOf(1)
	for _, part := range decimal.AmountOf(100).Spread([]decimal.Amount{equal, equal, equal}) {
		fmt.Println(part.Text(2))
	}
	// Output:
	// 0.34
	// 0.33
	// 0.33
}
