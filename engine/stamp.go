package engine

// Stamp returns a number that differs, but for chance, when figures of the account may differ from
// those of another view: it changes with usage, corrections, closes, credits and terms, and with
// time where a level goes on. 0: there is no such account.
func (v *View) Stamp(account string) uint64 {
	s := v.shardOf(account)
	i := s.findAccount(account)
	if i < 0 {
		return 0
	}
	a := s.accounts.at(i)
	h := mix(uint64(len(s.plans)), uint64(len(s.files)))
	h = mix(h^uint64(len(a.coupons)), uint64(len(a.taxes)))
	for j := range a.credits {
		for _, w := range a.credits[j].left.Words() {
			h = mix(h, w+uint64(j))
		}
	}
	for j := a.voided; j > 0; j = s.voids.at(j - 1).next {
		m := s.voids.at(j - 1)
		h = mix(h^m.digest, m.lo+uint64(one(m.gone)))
	}
	for _, j := range a.subs {
		h = s.stampSub(h, j)
	}
	return h | 1
}

func (s *state) stampSub(h uint64, index int32) uint64 {
	b := s.subs.at(index)
	h = mix(h^uint64(b.next), uint64(b.issued)+uint64(b.To))
	h = mix(h, uint64(one(b.next <= s.at)))
	levels := len(b.levels) > 0
	for p := b.newest; p >= 0; p = s.periods.at(p).older {
		r := s.periods.at(p)
		levels = levels || s.terms[r.terms].levels
		h = mix(h^r.rows, uint64(r.closedAt)+uint64(one(r.dirty)))
		for i := r.first; i >= 0; i = s.series.at(i).next {
			x := s.series.at(i)
			w := x.Value.Words()
			h = mix(h^x.Rows, mix(w[0]^w[1], w[2]))
		}
	}
	if levels {
		h = mix(h, uint64(s.watermark))
	}
	return h
}

// LastClosed returns the period of a subscription that was closed last, if the engine still keeps
// its usage; false if it does not, or if none is closed.
func (v *View) LastClosed(account, subscription string) (start, end Micros, ok bool) {
	s := v.shardOf(account)
	i := s.findAccount(account)
	if i < 0 {
		return 0, 0, false
	}
	for _, j := range s.accounts.at(i).subs {
		b := s.subs.at(j)
		for p := b.newest; p >= 0 && b.Key == subscription; p = s.periods.at(p).older {
			if r := s.periods.at(p); r.closedAt != Past && (!ok || r.start > start) {
				start, end, ok = r.start, r.end, true
			}
		}
	}
	return start, end, ok
}
