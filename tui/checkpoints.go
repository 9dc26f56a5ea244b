package tui

import (
	"fmt"
	"strconv"
)

// newCheckpointsScreen lists saved states, with the archive and the last seal above.
func newCheckpointsScreen() screen {
	return newList(view{
		name: "checkpoints", path: "/v1/checkpoints", every: 2,
		columns: []column{
			{title: "position", least: 12, fit: true, right: true},
			{title: "at", least: 19},
			{title: "state", least: 8, fit: true, right: true},
			{title: "keys", least: 8, fit: true, right: true, drop: 1},
		},
		read: readCheckpoints,
		empty: [2]string{"there is no checkpoint yet",
			"A process saves its state every minute or so, and when it ends."},
	})
}

func readCheckpoints(body []byte) ([]item, []line, bool, error) {
	var a struct {
		Checkpoints []struct {
			Seq   uint64  `json:"seq"`
			At    *string `json:"at"`
			Bytes uint64  `json:"bytes"`
			Keys  uint64  `json:"keys"`
		} `json:"checkpoints"`
		Archive *struct {
			Through uint64 `json:"through"`
			Files   uint64 `json:"files"`
			Bytes   uint64 `json:"bytes"`
			Failure string `json:"failure"`
		} `json:"archive"`
		Openings []struct {
			Month string `json:"month"`
			Seq   uint64 `json:"seq"`
			Bytes uint64 `json:"bytes"`
		} `json:"openings"`
		Seal *struct {
			Seq    uint64 `json:"seq"`
			Digest string `json:"digest"`
		} `json:"seal"`
	}
	if err := readAnswer(body, &a); err != nil {
		return nil, nil, false, err
	}
	var lines []line
	if s := a.Seal; s != nil && s.Digest != "" {
		lines = append(lines, line{text: fmt.Sprintf("last seal at %s: %s", count(s.Seq), s.Digest)})
	}
	if s := a.Archive; s != nil {
		lines = append(lines, line{text: fmt.Sprintf("archive through %s: %s files, %s",
			count(s.Through), count(s.Files), size(s.Bytes))})
		if s.Failure != "" {
			lines = append(lines, line{"! archive: " + s.Failure, bad})
		}
	}
	const seen = 3 // the newest ones; the others stand in the answer
	for i := len(a.Openings) - 1; i >= max(0, len(a.Openings)-seen); i-- {
		o := &a.Openings[i]
		lines = append(lines, line{fmt.Sprintf("opening of %s at %s, %s", o.Month, count(o.Seq),
			size(o.Bytes)), faint})
	}
	if len(lines) > 0 {
		lines = append(lines, line{})
	}
	items := make([]item, len(a.Checkpoints))
	for i := range a.Checkpoints {
		c := &a.Checkpoints[i]
		items[i] = item{id: strconv.FormatUint(c.Seq, 10), fields: []field{
			number(c.Seq, accent), instant(c.At),
			{text: strconv.FormatUint(c.Bytes, 10), shown: size(c.Bytes)}, number(c.Keys, faint),
		}}
	}
	return items, lines, false, nil
}
