package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

func newExport(s *session) *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:   "export [ARCHIVE|STATE...] --to FILE",
		Short: "Write the usage events of a history as NDJSON, CSV, Parquet or Arrow",
		Long: `Writes every event of an archive or a state directory, in the order of the journal, into a
new file. The ending of its name says in which form: .ndjson (CloudEvents), .csv, .tsv, .parquet or
.arrow. What is written is what was read: rejected events are among them, and corrections are not,
so events that were taken back or amended stand as they came. Malformed lines are no events and are
left out and counted.
billctl rate reads the file again (CSV and TSV with a mapping), and so does any other tool.`,
		Example: `  billctl export --to usage.parquet
  billctl export /mnt/audit/2026 --to - > usage.ndjson`,
		RunE: func(_ *cobra.Command, args []string) error {
			if to == "" {
				return &exitError{
					code: exitUsage, text: "--to is missing",
					hint: "name a new file: --to usage.parquet, or --to - for NDJSON on standard output",
				}
			}
			h, done, err := s.history(args)
			if err != nil {
				return err
			}
			defer done() // read only
			return s.export(h, to)
		},
	}
	c.Flags().StringVar(&to, "to", "", "new `file`; - is standard output, as NDJSON")
	return c
}

func (s *session) export(h *live.History, to string) (err error) {
	if to == "-" {
		w := bufio.NewWriter(s.stdout)
		rows, left, err := formats.WriteEvents(w, formats.NDJSON, s.batches(h))
		if err = errors.Join(err, w.Flush()); err != nil {
			return err
		}
		s.exported(rows, left, "standard output")
		return nil
	}
	format, err := exportFormat(to)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return &exitError{
			code: exitFailed, text: to + " exists already", hint: "name a new file, or remove it first",
		}
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	rows, left, err := formats.WriteEvents(w, format, s.batches(h))
	err = errors.Join(err, w.Flush())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to)) // a part of it would look whole
	}
	s.exported(rows, left, to)
	return nil
}

func (s *session) exported(rows, left uint64, to string) {
	text := "exported " + counted(rows, "event") + " to " + to
	if left > 0 {
		text += "; left out " + counted(left, "malformed line")
	}
	s.say("%s", text)
}

// exportFormat returns the format that a file's name asks for.
func exportFormat(name string) (formats.Format, error) {
	switch filepath.Ext(name) {
	case ".ndjson", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow":
		return formats.FormatOf(name), nil
	}
	return 0, usageError("--to " + name + ": the ending says the form: .ndjson, .csv, .tsv, " +
		".parquet or .arrow")
}

// batches gives the batches of a history, the same each time it is called: what a process beside us
// adds after the first call is not among them.
func (s *session) batches(h *live.History) func(yield func(*engine.Batch) error) error {
	var end engine.Seq // behind the last entry of the first call
	first := true
	return func(yield func(*engine.Batch) error) error {
		r := h.Read(1)
		defer r.Close() // read only
		for next := engine.Seq(1); first || next < end; {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			e, err := r.Next()
			if first && errors.Is(err, io.EOF) {
				first, end = false, next
				return nil
			}
			if err != nil {
				return err
			}
			next = e.Seq + e.Seqs()
			if b, ok := e.Body.(*engine.Batch); ok {
				if err := yield(b); err != nil {
					return err
				}
			}
		}
		return nil
	}
}
