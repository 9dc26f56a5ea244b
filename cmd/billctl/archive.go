package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
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

// archiveVerified is the answer of archive verify.
type archiveVerified struct {
	Schema   string         `json:"schema"`
	Files    int            `json:"files"`
	Entries  uint64         `json:"entries"`
	Rows     uint64         `json:"rows"`
	Seals    int            `json:"seals"`
	Openings int            `json:"openings"`
	Digests  uint64         `json:"row_digests"`
	Faults   []string       `json:"faults"`
	Notes    []string       `json:"notes"`
	Proved   *archiveProved `json:"replay"` // nil: without --deep, or a fault is in the way
}

type archiveProved struct {
	Opening string `json:"opening,omitempty"` // its month
	Last    uint64 `json:"last_seq"`
	Seals   int    `json:"seals"`
	Waiting uint64 `json:"waiting"`
	Billing string `json:"billing_digest"`
}

func newArchiveVerify(s *session) *cobra.Command {
	var deep bool
	var output string
	c := &cobra.Command{
		Use:   "verify [PATH...]",
		Short: "Read every archive file and opening to its end and check it",
		Long: `Reads every archive file and opening: checksums, counts, content, the chain of seals from
file to file, gaps, and whether the seal behind an opening says the same as it. With --deep it also
computes the digest of every row anew, and replays the archive files themselves, not what the
journal of a state still holds, and compares every seal. Every fault is named; with any the exit
code is 13, or 4 where the replay diverges.`,
		Example: `  billctl archive verify
  billctl archive verify --deep /mnt/audit/2026`,
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return badOutput(output)
			}
			h, done, err := s.openHistory(args)
			if err != nil {
				return err
			}
			defer done() // read only
			return s.verifyArchive(h, deep, output)
		},
	}
	c.Flags().BoolVar(&deep, "deep", false, "also compute row digests anew and replay")
	outputFlag(c, &output)
	return c
}

func (s *session) verifyArchive(h *live.History, deep bool, output string) error {
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
	var proved *live.Proved
	var failed error
	switch {
	case len(v.Faults) > 0:
		failed = &exitError{
			code: exitArchive, text: counted(uint64(len(v.Faults)), "fault") + " found",
		}
	case deep:
		proved, failed = s.proveArchive(h)
	}
	if errors.Is(failed, context.Canceled) {
		return failed
	}
	if output == "json" {
		return errors.Join(s.verifiedJSON(v, proved, failed), failed)
	}
	return errors.Join(s.verifiedText(v, proved, deep, failed), failed)
}

