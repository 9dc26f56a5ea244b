package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"billctl/engine/decimal"
	"billctl/fixtures"
)

// queriesPage is the page whose SQL is run, and events its usage.
const (
	queriesPage   = "../../docs/archive-queries.md"
	queriesEvents = 6000
	mixedIDs      = "Ids of two kinds" // its block needs another archive
)

// queriesRates have no row that SQL would count and billctl would not, but those that this test is
// about: repeated ids, malformed lines, values beside their column, types that nobody counts.
var queriesRates = fixtures.Rates{
	DuplicateNear: 20_000, DuplicateFar: 10_000, Conflict: 1500, Malformed: 4000,
	Unmatched: 2000, BadValue: 1000, Overflow: 1000,
}

// TestArchiveQueries bills usage, writes the archive and runs every block of SQL of the page over
// it. Each gives rows, and what is known otherwise comes out.
func TestArchiveQueries(t *testing.T) {
	q := newQueries(t)
	var statements []string
	for i := range q.blocks {
		if b := &q.blocks[i]; b.heading != mixedIDs {
			statements = append(statements, b.sql)
		}
	}
	results, err := q.duckdb.Query(t.Context(), q.dir, statements...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range q.blocks {
		b := &q.blocks[i]
		if b.heading == mixedIDs {
			continue // testMixed runs it
		}
		b.Result, results = results[0], results[1:]
		if b.heading != "Begin" && len(b.Rows) == 0 {
			t.Errorf("%s: no row from\n%s", b.heading, b.sql)
		}
	}
	t.Run("rows", q.testRows)
	t.Run("sums", q.testSums)
	t.Run("ids", q.testIDs)
	t.Run("lines", q.testLines)
	t.Run("control", q.testControl)
	t.Run("mixed", q.testMixed)
}

// queries are the blocks of the page with what they gave over an archive in dir.
type queries struct {
	duckdb *fixtures.DuckDB
	dir    string // has the directory archive
	usage  []byte // of which the archive is
	truth  *fixtures.Truth
	run    *killRun
	blocks []queryBlock
}

type queryBlock struct {
	heading, sql string
	fixtures.Result
}

func newQueries(t *testing.T) *queries {
	d, err := fixtures.NewDuckDB()
	if errors.Is(err, fixtures.ErrNoDuckDB) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	q := &queries{duckdb: d, blocks: blocksOf(t, queriesPage)}
	h := &killHouse{bench: &killBench{binary: killBinary(t)}, dir: t.TempDir()}
	usage := fixtures.NewUsage(fixtures.UsageConfig{
		Seed: 1, Events: queriesEvents, Accounts: 60, Rates: &queriesRates,
	})
	if err := os.CopyFS(filepath.Join(h.dir, "catalog"), fixtures.Catalog()); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	if h.truth, err = usage.WriteNDJSON(&all); err != nil {
		t.Fatal(err)
	}
	q.usage, q.truth = all.Bytes(), &h.truth
	accounts := fixtures.AccountsYAML(usage.Accounts())
	if err := write(filepath.Join(h.dir, "catalog", "accounts.yaml"), accounts); err != nil {
		t.Fatal(err)
	}
	q.run = h.begin(t, "archived")
	q.dir = q.run.dir
	// April begins in the first run, so that the archive has two files with events.
	part := bytes.LastIndexByte(q.usage[:len(q.usage)*2/3], '\n') + 1
	if err := write(filepath.Join(h.dir, "usage.ndjson"), q.usage[:part]); err != nil {
		t.Fatal(err)
	}
	q.run.must(t, "run", "--until-eof")
	if err := write(filepath.Join(h.dir, "usage.ndjson"), q.usage); err != nil {
		t.Fatal(err)
	}
	q.run.run(t)
	q.run.must(t, "archive", "write", "archive")
	return q
}

// testRows compares what the archive holds with what was written.
func (q *queries) testRows(t *testing.T) {
	malformed := q.truth.Count("malformed")
	kinds := q.block(t, "min(\"at\") AS first_at")
	for kind, want := range map[string]int64{
		"event": q.truth.Lines - malformed, "malformed": malformed, "genesis": 1,
	} {
		if got := kinds.sum("rows", "kind", kind); got != strconv.FormatInt(want, 10) {
			t.Errorf("%s rows of %s, want %d", got, kind, want)
		}
	}
	files := q.block(t, "parquet_kv_metadata")
	if len(files.Rows) < 2 {
		t.Errorf("the archive has %d files", len(files.Rows))
	}
	for column, want := range map[string]int64{"rows": q.truth.Lines, "malformed": malformed} {
		if got := files.sum(column, "", ""); got != strconv.FormatInt(want, 10) {
			t.Errorf("the files say that they have %s %s, want %d", got, column, want)
		}
	}
	gaps := q.block(t, "missing_before")
	if b, w := gaps.sum("missing_before", "", ""), gaps.sum("missing_within", "", ""); b+w != "00" {
		t.Errorf("missing positions: %v", gaps.Rows)
	}
	lost := q.ask(t, strings.Replace(gaps.sql, "kind <> 'position'",
		"kind <> 'position' AND seq NOT IN (1, 100, 101)", 1))
	if b, w := lost.sum("missing_before", "", ""), lost.sum("missing_within", "", ""); b+w != "12" {
		t.Errorf("with three positions gone: %v", lost.Rows)
	}
}

// testSums compares sums to the last digit.
func (q *queries) testSums(t *testing.T) {
	jobs, rows := q.want("", "job_minutes")
	minutes := q.block(t, "typeof(any_value")
	if got := minutes.sum("minutes", "", ""); got != jobs {
		t.Errorf("jobs have %s minutes, want %s", got, jobs)
	}
	if got := minutes.sum("jobs", "", ""); got != strconv.FormatInt(rows, 10) {
		t.Errorf("%s jobs, want %d", got, rows)
	}
	if got := minutes.cell(0, "type"); !strings.HasPrefix(got, "DECIMAL(") {
		t.Errorf("minutes are %s", got)
	}
	account := q.block(t, "'acct_0001-prod'")
	want, _ := q.want("acct_0001", "job_minutes")
	if got := account.sum("minutes", "type", "job.run"); got != want || want == "0" {
		t.Errorf("acct_0001 has %s minutes, want %s", got, want)
	}
	days := q.block(t, "\"data.model\" = 'large'")
	if len(days.Rows) != 61 || days.cell(0, "day") != "2026-03-01" {
		t.Errorf("a model has %d days from %s on", len(days.Rows), days.cell(0, "day"))
	}
	rest := q.block(t, "json_each")
	if got := rest.sum("rows", "property", "data.status"); got == "0" {
		t.Error("no status stands in rest")
	}
}

// testIDs compares repeated ids.
func (q *queries) testIDs(t *testing.T) {
	repeated := q.truth.Count("duplicate") + q.truth.Count("conflict")
	counts := q.ask(t, "SELECT (SELECT count(*) FROM archive WHERE kind = 'event') - "+
		"(SELECT count(*) FROM events) AS repeated")
	if got := counts.cell(0, "repeated"); got != strconv.FormatInt(repeated, 10) || repeated == 0 {
		t.Errorf("%s rows are left out as repeated, want %d", got, repeated)
	}
	top := q.block(t, "count(DISTINCT digest)")
	ids := q.ask(t, strings.Replace(top.sql, " LIMIT 20", "", 1))
	conflicts := 0
	for i := range ids.Rows {
		if n, err := strconv.Atoi(ids.cell(i, "contents")); err == nil {
			conflicts += n - 1
		}
	}
	if int64(conflicts) != q.truth.Count("conflict") || conflicts == 0 {
		t.Errorf("%d conflicts, want %d", conflicts, q.truth.Count("conflict"))
	}
	if len(q.block(t, "WHERE id =").Rows) < 2 {
		t.Errorf("the event whose rows are asked for has one at most: take a repeated id: %v",
			ids.Rows[len(ids.Rows)-1])
	}
}

// testLines finds every malformed line at its place in the input.
func (q *queries) testLines(t *testing.T) {
	lines := q.block(t, "TRY(decode(raw))")
	if got := int64(len(lines.Rows)); got != min(q.truth.Count("malformed"), 100) {
		t.Errorf("%d lines, want %d", got, q.truth.Count("malformed"))
	}
	same := 0
	for i := range lines.Rows {
		at, err := strconv.Atoi(lines.cell(i, "offset"))
		if err != nil || at >= len(q.usage) {
			t.Fatalf("a line begins at %s", lines.cell(i, "offset"))
		}
		want, _, _ := bytes.Cut(q.usage[at:], []byte("\n"))
		switch got := lines.cell(i, "line"); {
		case got == string(want):
			same++
		case !strings.Contains(got, `\x`):
			t.Errorf("at %d is %q, want %q", at, got, want)
		}
		if lines.cell(i, "fault") == fixtures.DuckDBNull {
			t.Errorf("the line at %d has no fault", at)
		}
	}
	if same == 0 || same == len(lines.Rows) {
		t.Errorf("of %d lines %d are text", len(lines.Rows), same)
	}
}

// testControl compares what the bytes of control entries were taken for.
func (q *queries) testControl(t *testing.T) {
	marks := q.block(t, "last_instant(control)")
	got := make([]string, len(marks.Rows))
	for i := range marks.Rows {
		got[i] = marks.cell(i, "watermark")
	}
	// All input was read: the disorder before the greatest time of an event.
	want := q.ask(t, "SELECT max(time) - INTERVAL 2 MINUTES AS w FROM archive").cell(0, "w")
	if !slices.IsSorted(got) || len(got) < 2 || got[len(got)-1] != want {
		t.Errorf("watermarks %q, want them to rise to %s", got, want)
	}
	seals := q.block(t, "AS billing")
	audit := q.run.replay(t, 1, 0)
	last := len(seals.Rows) - 1
	if len(seals.Rows) != audit.Seals || seals.cell(last, "billing") != audit.Billing {
		t.Errorf("seals %v, want %d up to %s", seals.Rows, audit.Seals, audit.Billing)
	}
	head := q.ask(t, "SELECT arg_min(decode(value), file_name) AS head "+
		"FROM parquet_kv_metadata('archive/0*.parquet') WHERE decode(key) = 'billctl.head'")
	next := slices.IndexFunc(seals.Rows, func(row []string) bool {
		return row[slices.Index(seals.Columns, "before")] == head.cell(0, "head")
	})
	if next < 1 {
		t.Errorf("no seal comes behind the first file, which ends with %v: %v", head.Rows, seals.Rows)
	}
	if before := seals.cell(0, "before"); before != strings.Repeat("0", 64) {
		t.Errorf("before the first seal is %s", before)
	}
}

// testMixed has ids that are no UUIDs in one file, and a property that the first one lacks.
func (q *queries) testMixed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(q.dir, "archive", "0*.parquet"))
	if err != nil || len(files) < 2 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "archive"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i != 1 {
			if err := write(filepath.Join(dir, "archive", filepath.Base(file)), data); err != nil {
				t.Fatal(err)
			}
			continue
		}
		_, err = q.duckdb.Query(t.Context(), dir, fmt.Sprintf("COPY (SELECT * REPLACE "+
			"(NULL::UUID AS id, 'row-' || id AS id_text), seq AS \"data.later\" FROM '%s') "+
			"TO 'archive/%s'", file, filepath.Base(file)))
		if err != nil {
			t.Fatal(err)
		}
	}
	later, err := q.duckdb.Query(t.Context(), dir, q.blocks[0].sql,
		`SELECT count("data.later") > 0, count("data.later") < count(*) FROM archive`)
	if err != nil {
		t.Fatal(err)
	}
	if row := later[1].Rows[0]; row[0] != "true" || row[1] != "true" {
		t.Errorf("a property of one file: %v", row)
	}
	all := "SELECT count(*) AS rows, count(*) FILTER (id LIKE 'row-%') > 0 AS texts, " +
		"count(*) FILTER (id NOT LIKE 'row-%') > 0 AS uuids FROM archive"
	got, err := q.duckdb.Query(t.Context(), dir, q.blocks[0].sql, all)
	if err != nil {
		t.Fatal(err)
	}
	want := q.ask(t, "SELECT count(*) AS rows FROM archive").cell(0, "rows")
	if row := got[1].Rows[0]; row[0] != want || row[1] != "true" || row[2] != "true" {
		t.Errorf("%v rows with ids of both kinds, want %s", row, want)
	}
}

