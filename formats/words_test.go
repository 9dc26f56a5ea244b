package formats_test

import (
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// TestPriceText describes a price of every model, and all that changes one.
func TestPriceText(t *testing.T) {
	d := func(s string) decimal.Decimal {
		v, err := decimal.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	at := func(s string) *decimal.Decimal { v := d(s); return &v }
	tiers := []engine.Tier{
		{UpTo: d("100"), Unit: d("0.5"), Flat: d("3"), Size: d("10"), Amount: d("4")},
		{Last: true, Unit: d("0.25"), Size: d("20"), Amount: d("5")},
	}
	for _, tt := range []struct {
		price engine.Price
		want  string
	}{
		{engine.Price{Model: engine.Flat, Amount: d("29")}, "29 in arrears"},
		{engine.Price{Model: engine.Flat, Amount: d("29"), Advance: true, Prorate: true},
			"29 in advance; prorated by days"},
		{engine.Price{Model: engine.Unit, Unit: d("0.002")}, "0.002 each"},
		{engine.Price{Model: engine.Unit, Matrix: &engine.Matrix{
			Dims: []string{"model", "region"}, Rows: make([]engine.MatrixRow, 2),
		}}, "2 prices by model, region"},
		{engine.Price{Model: engine.Graduated, Tiers: tiers}, "up to 100 at 0.5 and 3, then at 0.25"},
		{engine.Price{Model: engine.Volume, Tiers: tiers[1:]}, "at 0.25"},
		{engine.Price{Model: engine.GraduatedPercentage, Tiers: tiers},
			"up to 100 0.5 % and 3, then 0.25 %"},
		{engine.Price{Model: engine.Stairstep, Tiers: tiers}, "up to 100 3, then 0"},
		{engine.Price{Model: engine.Package, Amount: d("5"), Size: d("1000")},
			"5 for each 1000 begun"},
		{engine.Price{Model: engine.Package, Tiers: []engine.Tier{
			{UpTo: d("100"), Size: d("10"), Amount: d("4")}, {Last: true, Size: d("20"), Amount: d("5")},
		}}, "up to 100 4 for each 10 begun, then 5 for each 20 begun"},
		{engine.Price{Model: engine.Dynamic, Multiplier: d("1")}, "the amounts of the events"},
		{engine.Price{Model: engine.Dynamic, Multiplier: d("1.2")}, "the amounts of the events * 1.2"},
		{engine.Price{
			Model: engine.Percentage, Rate: d("1.5"), Fixed: d("0.1"), MinEach: at("0.2"),
			MaxEach: at("9"), FreeEvents: 1, FreeAmount: d("50"),
		}, "1.5 % and 0.1 for each event; at least 0.2 for an event; at most 9 for an event; " +
			"1 event free; the first 50 free"},
		{engine.Price{
			Model: engine.Unit, Unit: d("2"), Free: d("7"), Discount: d("10"), Off: d("1"),
			Convert: &engine.Convert{Multiply: d("1"), Divide: d("1000"), Round: engine.RoundUp},
			Match:   []engine.Match{{Dim: "model", Values: []string{"a", "b"}}}, Per: []string{"region"},
			Commitment: &engine.Commitment{Amount: d("100"), Overage: d("1.5")},
			Minimum:    at("5"), Maximum: at("500"), ZeroFree: true, TaxCode: "saas",
		}, "2 each; quantity * 1 / 1000 rounded up; the first 7 are free; where model is a or b; " +
			"per region; discount 10 %; discount 1; commitment 100, beyond it * 1.5; minimum 5; " +
			"maximum 500; nothing without usage; tax code saas"},
	} {
		if got := formats.PriceText(&tt.price); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", formats.ModelWord(tt.price.Model), got, tt.want)
		}
	}
}
