package formats_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"billctl/fixtures"
	"billctl/formats"
)

// TestReportDuckDB: DuckDB reads the Parquet file and finds negative decimals by their value.
func TestReportDuckDB(t *testing.T) {
	duckdb, err := fixtures.NewDuckDB()
	if errors.Is(err, fixtures.ErrNoDuckDB) {
		t.Skip(err)
	}
	r := &formats.Report{
		Schema: "billctl.test.v1",
		Columns: []formats.ReportColumn{
			{Name: "plan", Kind: formats.ReportText}, {Name: "lines", Kind: formats.ReportWhole},
			{Name: "small", Kind: formats.ReportDecimal}, {Name: "wide", Kind: formats.ReportDecimal},
			{Name: "at", Kind: formats.ReportInstant},
		},
	}
	for i := range 1000 {
		cells := []string{
			"pro", fmt.Sprint(i), fmt.Sprintf("-%d.05", i), "0.5", "2026-04-01T00:00:00.000001Z",
		}
		if i == 500 {
			cells[0], cells[3] = "", "-12345678901234567890.125"
		}
		r.Rows = append(r.Rows, cells)
	}
	var b bytes.Buffer
	if err := formats.WriteReport(&b, "parquet", r); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.parquet"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := duckdb.Query(t.Context(), dir,
		"SELECT column_name, column_type FROM (DESCRIBE FROM 'r.parquet')",
		"SELECT plan, lines, small, wide, \"at\" FROM 'r.parquet' WHERE wide < 0",
		"SELECT count(*), sum(small) FROM 'r.parquet' WHERE small < -998",
	)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][][]string{
		{
			{"plan", "VARCHAR"}, {"lines", "BIGINT"}, {"small", "DECIMAL(18,2)"},
			{"wide", "DECIMAL(38,3)"}, {"at", "TIMESTAMP WITH TIME ZONE"},
		},
		{{
			fixtures.DuckDBNull, "500", "-500.05", "-12345678901234567890.125",
			"2026-04-01 00:00:00.000001+00",
		}},
		{{"2", "-1997.10"}},
	} {
		if !reflect.DeepEqual(got[i].Rows, want) {
			t.Errorf("statement %d: %q, want %q", i, got[i].Rows, want)
		}
	}
}
