package api

import (
	"encoding/hex"
	"errors"
	"net/http"

	"billctl/engine"
	"billctl/internal/live"
)

// Checkpoints lists what a state directory keeps beside its journal.
type Checkpoints struct {
	Schema      string       `json:"schema"`
	Position    Position     `json:"position"`
	Checkpoints []Checkpoint `json:"checkpoints"` // the newest first
	Archive     Archived     `json:"archive"`
	Openings    []Opening    `json:"openings"` // the oldest first
	Seal        *Seal        `json:"seal"`     // the last; null before the first
}

// Checkpoint is a saved state.
type Checkpoint struct {
	Seq    uint64  `json:"seq"`
	At     *string `json:"at"`
	Bytes  int64   `json:"bytes"` // with the files of keys that it needs, which others share
	Keys   uint64  `json:"keys"`  // that it remembers
	Damage string  `json:"damage,omitempty"`
}

// Archived is how far the archive is.
type Archived struct {
	Through uint64 `json:"through"` // the last position; 0: it is empty
	Files   int    `json:"files"`   // openings aside
	Bytes   int64  `json:"bytes"`   // of these
	Failure string `json:"failure"` // of the last try; "": none, or no process runs
}

// Opening is the state when usage first came to a month.
type Opening struct {
	Month  string `json:"month"` // "" where the file is damaged
	Seq    uint64 `json:"seq"`   // of its mark
	Bytes  int64  `json:"bytes"`
	Damage string `json:"damage,omitempty"`
}

// Seal is a seal of the journal.
type Seal struct {
	Seq    uint64 `json:"seq"`
	Mark   uint64 `json:"mark"`   // that it speaks of
	Digest string `json:"digest"` // chain digest
}

func (h *handler) checkpoints(r *http.Request, v *engine.View, p Position) (any, error) {
	kept, err := h.desk.Kept(r.Context(), v)
	if errors.Is(err, live.ErrNoRows) {
		return nil, &problem{
			http.StatusNotFound, NotFound,
			"only a state directory as it is now has checkpoints: archive files and openings have none",
			"billctl archive ls lists the files of an archive",
		}
	}
	if err != nil {
		return nil, err
	}
	out := Checkpoints{
		Schema: "billctl.checkpoints.v1", Position: p, Checkpoints: []Checkpoint{},
		Archive:  Archived{uint64(kept.Through), kept.Files, kept.Bytes, kept.Failed},
		Openings: []Opening{},
	}
	for i := range kept.Checkpoints {
		c := &kept.Checkpoints[i]
		out.Checkpoints = append(out.Checkpoints, Checkpoint{
			uint64(c.Seq), instant(c.At), c.Bytes, c.Keys, c.Damage,
		})
	}
	for i := len(kept.Openings) - 1; i >= 0; i-- {
		o := &kept.Openings[i]
		out.Openings = append(out.Openings, Opening{o.Month, uint64(o.Seq), o.Bytes, o.Damage})
	}
	if s := kept.Seal; s != nil {
		out.Seal = &Seal{uint64(s.Seq), uint64(s.Of), hex.EncodeToString(s.Digest[:])}
	}
	return out, nil
}
