package live

import (
	"time"

	"billctl/engine"
)

// progress is how far event times of the sources are complete (docs/semantics.md, "Watermark").
type progress struct {
	sources  []sourceProgress
	finite   bool // all sources end: none is complete before all have ended
	greatest engine.Micros
}

// sourceProgress is what the sequencer knows of one source.
type sourceProgress struct {
	name     string
	disorder engine.Micros
	stream   bool          // it can't say that it is caught up: silence alone tells
	idle     engine.Micros // of a stream; 0: never
	status   Status        // of the last parcel that had one
	through  engine.Micros // complete, as far as it ever was; Past before the first time
	eof      bool
	greatest engine.Micros // as in engine.Control: also of what the journal had at the start
	last     engine.Micros // when rows came last, or the start
	fed      bool          // rows came since the status
}

// rows notes the event times of a batch that was accepted at an instant.
func (p *progress) rows(source int, b *engine.Batch, at engine.Micros) {
	s := &p.sources[source]
	s.last, s.fed = at, true
	s.greatest = max(s.greatest, b.GreatestTime(at))
	p.greatest = max(p.greatest, s.greatest)
}

// status notes what a source said of itself.
func (p *progress) status(source int, st Status) {
	if st.At.IsZero() {
		return
	}
	s := &p.sources[source]
	s.status, s.fed = st, false
	s.eof = s.eof || st.EOF
	if st.CaughtUp {
		s.through = max(s.through, engine.Micros(st.At.UnixMicro())-s.disorder)
	}
}

// ended reports whether every source was read to its end. Followed files have none.
func (p *progress) ended() bool {
	for i := range p.sources {
		if !p.sources[i].eof {
			return false
		}
	}
	return p.finite || len(p.sources) > 0
}

// caughtUp reports whether every source was read to its present end.
func (p *progress) caughtUp() bool {
	for i := range p.sources {
		if s := &p.sources[i]; !s.eof && (!s.status.CaughtUp || s.fed) {
			return false
		}
	}
	return true
}

// watermark returns the instant before which event times are complete, engine.Past if none is.
func (p *progress) watermark(now engine.Micros) engine.Micros {
	if len(p.sources) == 0 {
		return engine.Past
	}
	if p.finite {
		if !p.ended() || p.greatest == engine.Past {
			return engine.Past
		}
		disorder := engine.Micros(0)
		for i := range p.sources {
			disorder = max(disorder, p.sources[i].disorder)
		}
		return p.greatest - disorder
	}
	w := engine.Future
	for i := range p.sources {
		w = min(w, p.sources[i].complete(now))
	}
	return w
}

// complete returns how far one followed source is complete: through the last instant at which all
// that there was had been read, less its disorder. While it lags it stays where it is, whatever is
// read: of several files the newest may come first.
func (s *sourceProgress) complete(now engine.Micros) engine.Micros {
	if s.eof || s.stream && s.idle > 0 && now-s.last >= s.idle {
		return now - s.disorder
	}
	return min(s.through, now-s.disorder)
}

// lag returns how long ago the source was complete up to now; 0 for a source at its end.
func (s *sourceProgress) lag(now engine.Micros) time.Duration {
	if s.eof || s.status.CaughtUp && !s.fed {
		return 0
	}
	if s.greatest == engine.Past {
		return -1
	}
	return time.Duration(now-s.greatest) * time.Microsecond
}
