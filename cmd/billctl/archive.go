package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/internal/live"
	"billctl/internal/store"
)

func newArchive(s *session) *cobra.Command {
	return group("archive", "List, check and copy the history as Parquet",
		newArchiveLs(s), newArchiveVerify(s), newArchiveWrite(s))
}

// archiveList is the answer of archive ls.
type archiveList struct {
	Schema   string           `json:"schema"`
	Journal  string           `json:"journal"`
	Files    []archiveFile    `json:"files"`
	Openings []archiveOpening `json:"openings"`
	Gaps     []string         `json:"gaps"`
}

type archiveFile struct {
	Path    string `json:"path"`
	First   uint64 `json:"first_seq"`
	Last    uint64 `json:"last_seq"`
	FirstAt string `json:"first_at,omitempty"`
	LastAt  string `json:"last_at,omitempty"`
	Entries uint64 `json:"entries"`
	Rows    uint64 `json:"rows"`
	Seals   int    `json:"seals"`
	Bytes   int64  `json:"bytes"`
	Note    string `json:"note,omitempty"`
}

type archiveOpening struct {
	Path    string `json:"path"`
	Month   string `json:"month"`
	Seq     uint64 `json:"seq"`
	At      string `json:"at"`
	Keys    uint64 `json:"keys"`
	Bytes   int64  `json:"bytes"`
	Billing string `json:"billing_digest"`
}

func newArchiveLs(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "ls [PATH...]",
		Short: "List archive files and openings, and what is missing between them",
		Long: `Lists the archive files (runs of positions of the journal) and the openings (the state at a
month's first mark) of a state directory, or of archive files and directories. It reads what the
files say of themselves; billctl archive verify reads them whole.`,
		Example: `  billctl archive ls
  billctl archive ls /mnt/audit/2026`,
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return badOutput(output)
			}
			h, done, err := s.openHistory(args)
			if err != nil {
				return err
			}
			defer done() // read only
			list := listArchive(h)
			if output == "json" {
				return json.NewEncoder(s.stdout).Encode(list)
			}
			return s.archiveTable(list)
		},
	}
	outputFlag(c, &output)
	return c
}

func listArchive(h *live.History) *archiveList {
	list := &archiveList{
		Schema: "billctl.archive.v1", Journal: fmt.Sprintf("%x", h.Journal()),
		Files: []archiveFile{}, Openings: []archiveOpening{}, Gaps: []string{},
	}
	for _, p := range h.Parts() {
		f := archiveFile{
			Path: p.Name, First: uint64(p.First), Last: uint64(p.Last), Entries: p.Entries,
			Rows: p.Rows, Seals: p.Seals, Bytes: p.Bytes,
		}
		if p.Version == 0 {
			f.Note = "written anew by another program"
		} else {
			f.FirstAt, f.LastAt = p.FirstAt.String(), p.LastAt.String()
		}
		list.Files = append(list.Files, f)
	}
	for _, o := range h.Openings() {
		list.Openings = append(list.Openings, archiveOpening{
			Path: o.Name, Month: o.Month, Seq: uint64(o.Seq), At: o.At.String(), Keys: o.Keys,
			Bytes: o.Bytes, Billing: fmt.Sprintf("%x", o.Billing),
		})
	}
	for _, gap := range h.Gaps() {
		list.Gaps = append(list.Gaps, gap.Error())
	}
	for _, fault := range h.Faults() {
		list.Gaps = append(list.Gaps, fault.Error())
	}
	return list
}

func (s *session) archiveTable(l *archiveList) error {
	if len(l.Files)+len(l.Openings) == 0 {
		return s.lines("nothing is archived yet: the journal holds everything; a segment is archived " +
			"when it is full or a month begins, a copy of all is made by: billctl archive write DIR")
	}
	if err := s.lines("journal " + l.Journal); err != nil {
		return err
	}
	files := newTable("file", ">first seq", ">last seq", ">rows", ">seals", ">bytes", "accepted from",
		"to")
	for _, f := range l.Files {
		from, to := f.FirstAt, f.LastAt
		if f.Note != "" {
			from = f.Note
		}
		files.add(f.Path, fmt.Sprint(f.First), fmt.Sprint(f.Last), grouped(f.Rows),
			fmt.Sprint(f.Seals), grouped(uint64(f.Bytes)), from, to)
	}
	openings := newTable("opening", "month", ">seq", ">keys", ">bytes", "billing digest")
	for _, o := range l.Openings {
		openings.add(o.Path, o.Month, fmt.Sprint(o.Seq), grouped(o.Keys), grouped(uint64(o.Bytes)),
			o.Billing)
	}
	if len(files.rows) > 0 {
		if err := files.write(s.stdout, "  "); err != nil {
			return err
		}
	}
	if len(openings.rows) > 0 {
		if err := openings.write(s.stdout, "  "); err != nil {
			return err
		}
	}
	for _, gap := range l.Gaps {
		if err := s.lines("missing: " + gap); err != nil {
			return err
		}
	}
	return nil
}

