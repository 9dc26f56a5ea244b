package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/internal/store"
)

func newState(s *session) *cobra.Command {
	return group("state", "Look at the state directory", newStateLs(s), newStateVerify(s))
}

// stateList is the answer of state ls.
type stateList struct {
	Schema      string          `json:"schema"`
	Directory   string          `json:"directory"`
	Journal     string          `json:"journal"`
	CreatedBy   string          `json:"created_by"`
	Segments    []stateSegment  `json:"segments"`
	Checkpoints []stateSnapshot `json:"checkpoints"`
}

type stateSegment struct {
	Path  string `json:"path"`
	First uint64 `json:"first_seq"`
	Bytes int64  `json:"bytes"`
}

type stateSnapshot struct {
	Path    string `json:"path"`
	Seq     uint64 `json:"seq"`
	At      string `json:"at,omitempty"`
	Keys    uint64 `json:"keys"`
	Bytes   int64  `json:"state_bytes"`
	Billing string `json:"billing_digest,omitempty"`
	Damage  string `json:"damage,omitempty"`
}

func newStateLs(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "ls",
		Short: "List journal segments and checkpoints",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if output != "table" && output != "json" {
				return badOutput(output)
			}
			list, err := s.listState()
			if err != nil {
				return err
			}
			if output == "json" {
				return json.NewEncoder(s.stdout).Encode(list)
			}
			return s.stateTable(list)
		},
	}
	outputFlag(c, &output)
	return c
}

func (s *session) openReadOnly() (*store.Dir, error) {
	if err := s.findState(); err != nil {
		return nil, err
	}
	fsys, err := store.OS(s.stateDir)
	if err != nil {
		return nil, s.inState(err)
	}
	dir, err := store.OpenReadOnly(fsys)
	return dir, s.inState(err)
}

func (s *session) listState() (*stateList, error) {
	dir, err := s.openReadOnly()
	if err != nil {
		return nil, err
	}
	defer dir.Close() // read only
	g := dir.Genesis()
	list := &stateList{
		Schema: "billctl.state.v1", Directory: s.stateDir, Journal: fmt.Sprintf("%x", g.Journal),
		CreatedBy: g.CreatedBy, Segments: []stateSegment{}, Checkpoints: []stateSnapshot{},
	}
	segments, err := dir.Segments()
	if err != nil {
		return nil, s.inState(err)
	}
	for _, seg := range segments {
		list.Segments = append(list.Segments, stateSegment{seg.Path, uint64(seg.First), seg.Size})
	}
	checkpoints, err := dir.Checkpoints()
	if err != nil {
		return nil, s.inState(err)
	}
	for i := range checkpoints {
		c := &checkpoints[i]
		row := stateSnapshot{Path: c.Path, Seq: uint64(c.Meta.Seq)}
		if c.Err != nil {
			row.Damage = c.Err.Error()
		} else {
			row.At, row.Keys, row.Bytes = c.Meta.At.String(), c.Keys(), c.State.Size
			row.Billing = fmt.Sprintf("%x", c.Meta.Billing)
		}
		list.Checkpoints = append(list.Checkpoints, row)
	}
	return list, nil
}

func (s *session) stateTable(l *stateList) error {
	err := s.lines("state " + l.Directory + ": journal " + l.Journal + ", made by " + l.CreatedBy)
	if err != nil {
		return err
	}
	segments := newTable("segment", ">first seq", ">bytes")
	for _, seg := range l.Segments {
		segments.add(seg.Path, fmt.Sprint(seg.First), grouped(uint64(seg.Bytes)))
	}
	checkpoints := newTable("checkpoint", "at", ">keys", ">bytes", "billing digest")
	for _, c := range l.Checkpoints {
		note := c.Billing
		if c.Damage != "" {
			note = "damaged: " + c.Damage
		}
		checkpoints.add(c.Path, c.At, grouped(c.Keys), grouped(uint64(c.Bytes)), note)
	}
	if err := segments.write(s.stdout, "  "); err != nil {
		return err
	}
	if len(checkpoints.rows) == 0 {
		return s.lines("no checkpoint yet")
	}
	return checkpoints.write(s.stdout, "  ")
}

func newStateVerify(s *session) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Read every file of the state directory and check it",
		Long: `Reads the journal, every checkpoint, the outbox and the logs of the sinks to their ends and
checks every checksum.
It works beside a running process. billctl replay also proves what they mean.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			dir, err := s.openReadOnly()
			if err != nil {
				return err
			}
			defer dir.Close() // read only
			return s.verifyState(dir)
		},
	}
}

func (s *session) verifyState(dir *store.Dir) error {
	frames, seqs := 0, uint64(0)
	segments, err := dir.Segments()
	if err != nil {
		return s.inState(err)
	}
	from := engine.Seq(1)
	if len(segments) > 0 {
		from = segments[0].First // what was before is in the archive
	}
	r := dir.Read(from)
	defer r.Close() // read only
	for {
		f, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.inState(err)
		}
		frames++
		seqs += uint64(f.Count)
	}
	text := fmt.Sprintf("journal: %s entries, %s positions, no damage", grouped(uint64(frames)),
		grouped(seqs))
	if from > 1 {
		text = fmt.Sprintf("journal: %s entries, %s positions from position %s on, no damage; what is "+
			"before is in the archive: billctl archive verify", grouped(uint64(frames)), grouped(seqs),
			grouped(uint64(from)))
	}
	if err := s.lines(text); err != nil {
		return err
	}
	checkpoints, err := dir.Checkpoints()
	if err != nil {
		return s.inState(err)
	}
	for _, c := range checkpoints {
		if err := verifyCheckpoint(dir, c); err != nil {
			return s.inState(err)
		}
		err := s.lines(fmt.Sprintf("checkpoint %d: %s keys, no damage", c.Meta.Seq,
			grouped(c.Keys())))
		if err != nil {
			return err
		}
	}
	outbox, err := dir.OpenOutbox()
	if err != nil {
		return s.inState(err)
	}
	defer outbox.Close() // read only
	records := uint64(0)
	rows := outbox.Read(0)
	defer rows.Close() // read only
	for {
		if _, _, err := rows.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return s.inState(err)
		}
		records++
	}
	if err := s.lines(fmt.Sprintf("outbox: %s records, no damage", grouped(records))); err != nil {
		return err
	}
	return s.verifyCursors(dir)
}

func verifyCheckpoint(dir *store.Dir, c store.CheckpointInfo) error {
	if c.Err != nil {
		return c.Err
	}
	r, err := dir.OpenCheckpoint(c)
	if err != nil {
		return err
	}
	return errors.Join(r.Verify(), r.Close())
}

func (s *session) verifyCursors(dir *store.Dir) error {
	sinks, err := dir.Cursors()
	if err != nil {
		return s.inState(err)
	}
	for _, sink := range sinks {
		done, open, err := dir.ReadCursor(sink)
		if err != nil {
			return s.inState(err)
		}
		if err := s.lines(fmt.Sprintf("cursor of sink %s: all done before record %d, %d open, no damage",
			sink, done, len(open))); err != nil {
			return err
		}
	}
	return nil
}
