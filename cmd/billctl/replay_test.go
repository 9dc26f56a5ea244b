package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"billctl/engine"
	"billctl/engine/decimal"
	"billctl/formats"
)

// command runs billctl in this process and returns what it prints; it must exit with the code.
func command(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, words strings.Builder
	if got := Main(t.Context(), args, strings.NewReader(""), &out, &words); got != code {
		t.Fatalf("billctl %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code,
			out.String(), words.String())
	}
	return out.String(), words.String()
}

// twoMonths makes a shop here with usage of March and April, two runs each, and a copy of its
// archive, in the directory copy.
func twoMonths(t *testing.T) {
	t.Helper()
	shop, err := filepath.Abs("testdata/shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	err = os.CopyFS(".", os.DirFS(shop))
	if err == nil {
		err = os.Mkdir("usage", 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	command(t, 0, "catalog", "apply")
	for i, run := range []struct{ month, closeAt string }{
		{"03", "2026-03-01"}, {"03", "2026-03-01"}, {"04", "2026-04-02"}, {"04", "2026-05-02"},
	} {
		line := fmt.Sprintf(`{"specversion":"1.0","id":"%d","source":"s","type":"call","subject":"acme",`+
			`"time":"2026-%s-1%dT12:00:00Z","data":{"minutes":%d}}`+"\n", i, run.month, i, 10+i)
		if err := os.WriteFile(fmt.Sprintf("usage/%d.ndjson", i), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		command(t, 0, "run", "--until-eof", "--close-at", run.closeAt)
	}
	command(t, 0, "archive", "write", "copy")
}

// alterMinutes changes the minutes of an event in the archive files of a directory, and nothing
// else of its row, and returns the file.
// seal also computes the row digests anew, as who knows the format would.
func alterMinutes(t *testing.T, dir, id string, minutes int64, seal bool) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "0*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		entries, info := readArchiveFile(t, path)
		if !alterEntries(entries, id, minutes) {
			continue
		}
		for _, e := range entries {
			if b, ok := e.Body.(*engine.Batch); ok && seal {
				b.Digest = formats.RowDigests(b, nil)
			}
		}
		writeArchiveFile(t, path, entries, info)
		return path
	}
	t.Fatalf("no file of %s has event %s", dir, id)
	return ""
}

func alterEntries(entries []*engine.Entry, id string, minutes int64) (found bool) {
	for _, e := range entries {
		b, ok := e.Body.(*engine.Batch)
		for row := 0; ok && row < b.Len; row++ {
			if string(b.ID.At(row)) == id {
				b.Props[0].Numbers[row] = decimal.FromInt(minutes)
				found = true
			}
		}
	}
	return found
}

func writeArchiveFile(
	t *testing.T, path string, entries []*engine.Entry, info formats.ArchiveInfo,
) {
	t.Helper()
	var b bytes.Buffer
	g := engine.Genesis{Journal: info.Journal, Partition: info.Partition}
	_, err := formats.WriteArchive(&b, g, func(yield func(*engine.Entry) error) error {
		for _, e := range entries {
			if err := yield(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = os.WriteFile(path, b.Bytes(), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readArchiveFile(t *testing.T, path string) ([]*engine.Entry, formats.ArchiveInfo) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := formats.OpenArchive(path, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // read only
	var entries []*engine.Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, r.Info()
		}
		if err == nil {
			e, err = engine.DecodeEntry(engine.AppendEntry(nil, e))
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
}

// TestReplayAltered changes one quantity in an archive file: the answer is an exit code of 4 that
// names file, row, event, account, period and line, and what the invoice has.
func TestReplayAltered(t *testing.T) {
	twoMonths(t)
	path := alterMinutes(t, "copy", "3", 113, false)
	stdout, stderr := command(t, exitDiffers, "replay", "copy", "--against", "invoices")
	for _, want := range []string{
		`error: diverged: row \d+ of ` + path + ` \(row group 0\) was changed after it was journaled: ` +
			`event 3 of type call at 2026-04-13T12:00:00Z touches account acme, subscription main, ` +
			`period 2026-04-01, line calls, line minutes; `,
		`account acme, subscription main, period 2026-04-01, line minutes: invoices has 0.50 ` +
			`\(quantity 25, exact 0.5\), the archive gives 2.50 \(quantity 125, exact 2.5\)`,
		`hint: restore that file from a copy`,
	} {
		if !regexp.MustCompile(want).MatchString(stderr) {
			t.Errorf("stderr says not %s:\n%s", want, stderr)
		}
	}
	if !strings.Contains(stdout, "changed row") ||
		!strings.Contains(stdout, "verdict         diverged") {
		t.Errorf("stdout:\n%s", stdout)
	}
	stdout, _ = command(t, exitDiffers, "replay", "copy", "-o", "json", "--against", "state")
	var answer replayAnswer
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		t.Fatal(err)
	}
	a := answer.Altered
	if answer.Verdict != "diverged" ||
		!strings.HasPrefix(answer.Diverged, "billing digest at mark ") ||
		len(a) != 1 || a[0].File != path || a[0].ID != "3" || len(a[0].Touches) != 2 ||
		a[0].Touches[1] != (replayTouch{"acme", "main", "2026-04-01", "minutes"}) ||
		answer.Against.First.Line != "minutes" || answer.Against.First.There.Amount != "0.50" {
		t.Errorf("%s", stdout)
	}
	command(t, 0, "replay", "copy", "--period", "2026-03")
	// Whatever is compared needs the whole history.
	command(t, exitDiffers, "replay", "copy", "--period", "2026-03", "--against", "invoices")
}

// TestReplayTrimmed alters an archive file of a state whose journal does not hold it any more, so
// that the outbox differs.
func TestReplayTrimmed(t *testing.T) {
	twoMonths(t)
	segments, err := filepath.Glob("state/journal/*.jnl")
	if err != nil || len(segments) < 3 {
		t.Fatalf("segments %q: %v", segments, err)
	}
	slices.Sort(segments)
	for _, path := range segments[:2] {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	stdout, _ := command(t, 0, "replay")
	if !strings.Contains(stdout, "consistent") {
		t.Error(stdout)
	}
	alterMinutes(t, "state/archive", "0", 999, false)
	_, stderr := command(t, exitDiffers, "replay")
	for _, want := range []string{
		"error: diverged: row ", "touches account acme, subscription main, period 2026-03-01, line calls",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr says not %q:\n%s", want, stderr)
		}
	}
	_, stderr = command(t, exitDiffers, "replay", "--against", "state")
	want := "account acme, subscription main, period 2026-03-01, line minutes: state has 0.42"
	if !strings.Contains(stderr, want) {
		t.Errorf("stderr says not %q:\n%s", want, stderr)
	}
}

// TestReplayForged changes a quantity and its digest: the seal says that something is wrong, and
// the comparison with what was delivered says where.
func TestReplayForged(t *testing.T) {
	twoMonths(t)
	alterMinutes(t, "copy", "3", 113, true)
	_, stderr := command(t, exitDiffers, "replay", "copy")
	if !strings.Contains(stderr, "error: diverged: billing digest at mark ") ||
		!strings.Contains(stderr, "hint: the first invoice and line that differ are named by: --a") {
		t.Error(stderr)
	}
	_, stderr = command(t, exitDiffers, "replay", "copy", "--against", "invoices")
	want := "period 2026-04-01, line minutes: invoices has 0.50 (quantity 25, exact 0.5), the " +
		"archive gives 2.50 (quantity 125, exact 2.5)\n"
	if !strings.Contains(stderr, want) {
		t.Error(stderr)
	}
}

// TestReplayUnsealed takes the seals out of archive files: then a replay claims nothing.
func TestReplayUnsealed(t *testing.T) {
	twoMonths(t)
	list, err := filepath.Glob("copy/0*.parquet")
	if err != nil || len(list) < 2 {
		t.Fatalf("%q: %v", list, err)
	}
	for _, path := range list {
		entries, info := readArchiveFile(t, path)
		for _, e := range entries {
			if _, seal := e.Body.(*engine.Seal); seal {
				e.Body = &engine.Mark{}
			}
		}
		writeArchiveFile(t, path, entries, info)
	}
	stdout, _ := command(t, 0, "replay", "copy")
	if !strings.Contains(stdout, "verdict         unsealed: no seal is there, so nothing could be") {
		t.Error(stdout)
	}
	stdout, stderr := command(t, exitArchive, "replay", "copy", "--period", "2026-04")
	if !strings.Contains(stdout, "verdict         unconfirmed") ||
		!strings.Contains(stdout, "(month 2026-04), which no seal confirms") ||
		!strings.Contains(stderr, "no seal behind it speaks of its position") {
		t.Error(stdout, stderr)
	}
}