// proveArchive replays the archive files of a history; nil where there are none.
func (s *session) proveArchive(h *live.History) (*live.Proved, error) {
	if len(h.Parts()) == 0 {
		return nil, nil
	}
	bar := newProgress(s)
	start := time.Now()
	p, err := live.ProveArchive(s.ctx, h, func(seq engine.Seq) {
		bar.line(fmt.Sprintf("replaying: position %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	})
	bar.clear()
	var diverged *live.DivergedError
	if errors.As(err, &diverged) {
		return nil, &exitError{
			code: exitDiffers, text: "the archive diverged: " + err.Error(), err: err,
			hint: "an archive file was changed: restore it from a copy; billctl archive ls shows which " +
				"files come before the seal",
		}
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (s *session) verifiedJSON(v *live.Verified, proved *live.Proved, failed error) error {
	out := &archiveVerified{
		Schema: "billctl.verified.v1", Files: v.Files, Entries: v.Entries, Rows: v.Rows,
		Seals: v.Seals, Openings: v.Openings, Digests: v.Digests, Faults: []string{},
		Notes: []string{},
	}
	for _, fault := range v.Faults {
		out.Faults = append(out.Faults, fault.Error())
	}
	if len(v.Faults) == 0 && failed != nil {
		out.Faults = append(out.Faults, failed.Error())
	}
	for _, note := range v.Notes {
		out.Notes = append(out.Notes, note.Error())
	}
	if proved != nil {
		out.Proved = &archiveProved{
			Last: uint64(proved.Last), Seals: proved.Seals, Waiting: uint64(proved.Waiting),
			Billing: fmt.Sprintf("%x", proved.Billing),
		}
		if proved.Opening != nil {
			out.Proved.Opening = proved.Opening.Month
		}
	}
	return json.NewEncoder(s.stdout).Encode(out)
}

func (s *session) verifiedText(
	v *live.Verified, proved *live.Proved, deep bool, failed error,
) error {
	for _, fault := range v.Faults {
		text, hint, _ := explain(fault)
		s.say("error: %s", text)
		if hint != "" {
			s.say("hint: %s", hint)
		}
	}
	for _, note := range v.Notes {
		s.say("note: %s", formats.Visible(note.Error()))
	}
	text := fmt.Sprintf("%s (%s entries, %s, %s) and %s", counted(uint64(v.Files), "file"),
		grouped(v.Entries), counted(v.Rows, "row"), counted(uint64(v.Seals), "seal"),
		counted(uint64(v.Openings), "opening"))
	if len(v.Faults) > 0 {
		return s.lines("read: " + text)
	}
	if err := s.lines("no damage in " + text); err != nil || !deep {
		return err
	}
	err := s.lines(counted(v.Digests, "row digest") + " computed anew, all equal")
	if err != nil || failed != nil || proved == nil {
		return err
	}
	from := "the first entry"
	if proved.Opening != nil {
		from = "the opening of " + proved.Opening.Month
	}
	err = s.lines(fmt.Sprintf("replayed from %s to position %s: %s agree, the last with billing "+
		"digest %x", from, grouped(uint64(proved.Last)), counted(uint64(proved.Seals), "seal"),
		proved.Billing))
	if err == nil && proved.Waiting > 0 {
		return s.lines(counted(uint64(proved.Waiting), "position") + " at the end: no seal speaks of " +
			"them yet")
	}
	return err
}

// archiveWritten is the answer of archive write.
type archiveWritten struct {
	Schema    string   `json:"schema"`
	Directory string   `json:"directory"`
	Files     int      `json:"files"`
	Openings  int      `json:"openings"`
	Made      int      `json:"made"`
	Removed   int      `json:"removed"`
	Bytes     int64    `json:"bytes"`
	Through   uint64   `json:"through_seq"`
	Left      uint64   `json:"left"`
	LeftOut   []string `json:"left_out"`
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
	if state := stateAround(target); state != "" {
		text := target + " is a state directory"
		if state != filepath.Clean(target) {
			text = target + " is inside of the state directory " + state
		}
		return &exitError{
			code: exitUsage, text: text, hint: "name a directory of its own for the archive",
		}
	}
	to, err := store.MakeOS(target)
	if err != nil {
		return fmt.Errorf("archive to %s: %w", target, err)
	}
	bar := newProgress(s)
	c, err := live.CopyArchive(s.ctx, dir, to, func(name string) { bar.line("wrote " + name) })
	bar.clear()
	if errors.Is(err, store.ErrLocked) {
		return &exitError{
			code: exitLocked, text: "another archive write is at work in " + target, err: err,
			hint: "wait for its end and write again, or name another directory",
		}
	}
	if err != nil {
		return err
	}
	return s.writtenArchive(target, output, c)
}

// stateAround returns the state directory that a path is, or is inside of, by whatever links; "" if
// there is none. What a run finds in its directories it takes for its own.
func stateAround(target string) string {
	if state := live.StateOf(target); state != "" {
		return state
	}
	path, err := filepath.Abs(target)
	if err != nil {
		return ""
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		path = resolved
	} else if resolved, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(resolved, filepath.Base(path)) // it is made, its parent is there
	}
	for ; ; path = filepath.Dir(path) {
		if state := live.StateOf(path); state != "" {
			return state
		}
		if path == filepath.Dir(path) {
			return ""
		}
	}
}

func (s *session) writtenArchive(target, output string, c *live.Copied) error {
	leftOut := []string{}
	for _, err := range c.LeftOut {
		leftOut = append(leftOut, err.Error())
	}
	if output == "json" {
		return json.NewEncoder(s.stdout).Encode(&archiveWritten{
			Schema: "billctl.archived.v1", Directory: target, Files: c.Files, Openings: c.Openings,
			Made: c.Made, Removed: c.Removed, Bytes: c.Bytes, Through: uint64(c.Through),
			Left: uint64(c.Left), LeftOut: leftOut,
		})
	}
	for _, text := range leftOut {
		s.say("note: an opening is left out, which a replay can do without: %s",
			formats.Visible(text))
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
