package tui

import (
	"fmt"
	"time"
)

// position is what an answer is true of, as far as it is read here.
type position struct {
	Journal         string       `json:"journal"`
	Seq             uint64       `json:"seq"`
	At              *string      `json:"at"`
	Watermark       *string      `json:"watermark"`
	CompleteThrough *string      `json:"complete_through"`
	Status          string       `json:"status"`
	Opening         string       `json:"opening"`
	Sources         []sourcePart `json:"sources"`
}

func readPosition(body []byte) (position, error) {
	var a struct {
		Position position `json:"position"`
	}
	err := readAnswer(body, &a)
	return a.Position, err
}

// link is whether somebody answers, and how far the figures that are shown have come.
type link struct {
	where   string
	asked   int       // questions so far
	away    error     // why nobody answers; nil: somebody does
	since   time.Time // when that was noticed
	number  int       // the last question before that: it tells nothing about now
	epoch   int       // counts the times that somebody else may have begun to answer
	judged  int       // the last epoch whose first position was compared
	shown   position  // the furthest that was shown
	started string    // when the process did that answers
	place   string    // where, when something was shown last
}

// lose notes that nobody answers.
func (l *link) lose(why error, now time.Time) {
	if l.away == nil {
		l.since, l.number = now, l.asked
		l.epoch++
	}
	l.away = why
}

// lost says whether a question is of before the time since which nobody answers.
func (l *link) lost(q *question) bool { return l.away != nil && q.number <= l.number }

// found notes that somebody answers.
func (l *link) found() { l.away = nil }

// process notes when the process started: another one may have begun between two questions.
func (l *link) process(started string) {
	if l.started != "" && started != "" && l.started != started && l.judged == l.epoch {
		l.epoch++
	}
	if started != "" {
		l.started = started
	}
}

// arrival is what is to be said of a position.
type arrival struct {
	anew  bool // another journal: nothing that is shown holds
	ink   ink
	words string
}

// arrive compares the position of an answer with what was shown before.
func (l *link) arrive(at position, where string) arrival {
	l.found()
	if l.place != where && l.place != "" && l.judged == l.epoch {
		l.epoch++
	}
	l.place = where
	before := l.shown
	first := l.judged != l.epoch
	l.judged = l.epoch
	switch {
	case before.Journal == "":
		l.shown = at
		return arrival{}
	case before.Journal != at.Journal:
		l.shown = at
		return arrival{anew: true, words: fmt.Sprintf(
			"another journal answers now: %s. All figures are of it", short(at.Journal))}
	case !first:
		return arrival{}
	case at.Seq < before.Seq:
		l.shown = at
		return arrival{ink: bad, words: backWords(before.Seq, at.Seq)}
	}
	return arrival{ink: good, words: fmt.Sprintf("reconnected, no figure went back: position %s -> %s",
		count(before.Seq), count(at.Seq))}
}

// show notes that figures of a position are shown.
func (l *link) show(at position) {
	if at.Journal != l.shown.Journal || at.Seq >= l.shown.Seq {
		l.shown = at
	}
}

func backWords(from, to uint64) string {
	return fmt.Sprintf("FIGURES WENT BACK: position %s -> %s of the same journal",
		count(from), count(to))
}

// short is enough of a digest to tell it from another one.
func short(s string) string { return s[:min(len(s), 8)] }

// count writes a count as people read it.
func count(n uint64) string { return grouped(fmt.Sprint(n)) }
