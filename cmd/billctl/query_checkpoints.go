package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"billctl/formats"
	"billctl/internal/api"
)

func newQueryCheckpoints(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "checkpoints",
		Short: "Show the saved states, the archive, and the last seal",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return show(s, output, "", "/v1/checkpoints", nil, s.checkpointsTable)
		},
	}
	outputFlag(c, &output)
	return c
}

func (s *session) checkpointsTable(a *api.Checkpoints) error {
	lines := []string{"no seal yet; " + s.where(&a.Position)}
	if x := a.Seal; x != nil {
		lines[0] = fmt.Sprintf("last seal at seq %d, of the mark at seq %d: %s", x.Seq, x.Mark, x.Digest)
	}
	lines = append(lines, fmt.Sprintf("archive through seq %d: %s, %s bytes", a.Archive.Through,
		counted(uint64(a.Archive.Files), "file"), grouped(uint64(a.Archive.Bytes))))
	if a.Archive.Failure != "" {
		lines = append(lines, "archive: "+formats.Visible(a.Archive.Failure))
	}
	if err := s.lines(lines...); err != nil {
		return err
	}
	t := newTable("kept", ">seq", "at", ">bytes", ">keys", "")
	for i := range a.Checkpoints {
		c := &a.Checkpoints[i]
		at := ""
		if c.At != nil {
			at = *c.At
		}
		t.add("checkpoint", fmt.Sprint(c.Seq), at, grouped(uint64(c.Bytes)), grouped(c.Keys), c.Damage)
	}
	for i := len(a.Openings) - 1; i >= 0; i-- {
		o := &a.Openings[i]
		t.add("opening", fmt.Sprint(o.Seq), o.Month, grouped(uint64(o.Bytes)), "", o.Damage)
	}
	return t.write(s.stdout, "")
}
