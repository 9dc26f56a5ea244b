package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/internal/live"
	"billctl/internal/store"
)

// replayAnswer is the answer of replay.
type replayAnswer struct {
	Schema    string  `json:"schema"`
	Journal   string  `json:"journal"`
	Verdict   string  `json:"verdict"` // consistent, anchored
	Entries   uint64  `json:"entries"`
	Rows      uint64  `json:"rows"`
	LastSeq   uint64  `json:"last_seq"`
	Seals     int     `json:"seals"`
	SealedTo  uint64  `json:"sealed_to"` // the mark of the last seal
	Documents uint64  `json:"documents"`
	Compared  uint64  `json:"documents_compared"`
	Billing   string  `json:"billing_digest"`
	JournalDg string  `json:"journal_digest"`
	Seconds   float64 `json:"seconds"`
}

func newReplay(s *session) *cobra.Command {
	var output, expect string
	var shards int
	c := &cobra.Command{
		Use:   "replay [STATE/journal]",
		Short: "Prove the bills: apply the journal again and compare every seal",
		Long: `Applies a journal from its first entry to a new engine, without configuration and without
any sink, and compares the digests of every seal and every issued invoice byte for byte. It writes
nothing and works beside a running process.

Without a difference the journal is consistent up to its last seal. With --expect DIGEST, a billing
digest that was written down elsewhere, it is anchored.`,
		Example: `  billctl replay state/journal
  billctl replay state/journal --expect 5f0c...`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "table" && output != "json" {
				return badOutput(output)
			}
			if shards < 1 || shards > maxShards {
				return usageError(fmt.Sprintf("--shards %d is not from 1 to %d", shards, maxShards))
			}
			return s.replay(args, shards, expect, output)
		},
	}
	outputFlag(c, &output)
	c.Flags().IntVar(&shards, "shards", 1, "shards of the engine; the result does not depend on it")
	c.Flags().StringVar(&expect, "expect", "", "billing `digest` that the journal must reach")
	return c
}

func (s *session) replay(args []string, shards int, expect, output string) error {
	if len(args) > 0 {
		s.stateDir = filepath.Clean(args[0])
		if filepath.Base(s.stateDir) == "journal" {
			s.stateDir = filepath.Dir(s.stateDir)
		}
	}
	dir, err := s.openReadOnly()
	if err != nil {
		return err
	}
	defer dir.Close() // read only
	bar := newProgress(s)
	start := time.Now()
	a, err := live.Replay(s.ctx, dir, shards, nil, func(seq engine.Seq) {
		bar.line(fmt.Sprintf("replaying: entry %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	})
	bar.clear()
	if err != nil {
		return s.diverged(a, err)
	}
	g := dir.Genesis()
	out := &replayAnswer{
		Schema: "billctl.replay.v1", Journal: hex.EncodeToString(g.Journal[:]),
		Verdict: "consistent", Entries: a.Entries, Rows: a.Rows, LastSeq: uint64(a.Last),
		Seals: a.Seals, SealedTo: uint64(a.Sealed), Documents: a.Documents, Compared: a.Outbox,
		Billing: hex.EncodeToString(a.Billing[:]), JournalDg: hex.EncodeToString(a.Journal[:]),
		Seconds: time.Since(start).Seconds(),
	}
	if expect != "" {
		if out.Billing != expect {
			return &exitError{
				code: exitDiffers,
				text: fmt.Sprintf("diverged: the journal reaches billing digest %s, not %s",
					out.Billing, expect),
				hint: "the journal agrees with its own seals: it was replaced, or it has grown since " +
					"that digest was written down",
			}
		}
		out.Verdict = "anchored"
	}
	if output == "json" {
		return json.NewEncoder(s.stdout).Encode(out)
	}
	return s.replayTable(out)
}

// diverged says how far a replay came before it failed.
func (s *session) diverged(a *live.Audit, err error) error {
	var d *live.DivergedError
	var m *store.MismatchError
	if errors.As(err, &d) || errors.As(err, &m) {
		return fmt.Errorf("diverged behind entry %d, after %d seals that agree: %w", a.Last, a.Seals, err)
	}
	return s.inState(err)
}

func (s *session) replayTable(a *replayAnswer) error {
	rate := uint64(float64(a.Rows) / max(a.Seconds, 1e-6))
	t := newTable("", "")
	t.add("journal", a.Journal)
	t.add("entries", fmt.Sprintf("%s with %s rows, to position %s", grouped(a.Entries),
		grouped(a.Rows), grouped(a.LastSeq)))
	t.add("seals", fmt.Sprintf("%d compared, the last of position %s", a.Seals, grouped(a.SealedTo)))
	t.add("invoices", fmt.Sprintf("%s issued, %s compared with the outbox", grouped(a.Documents),
		grouped(a.Compared)))
	t.add("billing digest", a.Billing)
	t.add("journal digest", a.JournalDg)
	t.add("time", fmt.Sprintf("%.1f s, %s rows/s", a.Seconds, grouped(rate)))
	t.add("verdict", a.Verdict)
	return t.write(s.stdout, "")
}
