package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/fixtures"
)

// TestReplayRewritten lets DuckDB write the archive file with an event anew, with our metadata, and
// with one quantity or another column changed: both are named, and the exit code is 4.
func TestReplayRewritten(t *testing.T) {
	duckdb, err := fixtures.NewDuckDB()
	if errors.Is(err, fixtures.ErrNoDuckDB) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	twoMonths(t)
	path := fileWith(t, "copy", "3")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rewrite := func(columns string) {
		t.Helper()
		if err := os.WriteFile("before.parquet", data, 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := duckdb.Query(t.Context(), ".",
			"SELECT key::VARCHAR, value::VARCHAR FROM parquet_kv_metadata('before.parquet')")
		if err != nil {
			t.Fatal(err)
		}
		var pairs []string
		for _, row := range result[0].Rows {
			if strings.HasPrefix(row[0], "billctl.") {
				pairs = append(pairs, fmt.Sprintf("'%s': '%s'", row[0],
					strings.ReplaceAll(row[1], "'", "''")))
			}
		}
		_, err = duckdb.Query(t.Context(), ".", fmt.Sprintf("COPY (SELECT * %s FROM "+
			"'before.parquet') TO '%s' (FORMAT parquet, KV_METADATA {%s})", columns, path,
			strings.Join(pairs, ", ")))
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(code int, columns string, words ...string) {
		t.Helper()
		rewrite(columns)
		stdout, stderr := command(t, code, "replay", "copy")
		for _, want := range words {
			if !regexp.MustCompile(want).MatchString(stdout + stderr) {
				t.Errorf("%q: not %s:\n%s%s", columns, want, stdout, stderr)
			}
		}
	}
	file := regexp.QuoteMeta(path) + ": its rows are not those it was written with"
	expect(0, "", `verdict +consistent`)
	expect(exitDiffers, `REPLACE (CASE WHEN id_text = '3' THEN 113 ELSE "data.minutes" END `+
		`AS "data.minutes")`,
		`error: diverged: row \d+ of `+regexp.QuoteMeta(path)+`.*event 3 of type call at .* touches `+
			`account acme, subscription main, period 2026-04-01, line calls, line minutes`,
		`changed file +`+file, `verdict +diverged`)
	// No digest of a row has it, and no bill depends on it.
	expect(exitDiffers, `REPLACE ("offset" + 1 AS "offset")`, `error: diverged: `+file,
		`hint: restore that file from a copy`, `verdict +diverged`)
	stdout, _ := command(t, exitDiffers, "replay", "copy", "-o", "json")
	var answer replayAnswer
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Verdict != "diverged" || len(answer.Changed) != 1 || len(answer.Altered) != 0 ||
		!regexp.MustCompile(file).MatchString(answer.Changed[0]) {
		t.Error(stdout)
	}
}

// fileWith returns the archive file of a directory that holds an event.
func fileWith(t *testing.T, dir, id string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "0*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		entries, _ := readArchiveFile(t, path)
		for _, e := range entries {
			b, batch := e.Body.(*engine.Batch)
			for row := 0; batch && row < b.Len; row++ {
				if string(b.ID.At(row)) == id {
					return path
				}
			}
		}
	}
	t.Fatalf("no file of %s has event %s", dir, id)
	return ""
}
