package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/formats"
	"billctl/internal/live"
)

func newEvents(s *session) *cobra.Command {
	return group("events", "Take events back, or change them, after they counted",
		newEventsVoid(s), newEventsAmend(s))
}

// correctFlags are the flags of events void and events amend.
type correctFlags struct {
	applyFlags
	file, source, output string
	skipUnknown          bool
	amend                bool
}

func newEventsVoid(s *session) *cobra.Command {
	var f correctFlags
	c := &cobra.Command{
		Use:   "void --file FILE --reason TEXT",
		Short: "Take back events that counted",
		Long: `Takes back events that counted, as if they had never come. Each line of the file names one:
{"id": ..., "source": ..., "subject": ...}, or is the event as it was sent. Where several accounts
have events of one id and source, the subject tells which one is meant, or "time".

An open period is rated without them at once. Of a closed one the next invoice has the difference,
as it has for usage that comes late. Events that are too old, and meters that can't give back what
they counted (docs/semantics.md, "Corrections"), are rejected, each by itself and with a reason.

The file is all or nothing as far as its events are known: with one line that names no accepted
event nothing is written. --skip-unknown leaves such lines out.`,
		Example: `  billctl events void --file wrong.ndjson --reason 'test traffic' --dry-run
  jq -c '{id, source, subject}' wrong.ndjson | billctl events void --file - --reason 'ticket 4711'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return s.correct(&f) },
	}
	f.addTo(c)
	return c
}

func newEventsAmend(s *session) *cobra.Command {
	f := correctFlags{amend: true}
	c := &cobra.Command{
		Use:   "amend --file FILE --reason TEXT",
		Short: "Replace events that counted by another version",
		Long: `Replaces events that counted by another version of themselves: one entry takes the old
version back and counts the new one, or does neither. Each line of the file is a whole event with
the id, source and subject of the original; type, time and data may differ. Lines are CloudEvents,
or what the configured source named by --source reads. A line without a time keeps the original's.

The new version is judged as any row is. What billctl events void --help says of open and closed
periods, and of the file as a whole, holds here too.`,
		Example: `  billctl events amend --file fixed.ndjson --reason 'wrong unit' --dry-run
  billctl events amend --file fixed.csv --source calls --reason 'wrong unit'`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return s.correct(&f) },
	}
	f.addTo(c)
	return c
}

func (f *correctFlags) addTo(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.file, "file", "", "`file` of events, one a line; - is standard input")
	flags.StringVar(&f.source, "source", "",
		"read the lines as the configured source of this `name` does")
	flags.BoolVar(&f.skipUnknown, "skip-unknown", false,
		"leave out lines that name no event which counts")
	flags.StringVar(&f.reason, "reason", "", "why, for the journal; needed")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would change and change nothing")
	outputFlag(c, &f.output)
}

func (f *correctFlags) check() error {
	switch {
	case f.output != "table" && f.output != "json":
		return badOutput(f.output)
	case f.file == "":
		return usageError("--file is missing: name the file of events, or - for standard input")
	case strings.TrimSpace(f.reason) == "":
		return usageError("--reason is missing: the journal keeps why events were corrected")
	}
	return nil
}

// correct takes back or changes the events of a file.
func (s *session) correct(f *correctFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	lines, err := s.readCorrections(f)
	if err != nil {
		return err
	}
	a := &corrected{flags: f, name: correctionName(f.file)}
	desk, done, err := s.desk()
	if err != nil {
		return err
	}
	err = s.findOriginals(desk, lines, a)
	if err == nil && f.dryRun {
		err = a.rehearse(desk)
	}
	if err = errors.Join(err, done()); err != nil {
		return err
	}
	for _, text := range a.skipped {
		s.say("left out: %s", text)
	}
	if !f.dryRun {
		if err := s.journalVoids(a); err != nil {
			return err
		}
	}
	if err := s.correctedAnswer(a); err != nil {
		return err
	}
	return a.outcome()
}

// correction is one line of the file with the event that it is about.
type correction struct {
	line   int
	void   *engine.Void
	reason engine.Reason // why the engine rejects it
	dry    *live.RehearsedEvent
}

// corrected is what becomes of a file.
type corrected struct {
	flags     *correctFlags
	name      string
	list      []correction
	skipped   []string
	rehearsal *live.Rehearsal // of a dry run
}

// findOriginals finds the events that the lines name. Without --skip-unknown each must be one that
// counts.
func (s *session) findOriginals(desk *live.Desk, lines []correctionLine, a *corrected) error {
	wants := make([]live.Wanted, len(lines))
	for i := range lines {
		wants[i] = lines[i].wanted
	}
	start, bar := time.Now(), newProgress(s)
	found, since, err := desk.FindEvents(s.ctx, wants, func(seq engine.Seq) {
		bar.line(fmt.Sprintf("looking for the events: position %s, %s", grouped(uint64(seq)),
			time.Since(start).Round(time.Second)))
	})
	bar.clear()
	if err != nil {
		return s.inState(err)
	}
	var faults []string
	lineOf := map[engine.Seq]int{}
	for i := range lines {
		l := &lines[i]
		v, unknown, fault := l.pick(&found[i], since)
		if v != nil && fault == "" && lineOf[v.Of] != 0 {
			fault = fmt.Sprintf("event %q is named by line %d already", l.wanted.ID, lineOf[v.Of])
		}
		if fault != "" {
			fault = fmt.Sprintf("%s:%d: %s", a.name, l.line, formats.Visible(fault))
			if unknown && a.flags.skipUnknown {
				a.skipped = append(a.skipped, fault)
			} else {
				faults = append(faults, fault)
			}
			continue
		}
		lineOf[v.Of] = l.line
		a.list = append(a.list, correction{line: l.line, void: &engine.Void{
			Of: v.Of, Row: v.Row, Amend: l.amend, Actor: actor(), Reason: a.flags.reason,
		}})
	}
	if len(faults) == 0 {
		return nil
	}
	for _, text := range brief(faults[:len(faults)-1]) {
		s.say("error: %s", text)
	}
	return &exitError{
		code: exitFailed, text: faults[len(faults)-1],
		hint: "nothing was written; billctl query event ID shows an event, and --skip-unknown leaves " +
			"out lines that name none which counts",
	}
}

// pick chooses the version that a line is about, and completes a new version from it. unknown says
// that the fault is that no event counts which the line names.
func (l *correctionLine) pick(
	f *live.Found, since engine.Micros,
) (v *live.Version, unknown bool, fault string) {
	id := l.wanted.ID
	fits := 0
	subject := ""
	for i := range f.Versions {
		subject, _ = f.Versions[i].Row.Subject.At(0)
		if l.fits(&f.Versions[i]) {
			v = &f.Versions[i]
			fits++
		}
	}
	switch {
	case fits > 1:
		return nil, false, fmt.Sprintf("%d accepted events have the id %q: say which by source, subject "+
			"or time", fits, id)
	case fits == 1 && v.Voided != 0:
		return v, true, fmt.Sprintf("event %q was taken back before, by seq %d", id, v.Voided)
	case fits == 1 && !l.complete(v):
		return v, true, fmt.Sprintf("event %q says that already", id)
	case fits == 1:
		return v, false, ""
	case len(f.Versions) == 1 && l.amend != nil:
		return nil, false, fmt.Sprintf("event %q is of subject %s: a new version keeps it", id, subject)
	case len(f.Versions) > 0:
		return nil, false, fmt.Sprintf("event %q has another subject or time", id)
	case f.Rejected > 0:
		return nil, true, fmt.Sprintf("event %q never counted: it was rejected (%s)", id, f.Why)
	case since != engine.Past:
		return nil, true, fmt.Sprintf("no event with the id %q was accepted since %s; what is older "+
			"can't be corrected any more", id, since)
	}
	return nil, true, fmt.Sprintf("no event with the id %q was accepted", id)
}

// fits reports whether an event has the subject and time that the line says.
func (l *correctionLine) fits(v *live.Version) bool {
	subject, _ := v.Row.Subject.At(0)
	return (l.subject == "" || l.subject == subject) &&
		(l.time == engine.Past || l.time == v.Row.Time[0])
}

// complete gives a new version the time of the original where it has none. It is false for a new
// version that says what the original does.
func (l *correctionLine) complete(v *live.Version) bool {
	if l.amend == nil {
		return true
	}
	if l.amend.TimeDefaulted.Has(0) {
		l.amend.Time[0] = v.Row.Time[0]
		if !v.Row.TimeDefaulted.Has(0) {
			l.amend.TimeDefaulted = nil
		}
		l.amend.Digest = formats.RowDigests(l.amend, nil)
	}
	return l.amend.Digest[0] != v.Row.Digest[0]
}

// A control file of corrections takes so many, and so many bytes: the process that applies it does
// nothing else meanwhile.
const (
	voidsPerFile     = 5_000
	voidBytesPerFile = 4 << 20
)

// journalVoids has the corrections journaled and notes which were rejected.
func (s *session) journalVoids(a *corrected) error {
	var files [][]byte
	var first []int // of each file, in a.list
	var bodies []engine.Body
	size := 0
	flush := func() {
		// A file is applied once, by its bytes. Corrections that were rejected may be given again, so
		// each file has bytes of its own.
		nonce := &engine.Change{Actor: actor(), Reason: a.flags.reason}
		copy(nonce.File[:], rand.Text())
		files = append(files, live.EncodeControl(append(bodies, nonce)...))
		bodies, size = nil, 0
	}
	for i := range a.list {
		v := a.list[i].void
		if len(bodies) == 0 {
			first = append(first, i)
		}
		bodies = append(bodies, v)
		if size += voidSize(v); len(bodies) == voidsPerFile || size >= voidBytesPerFile {
			flush()
		}
	}
	if len(bodies) > 0 {
		flush()
	}
	judged, err := s.putControls(files)
	for file, list := range judged {
		for _, j := range list {
			a.list[first[file]+j.Index].reason = j.Reason
		}
	}
	return err
}

func voidSize(v *engine.Void) int {
	return len(engine.AppendEntry(nil, &engine.Entry{Body: v}))
}

// rehearse finds out what the corrections would do.
func (a *corrected) rehearse(desk *live.Desk) error {
	voids := make([]*engine.Void, len(a.list))
	for i := range a.list {
		voids[i] = a.list[i].void
	}
	var err error
	a.rehearsal, err = desk.Rehearse(voids, engine.Micros(time.Now().UnixMicro()))
	if err != nil {
		return err
	}
	for i := range a.list {
		a.list[i].dry = &a.rehearsal.Events[i]
		a.list[i].reason = a.list[i].dry.Reason
	}
	return nil
}

// rejected returns how many corrections the engine rejects, and the reason of the first.
func (a *corrected) rejected() (n int, first engine.Reason) {
	for i := range a.list {
		if r := a.list[i].reason; r != engine.Accepted {
			n++
			first = cmp.Or(first, r)
		}
	}
	return n, first
}

// outcome chooses the exit code.
func (a *corrected) outcome() error {
	n, first := a.rejected()
	if n == 0 {
		return nil
	}
	text := "rejected: "
	if a.flags.dryRun {
		text = "would be rejected: "
	}
	return &exitError{
		code: exitRejected, text: text + counted(uint64(n), "correction"),
		hint: correctionAdvice(first),
	}
}

// correctionAdvice says what a reason means for a correction.
func correctionAdvice(reason engine.Reason) string {
	switch reason {
	case engine.ReasonTooLate:
		return "too_late: the event's time or its period lies too far back; grant a credit in its " +
			"place: billctl credits grant --help"
	case engine.ReasonNotCorrectable:
		return "not_correctable: a meter of the event does not keep enough to give it back; one with " +
			"correctable: true does"
	case engine.ReasonUnknownEvent:
		return "unknown_event: the source checks no ids, or the event is older than they are kept"
	case engine.ReasonVoided, engine.ReasonConflict:
		return reason.String() + ": it was corrected since; look at it: billctl query event ID"
	}
	return reason.String() + ": docs/semantics.md says what it means"
}
