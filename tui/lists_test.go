package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// views are the screens of the frame, by the file that holds them in all sizes and looks.
func goldenViews() []struct {
	name  string
	world func() *world
	do    func(r *rig)
} {
	lists := func() *world { return newWorld(24).lists() }
	empty := func() *world {
		w := newWorld(0)
		for path := range newWorld(0).lists().fixed {
			w.fixed[path] = `{"invoices": []}`
		}
		return w
	}
	jump := func(name string) func(r *rig) {
		return func(r *rig) {
			r.press(":")
			r.write(name)
			r.press("enter")
		}
	}
	return []struct {
		name  string
		world func() *world
		do    func(r *rig)
	}{
		{"accounts", func() *world { return newWorld(250) }, func(r *rig) {
			r.press("down down down")
			r.w.bump, r.w.seq = 3, 4750
			r.pass(time.Second)
		}},
		{"accounts-filter", lists, func(r *rig) {
			r.press("S /")
			r.write("00001")
			r.pass(time.Second)
		}},
		{"invoices", lists, jump("invoices")},
		{"deliveries", lists, jump("deliveries")},
		{"rejections", lists, jump("rejections")},
		{"meters", lists, jump("meters")},
		{"catalog", lists, jump("catalog")},
		{"plan", lists, func(r *rig) { jump("catalog")(r); r.press("down enter") }},
		{"checkpoints", lists, jump("checkpoints")},
		{"empty", empty, func(*rig) {}},
		{"empty-deliveries", empty, jump("deliveries")},
		{"disconnected", lists, func(r *rig) {
			r.w.err = fmt.Errorf("dial api.sock: %w", ErrGone)
			r.pass(5 * time.Second)
		}},
		{"nobody", func() *world { w := lists(); w.err = ErrGone; return w }, func(*rig) {}},
		{"failure", func() *world {
			w := lists()
			w.refuse["/v1/accounts"] = &Failure{"state_damaged", "the state directory is of version 9",
				"use a billctl that knows it"}
			return w
		}, func(*rig) {}},
		{"paused", lists, func(r *rig) {
			r.press("space")
			for range 3 {
				r.w.seq, r.w.bump = r.w.seq+10, r.w.bump+1
				r.pass(time.Second)
			}
		}},
		{"help", lists, func(r *rig) { r.press("?") }},
	}
}

// TestGoldenFrames compares every view in every size and look. The file of a view has all of them;
// those in colour are drawn at two sizes only, since colours don't depend on it.
func TestGoldenFrames(t *testing.T) {
	for _, v := range goldenViews() {
		t.Run(v.name, func(t *testing.T) {
			var all strings.Builder
			for _, size := range [][2]int{{60, 15}, {80, 24}, {120, 40}, {200, 60}} {
				for _, l := range looks {
					r := newRigOf(t, v.world(), Options{
						Profile: l.profile, ASCII: l.ascii, Dark: size[0] != 60,
					}, size[0], size[1])
					r.answer()
					v.do(r)
					frame := r.m.View()
					checkLines(t, v.name, strings.Split(frame, "\n"), size[0], size[1], l.ascii)
					fmt.Fprintf(&all, "-- %dx%d %s --\n%s\n", size[0], size[1], l.name,
						compact(frame))
				}
			}
			golden(t, "frame-"+v.name+".golden", all.String())
		})
	}
	t.Run("loading", func(t *testing.T) {
		var all strings.Builder
		for _, size := range [][2]int{{1, 1}, {20, 5}, {39, 20}, {40, 8}, {60, 15}, {200, 60}} {
			r := newRig(t, newWorld(3), size[0], size[1])
			fmt.Fprintf(&all, "-- %dx%d --\n%s\n", size[0], size[1], compact(r.m.View()))
		}
		golden(t, "frame-loading.golden", all.String())
	})
}

// compact writes several empty lines as one.
func compact(frame string) string {
	var out []string
	blank := 0
	flush := func() {
		if blank > 0 {
			out = append(out, fmt.Sprintf("(%d empty)", blank))
		}
		blank = 0
	}
	for line := range strings.SplitSeq(frame, "\n") {
		if line == "" {
			blank++
			continue
		}
		flush()
		out = append(out, strings.ReplaceAll(line, "\x1b", "␛"))
	}
	flush()
	return strings.Join(out, "\n")
}