// block returns the one block with a text.
func (q *queries) block(t *testing.T, text string) *queryBlock {
	t.Helper()
	var found *queryBlock
	for i := range q.blocks {
		if b := &q.blocks[i]; strings.Contains(b.sql, text) {
			if found != nil {
				t.Fatalf("two blocks have %q", text)
			}
			found = b
		}
	}
	if found == nil {
		t.Fatalf("no block has %q", text)
	}
	return found
}

// ask runs a statement behind the first block.
func (q *queries) ask(t *testing.T, sql string) *queryBlock {
	t.Helper()
	results, err := q.duckdb.Query(t.Context(), q.dir, q.blocks[0].sql, sql)
	if err != nil {
		t.Fatal(err)
	}
	return &queryBlock{sql: sql, Result: results[1]}
}

// want returns the usage of a meter, of all accounts if none is named, and its rows.
func (q *queries) want(account, meter string) (value string, rows int64) {
	var sum decimal.Sum
	for i := range q.truth.Usage {
		if u := &q.truth.Usage[i]; u.Meter == meter && (account == "" || u.Account == account) {
			sum.AddSum(u.Value)
			rows += u.Rows
		}
	}
	return sum.String(), rows
}

func (b *queryBlock) cell(row int, column string) string {
	i := slices.Index(b.Columns, column)
	if i < 0 || row < 0 || row >= len(b.Rows) {
		return "no " + column
	}
	return b.Rows[row][i]
}

