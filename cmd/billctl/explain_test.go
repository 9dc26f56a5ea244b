package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"billctl/fixtures"
)

// TestExplainDemo explains every invoice of the demo's catalog, over some of its usage, in one
// replay: every line reconciles, and they sum up to what the invoices say.
func TestExplainDemo(t *testing.T) {
	dir := t.TempDir()
	u := fixtures.NewUsage(fixtures.UsageConfig{Seed: 7, Events: 4000, Accounts: 20})
	var usage bytes.Buffer
	_, err := u.WriteNDJSON(&usage)
	err = errors.Join(err,
		os.CopyFS(filepath.Join(dir, "catalog"), fixtures.Catalog()),
		write(filepath.Join(dir, "catalog", "accounts.yaml"), fixtures.AccountsYAML(u.Accounts())),
		write(filepath.Join(dir, "usage", "u.ndjson"), usage.Bytes()),
		write(filepath.Join(dir, "billctl.yaml"),
			[]byte("sources:\n  - {name: usage, tail: \"usage/*.ndjson\"}\n")))
	if err != nil {
		t.Fatal(err)
	}
	bill := func(args ...string) []byte {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append(args, "--config", filepath.Join(dir, "billctl.yaml"))
		if code := Main(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != 0 {
			t.Fatalf("billctl %s: exit code %d: %s", args[0], code, stderr.String())
		}
		return stdout.Bytes()
	}
	bill("catalog", "apply", filepath.Join(dir, "catalog"))
	bill("run", "--until-eof", "--close-at", demoClose)
	var list struct{ Invoices []struct{ Key, Total string } }
	err = json.Unmarshal(bill("query", "invoices", "--limit", "10000", "-o", "json"), &list)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"explain", "-o", "json", "--limit", "1"}
	for _, inv := range list.Invoices {
		args = append(args, inv.Key)
	}
	var a explainAnswer
	if err := json.Unmarshal(bill(args...), &a); err != nil {
		t.Fatal(err)
	}
	lines, events := 0, uint64(0)
	for i := range a.Documents {
		d := &a.Documents[i]
		if want := list.Invoices[i]; d.Key != want.Key || d.Total != want.Total || !d.Outbox {
			t.Errorf("document %d is %s of %s, want %s of %s", i, d.Key, d.Total, want.Key, want.Total)
		}
		for j := range d.Lines {
			l := &d.Lines[j]
			lines++
			events += l.Count
			if !l.Reconciles || len(l.Steps) == 0 || l.Count > 0 && len(l.Events) != 1 {
				t.Errorf("%s#%s: %+v", d.Key, l.Line, l)
			}
		}
	}
	if len(a.Documents) != len(list.Invoices) || events == 0 {
		t.Errorf("%d documents of %d, %d events", len(a.Documents), len(list.Invoices), events)
	}
	t.Logf("%d documents, %d lines, %d events", len(a.Documents), lines, events)
}
