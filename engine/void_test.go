package engine_test

import (
	"errors"
	"fmt"
	"testing"

	"billctl/engine"
	"billctl/formats"
)

const voidCatalog = `
meters:
  - {key: used, event: use, aggregate: sum, value: data.n}
plans:
  - {key: pro, currency: EUR, prices: [{key: use, meter: used, model: unit, unit: "1"}]}
accounts:
`

func voidStory(t *testing.T, accounts string, shards int) *story {
	t.Helper()
	s := &story{cluster: newCluster(shards), seq: 1}
	s.files = map[string][]byte{"catalog.yaml": []byte(voidCatalog + accounts)}
	var err error
	if s.at, err = instant("2026-08-15T00:00:00Z"); err == nil {
		err = s.begin()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *story) must(t *testing.T, at string, words ...string) {
	t.Helper()
	var err error
	if s.at, err = instant(at); err == nil {
		err = s.line(words, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAmendedKeysStay amends events of many accounts to a later day: their keys stay remembered
// when the first day is forgotten, also in each shard of a state that was restored.
func TestAmendedKeysStay(t *testing.T) {
	accounts := ""
	for i := range 12 {
		accounts += fmt.Sprintf("  - id: acc%d\n    subscriptions: "+
			"[{key: main, plan: pro, from: 2026-09-01}]\n", i)
	}
	run := func(shards int, restore bool) (string, engine.Digest, engine.Digest) {
		s := voidStory(t, accounts, shards)
		each := func(at string, words ...string) {
			for i := range 12 {
				account, id := fmt.Sprintf("acc%d", i), fmt.Sprintf("id=e%d", i)
				if words[0] == "amend" {
					s.must(t, at, append([]string{"amend", account, "use", id}, words[1:]...)...)
				} else {
					s.must(t, at, append([]string{account, "use", id}, words...)...)
				}
			}
		}
		each("2026-09-02T00:00:00Z", "n=1")
		each("2026-11-03T00:00:00Z", "amend", "n=1", "time=2026-11-02T00:00:00Z")
		if restore {
			c, err := s.cluster.restored(shards)
			if err != nil {
				t.Fatal(err)
			}
			s.cluster = c
		}
		s.must(t, "2026-11-15T00:00:00Z", "watermark") // the floor is September 6
		each("2026-11-15T01:00:00Z", "n=1", "time=2026-11-02T00:00:00Z")
		s.must(t, "2026-12-02T00:00:00Z", "watermark")
		p := s.picture()
		return s.out.String(), p.billing, p.journal
	}
	want, billing, journal := run(1, false)
	for _, shards := range []int{1, 3} {
		for _, restore := range []bool{false, true} {
			got, b, j := run(shards, restore)
			if got != want || b != billing || j != journal {
				t.Errorf("%d shards, restored: %v: other effects or digests:\n%s", shards, restore, got)
			}
		}
	}
}

// TestTrialIsSealed tells a trial from none by the billing digest.
func TestTrialIsSealed(t *testing.T) {
	digest := func(trial string) engine.Digest {
		s := voidStory(t, "  - id: acme\n    subscriptions: [{key: main, plan: pro, from: 2026-09-01"+
			trial+"}]\n", 1)
		s.must(t, "2026-09-02T00:00:00Z", "acme", "use", "id=1", "n=100")
		return s.picture().billing
	}
	if digest("") == digest(", trial_until: 2026-10-01") {
		t.Error("one digest for two bills")
	}
}

// TestVoidOfNoEvent refuses a void of a line that was no event, wherever it comes from.
func TestVoidOfNoEvent(t *testing.T) {
	s := voidStory(t, "  - id: acme\n", 3)
	d, err := formats.NewDecoder(formats.NDJSON, "usage", nil)
	if err != nil {
		t.Fatal(err)
	}
	b := formats.NewBuilder("usage", formats.Limits{})
	chunk := formats.Chunk{Partition: "p", Data: []byte("nonsense\n")}
	if _, err := d.Decode(chunk, b); err != nil {
		t.Fatal(err)
	}
	v := &engine.Void{Of: 5, Row: b.Batch(), Actor: "clerk"}
	entry := &engine.Entry{Seq: s.seq, At: s.at, Body: v}
	_, err = engine.DecodeEntry(engine.AppendEntry(nil, entry))
	if !errors.Is(err, engine.ErrFormat) {
		t.Errorf("decoded: %v", err)
	}
	s.say("void", v)
	if r := s.out.String(); r == "" {
		t.Error("no rejection")
	}
	if err := engine.Pin(s.engines).CheckControls(); err != nil {
		t.Error(err)
	}
}
