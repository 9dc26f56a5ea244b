package engine_test

import (
	"testing"

	"billctl/engine"
)

// TestOwnershipTakenBack gives a subject to an account, takes it back before it held any time, and
// gives it to another from an earlier instant: the empty ownership is in nobody's way, nor after a
// restore.
func TestOwnershipTakenBack(t *testing.T) {
	account := func(id string, attach, detach []engine.Ownership) engine.Body {
		return &engine.Change{
			File:     engine.Digest{byte(len(attach)), id[0]},
			Accounts: []engine.AccountChange{{ID: id, Zone: "UTC", Attach: attach, Detach: detach}},
		}
	}
	back := engine.Ownership{Subject: "s", Account: "a", From: 100, To: 100}
	for _, shards := range []int{1, 5} {
		c := newCluster(shards)
		var out outcome
		for i, body := range []engine.Body{
			account("a", []engine.Ownership{owned("s", "a", 100)}, nil),
			account("a", nil, []engine.Ownership{back}),
			account("b", []engine.Ownership{owned("s", "b", 50)}, nil),
		} {
			c.apply(&engine.Entry{Seq: engine.Seq(i + 1), Body: body}, &out)
		}
		if len(out.refusals) > 0 {
			t.Errorf("%d shards: refused %q", shards, out.refusals)
		}
		again, err := c.restored(3)
		if err != nil {
			t.Fatal(err)
		}
		if d := c.picture().difference(again.picture()); d != "" {
			t.Errorf("%d shards: after a restore: %s", shards, d)
		}
	}
}