// sum adds a column up, where another column has a value; NULL is 0. The text is as short as it can
// be.
func (b *queryBlock) sum(column, where, is string) string {
	var sum decimal.Sum
	for i := range b.Rows {
		cell := b.cell(i, column)
		if cell == fixtures.DuckDBNull || where != "" && b.cell(i, where) != is {
			continue
		}
		d, err := decimal.Parse(cell)
		if err != nil {
			return cell + ": " + err.Error()
		}
		sum.Add(d)
	}
	return sum.String()
}

// blocksOf returns the blocks of SQL of a page. In front of each stands what it answers.
func blocksOf(t *testing.T, page string) (out []queryBlock) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	heading, before := "", ""
	block := regexp.MustCompile("(?ms)^## (.*?)$|^```(\\w*)\n(.*?)^```$|^(\\S[^\n]*)$")
	for _, m := range block.FindAllStringSubmatch(string(text), -1) {
		switch {
		case m[1] != "":
			heading, before = m[1], ""
		case m[2] == "sql":
			if before == "" {
				t.Errorf("%s: nothing says what this answers:\n%s", heading, m[3])
			}
			out, before = append(out, queryBlock{heading: heading, sql: m[3]}), ""
		case m[4] != "":
			before = m[4]
		}
	}
	if len(out) < 10 {
		t.Fatalf("%s has %d blocks of SQL", page, len(out))
	}
	return out
}
