package formats

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"

	"billctl/engine"
)

// usageRow is a usage event as a peer reads it.
type usageRow struct {
	ID       [16]byte `parquet:"id,uuid"`
	Account  string   `parquet:"account,dict"`
	Meter    string   `parquet:"meter,dict"`
	Time     int64    `parquet:"time,timestamp(microsecond),delta"`
	Quantity int64    `parquet:"quantity,dict"`
	Note     string   `parquet:"note,optional"`
}

func usageFile(b *testing.B, rows int) []byte {
	b.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[usageRow](&buf, parquet.Compression(&parquet.Zstd))
	for i := range rows {
		row := usageRow{Account: fmt.Sprintf("account-%06d", r.IntN(20_000)),
			Meter: fmt.Sprintf("meter-%d", r.IntN(12)), Quantity: r.Int64N(5000),
			Time: 1_760_000_000_000_000 + int64(i)*1000 + r.Int64N(900)}
		binary.LittleEndian.PutUint64(row.ID[:], r.Uint64())
		binary.LittleEndian.PutUint64(row.ID[8:], r.Uint64())
		if i%10 == 0 {
			row.Note = "late"
		}
		if _, err := w.Write([]usageRow{row}); err != nil {
			b.Fatal(err)
		}
		if i%500_000 == 499_999 {
			if err := w.Flush(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

// BenchmarkParquetRead reads the same file in columns, and as parquet-go's GenericReader does.
func BenchmarkParquetRead(b *testing.B) {
	const rows = 1_000_000
	data := usageFile(b, rows)
	report := func(b *testing.B) {
		b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		b.ReportMetric(float64(len(data))/rows, "file-B/row")
	}
	b.Run("columns", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := openParquet("bench", bytes.NewReader(data), int64(len(data)))
			if err != nil {
				b.Fatal(err)
			}
			if err := f.read([]int{0, 1, 2, 3, 4, 5}); err != nil {
				b.Fatal(err)
			}
			got := 0
			for {
				r, err := f.next(engine.MaxRows)
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				got += r.rows
			}
			if got != rows {
				b.Fatalf("%d rows", got)
			}
			if err := f.close(); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
	b.Run("GenericReader", func(b *testing.B) {
		b.ReportAllocs()
		batch := make([]usageRow, 1024)
		for b.Loop() {
			in := parquet.NewGenericReader[usageRow](bytes.NewReader(data))
			got := 0
			for {
				n, err := in.Read(batch)
				got += n
				if err == io.EOF {
					break
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			if got != rows {
				b.Fatalf("%d rows", got)
			}
			if err := in.Close(); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
}