func newArchiveVerify(s *session) *cobra.Command {
	var deep bool
	c := &cobra.Command{
		Use:   "verify [PATH...]",
		Short: "Read every archive file and opening to its end and check it",
		Long: `Reads every archive file and opening: checksums, counts, content, the chain of seals from
file to file, and gaps. With --deep it also computes the digest of every row anew, and replays the
archive and compares every seal. Every fault is named; with any the exit code is 13, or 4 where the
replay diverges.`,
		Example: `  billctl archive verify
  billctl archive verify --deep /mnt/audit/2026`,
		RunE: func(_ *cobra.Command, args []string) error {
			h, done, err := s.openHistory(args)
			if err != nil {
				return err
			}
			defer done() // read only
			return s.verifyArchive(h, deep)
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "also compute row digests anew and replay")
	return c
}

func (s *session) verifyArchive(h *live.History, deep bool) error {
	bar := newProgress(s)
	v, err := live.VerifyArchive(s.ctx, h, deep, func(name string) { bar.line("reading " + name) })
	bar.clear()
	if err != nil {
		return err
	}
	for _, p := range h.Parts() {
		if fault := p.NameFault(filepath.Base(p.Name)); fault != nil {
			v.Faults = append(v.Faults, fault)
		}
	}
	for _, fault := range v.Faults {
		text, hint, _ := explain(fault)
		s.say("error: %s", text)
		if hint != "" {
			s.say("hint: %s", hint)
		}
	}
	text := fmt.Sprintf("%s (%s entries, %s, %s) and %s", counted(uint64(v.Files), "file"),
		grouped(v.Entries), counted(v.Rows, "row"), counted(uint64(v.Seals), "seal"),
		counted(uint64(v.Openings), "opening"))
	if len(v.Faults) > 0 {
		if err := s.lines("read: " + text); err != nil {
			return err
		}
		return &exitError{code: exitArchive, text: counted(uint64(len(v.Faults)), "fault") + " found"}
	}
	if err := s.lines("no damage in " + text); err != nil || !deep {
		return err
	}
	if err := s.lines(counted(v.Digests, "row digest") + " computed anew, all equal"); err != nil {
		return err
	}
	return s.verifyByReplay(h)
}

// verifyByReplay replays an archive from its first entry, or from its first opening if it begins
// later.
func (s *session) verifyByReplay(h *live.History) error {
	if len(h.Parts()) == 0 {
		return nil
	}
	var o live.ReplayOptions
	from := "the first entry"
	if first := h.Parts()[0].First; first > 1 && h.Dir() == nil {
		for i, opening := range h.Openings() {
			if opening.Seq+1 >= first {
				o.Opening, from = &h.Openings()[i], "the opening of "+opening.Month
				break
			}
		}
		if o.Opening == nil {
			return &exitError{
				code: exitArchive,
				text: fmt.Sprintf("the archive begins at position %d and has no opening behind it: it "+
					"can't be replayed", first),
				hint: "name the files before it, or the opening, as well",
			}
		}
	}
	bar := newProgress(s)
	start := time.Now()
	o.Progress = func(seq engine.Seq) {
		bar.line(fmt.Sprintf("replaying: position %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	}
	a, err := live.Replay(s.ctx, h, o)
	bar.clear()
	if err != nil {
		return err
	}
	if a.Diverged != nil {
		return a.Diverged
	}
	return s.lines(fmt.Sprintf("replayed from %s to position %s: %s agree, billing digest %x", from,
		grouped(uint64(a.Last)), counted(uint64(a.Seals), "seal"), a.Billing))
}

// archiveWritten is the answer of archive write.
type archiveWritten struct {
	Schema    string `json:"schema"`
	Directory string `json:"directory"`
	Files     int    `json:"files"`
	Openings  int    `json:"openings"`
	Made      int    `json:"made"`
	Removed   int    `json:"removed"`
	Bytes     int64  `json:"bytes"`
	Through   uint64 `json:"through_seq"`
	Left      uint64 `json:"left"`
}

func newArchiveWrite(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "write DIR",
		Short: "Write the whole history into a directory, as Parquet, for an auditor",
		Long: `Writes archive files and openings of the whole history, up to the last seal, into DIR,
which is made if its parent exists. Any Parquet tool reads them, and billctl replay DIR proves the
bills from them alone, on a machine without state and configuration.

It works beside a running process and changes nothing in the state directory. DIR may be that of an
earlier call: what is there and right is kept.`,
		Example: `  billctl archive write /mnt/audit/2026
  billctl replay /mnt/audit/2026`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return badOutput(output)
			}
			return s.writeArchive(args[0], output)
		},
	}
	outputFlag(c, &output)
	return c
}

func (s *session) writeArchive(target, output string) error {
	dir, err := s.openReadOnly()
	if err != nil {
		return err
	}
	defer dir.Close() // read only
	if live.StateOf(target) != "" {
		return &exitError{
			code: exitUsage, text: target + " is a state directory",
			hint: "name a directory of its own for the archive",
		}
	}
	to, err := store.MakeOS(target)
	if err != nil {
		return fmt.Errorf("archive to %s: %w", target, err)
	}
	bar := newProgress(s)
	c, err := live.CopyArchive(s.ctx, dir, to, func(name string) { bar.line("wrote " + name) })
	bar.clear()
	if err != nil {
		return err
	}
	if output == "json" {
		return json.NewEncoder(s.stdout).Encode(&archiveWritten{
			Schema: "billctl.archived.v1", Directory: target, Files: c.Files, Openings: c.Openings,
			Made: c.Made, Removed: c.Removed, Bytes: c.Bytes, Through: uint64(c.Through),
			Left: uint64(c.Left),
		})
	}
	if c.Files == 0 {
		return s.lines("nothing to archive: the journal has no seal yet; let billctl run read something")
	}
	text := fmt.Sprintf("%s holds positions 1 to %s in %s, and %s", target,
		grouped(uint64(c.Through)), counted(uint64(c.Files), "file"),
		counted(uint64(c.Openings), "opening"))
	if err := s.lines(text, fmt.Sprintf("written now: %s, %s bytes", counted(uint64(c.Made), "file"),
		grouped(uint64(c.Bytes)))); err != nil {
		return err
	}
	if c.Left > 0 {
		left := counted(uint64(c.Left), "position")
		return s.lines("left out: " + left + " behind the last seal")
	}
	return nil
}
