package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// archive writes the history as Parquet.
func (d *demo) archive() error {
	d.tell("The history as Parquet, for an auditor. It holds everything that the bills are made of.")
	if err := d.do(10, "archive", "write", "audit"); err != nil {
		return err
	}
	return d.do(20, "archive", "ls", "audit")
}

// audit proves April from a copy of the archive, where there is nothing else.
func (d *demo) audit() error {
	d.tell("On an auditor's machine: a copy of the archive, no state, no configuration, no catalog.")
	desk := filepath.Join(d.dir, "auditor")
	if err := os.Mkdir(desk, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	from := os.DirFS(filepath.Join(d.dir, "audit"))
	if err := os.CopyFS(filepath.Join(desk, "audit"), from); err != nil {
		return fmt.Errorf("copy archive: %w", err)
	}
	there := &demo{s: d.s, binary: d.binary, dir: desk}
	if err := there.do(20, "replay", "audit", "--against", "../invoices"); err != nil {
		return err
	}
	d.tell("April alone, from the state at its beginning, which a seal confirms.")
	return there.do(20, "replay", "audit", "--period", "2026-04", "--emit", "invoices")
}

// explain shows where an amount comes from.
func (d *demo) explain() error {
	d.tell("Where an amount comes from: the events behind a line, added up again.")
	return d.do(16, "explain", d.account()+"/main/2026-04-01/period#output", "--limit", "3")
}

// whatIf doubles one price.
func (d *demo) whatIf() error {
	d.tell("What would have been billed if output tokens of plan payg had cost twice as much?")
	from, to := filepath.Join(d.dir, "catalog"), filepath.Join(d.dir, "dearer")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy catalog: %w", err)
	}
	name := filepath.Join(to, "payg.yaml")
	plan, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	old := []byte(`meter: tokens_out, model: unit, unit: "0.0015"`)
	if !bytes.Contains(plan, old) {
		return errors.New("change the demo's catalog: plan payg has no such price")
	}
	dearer := bytes.ReplaceAll(plan, old, []byte(`meter: tokens_out, model: unit, unit: "0.0030"`))
	if err := os.WriteFile(name, dearer, 0o644); err != nil {
		return fmt.Errorf("write catalog: %w", err)
	}
	return d.do(20, "whatif", "audit", "--catalog", "dearer")
}
