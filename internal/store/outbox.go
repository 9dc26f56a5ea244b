package store

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sort"
	"strings"
	"sync"

	"billctl/engine"
)

// RecordKind tells what an OutboxRecord holds. The numbers stand in outboxes for ever.
type RecordKind uint8

// The kinds of a record.
const (
	DocumentRecord   RecordKind = 1 // Key is the document's, Body its frozen bytes
	RejectionsRecord RecordKind = 2 // Body is of AppendRejections
	AlertRecord      RecordKind = 3 // Key is the alert's, Body its frozen bytes
)

// newestRecord is the newest kind that this program knows. What a newer program put beside its
// documents may be for sinks, so an outbox with other kinds is not opened.
const newestRecord = AlertRecord

// Delivered reports whether sinks get the records of a kind.
func (k RecordKind) Delivered() bool { return k == DocumentRecord || k == AlertRecord }

// OutboxRecord is one effect, or the rejections of one batch.
type OutboxRecord struct {
	Seq     engine.Seq // of the entry, or of the batch's first row
	Kind    RecordKind
	Key     string // at most 64 KiB
	Account string // at most 64 KiB
	Body    []byte
}

// Outbox is the log of effects in their order (docs/formats/outbox.md). A record's position is
// its number, from 0: it stays the same when a torn tail is cut and the record written again.
//
// One goroutine writes (Resume, Put, Append, Sync, Close); any number read meanwhile, and see
// what is durable only. After an error of writing every later call of Append, Put and Sync fails.
type Outbox struct {
	fs      FS
	genesis *Genesis
	log     *logFile // of the last segment; nil when opened read-only
	replay  *OutboxReader
	roll    int64 // bytes after which a segment is ended

	mu       sync.Mutex
	segments []outboxSegment
	marks    []outboxMark
	marked   int64            // bytes of records since the last mark
	hash     maphash.Seed     // of keys
	keys     map[uint64]int64 // hash of a document's key (or the next free one) -> position
	lastSeq  engine.Seq
	next     int64 // position of the next record
	sent     int64 // records that are for sinks
	durable  int64 // records before this position are durable
	resumed  int64 // position of the next record that Put compares
}

type outboxSegment struct {
	first int64
	path  string
}

// outboxMark is the place of one record in some dozens: of the others, where the search begins.
type outboxMark struct {
	pos     int64
	seq     engine.Seq
	segment int
	off     int64
	sent    int64 // records before it that are for sinks
}

const (
	outboxDir     = "outbox"
	outboxRoll    = 64 << 20
	markRecords   = 64
	markBytes     = 64 << 10
	maxRecordName = 64 << 10
)

var outboxMagic = [8]byte{'b', 'i', 'l', 'l', 'o', 'u', 't', '\n'}

// MismatchError says that what the engine says now is not what stands in the outbox: the journal
// was changed, or a rule without a new ruleset. Nothing may be delivered.
type MismatchError struct {
	Position int64
	Key      string // of the record in the outbox
	Seq      engine.Seq
	What     string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("outbox record %d (seq %d, key %q) differs from what the journal gives: %s",
		e.Position, e.Seq, e.Key, e.What)
}

// OpenOutbox opens the outbox, for writing if the Dir is. A torn tail is cut; damage before a
// promise is a *CorruptError, and a record of a newer billctl a *VersionError. All that is there is
// durable then.
//
// Opened read-only, beside a writer, it shows the records that were promised durable.
func (d *Dir) OpenOutbox() (*Outbox, error) {
	o := &Outbox{fs: d.fs, genesis: d.genesis, roll: outboxRoll,
		hash: maphash.MakeSeed(), keys: map[uint64]int64{}}
	err := o.open(d.lock == nil)
	if err != nil {
		return nil, fmt.Errorf("open outbox: %w", err)
	}
	return o, nil
}

// End returns the position behind the last record, durable or not.
func (o *Outbox) End() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next
}

// Durable returns the position behind the last record that no crash takes back.
func (o *Outbox) Durable() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.durable
}

// Resume prepares to apply entries of seq and later again: Put compares what it is given with the
// records of these entries before it appends.
func (o *Outbox) Resume(seq engine.Seq) error {
	if o.replay != nil {
		return errors.New("resume outbox: it was resumed before")
	}
	r := o.Read(o.before(seq))
	pos := int64(0)
	for {
		rec, at, err := r.Next()
		if err == io.EOF {
			pos = o.End()
			break
		} else if err != nil {
			return errors.Join(fmt.Errorf("resume outbox: %w", err), r.Close())
		}
		if pos = at; rec.Seq >= seq {
			break
		}
	}
	if err := r.Close(); err != nil {
		return fmt.Errorf("resume outbox: %w", err)
	}
	o.resumed = pos
	o.replay = o.Read(pos)
	return nil
}

// Unmatched returns how many records Put has still to compare. When every entry of the journal
// was applied and it is not 0, the outbox holds what the journal does not give.
func (o *Outbox) Unmatched() int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.next - o.resumed
}

// Put gives the next effect its place: behind the end it is appended, before the end it must be
// what stands there (*MismatchError). It returns the record's position.
func (o *Outbox) Put(rec OutboxRecord) (int64, error) {
	if o.Unmatched() == 0 {
		return o.Append(rec)
	}
	if o.replay == nil {
		panic("BUG: the outbox was not resumed")
	}
	have, pos, err := o.replay.Next()
	if err != nil {
		return 0, fmt.Errorf("compare with outbox: %w", err)
	}
	if what := differs(&have, &rec); what != "" {
		return 0, &MismatchError{pos, have.Key, have.Seq, what}
	}
	o.mu.Lock()
	o.resumed = pos + 1
	o.mu.Unlock()
	return pos, nil
}

// Append adds a record and returns its position. It is durable, and can be read, after Sync.
func (o *Outbox) Append(rec OutboxRecord) (int64, error) {
	if o.Unmatched() != 0 {
		panic("BUG: append to an outbox that has records to compare")
	}
	if o.log == nil {
		return 0, errors.New("append to outbox: it is open read-only")
	}
	payload, err := appendRecord(nil, &rec)
	if err != nil {
		return 0, fmt.Errorf("append to outbox: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if rec.Seq < o.lastSeq {
		return 0, fmt.Errorf("append to outbox: seq %d after %d", rec.Seq, o.lastSeq)
	}
	off, err := o.log.append(uint64(o.next), 1, payload)
	if err != nil {
		return 0, err
	}
	pos := o.next
	o.note(off, len(payload), &rec)
	o.resumed = o.next
	return pos, nil
}

// Sync makes every record durable, and lets readers see them.
func (o *Outbox) Sync() error {
	if o.log == nil {
		return errors.New("sync outbox: it is open read-only")
	}
	if err := o.log.sync(); err != nil {
		return err
	}
	if err := o.log.promise(uint64(o.next)); err != nil {
		return err
	}
	if o.log.end() > o.roll {
		if err := o.rollOver(); err != nil {
			return err
		}
	}
	o.mu.Lock()
	o.durable = o.next
	o.mu.Unlock()
	return nil
}

// Close makes every record durable and closes the outbox.
func (o *Outbox) Close() error {
	var err error
	if o.replay != nil {
		err = o.replay.Close()
	}
	if o.log != nil {
		err = errors.Join(err, o.log.close(uint64(o.next)))
	}
	return err
}

// Find returns the document with a key, if it is durable.
func (o *Outbox) Find(key string) (rec OutboxRecord, pos int64, found bool, err error) {
	for h := maphash.String(o.hash, key); ; h++ {
		o.mu.Lock()
		pos, there := o.keys[h]
		there = there && pos < o.durable
		o.mu.Unlock()
		if !there {
			return OutboxRecord{}, 0, false, nil
		}
		rec, err := o.at(pos)
		if err != nil {
			return OutboxRecord{}, 0, false, fmt.Errorf("find %q in outbox: %w", key, err)
		}
		if rec.Key == key {
			return rec, pos, true, nil
		}
	}
}

// RejectionOf returns why a row does not count, if a durable record says so.
func (o *Outbox) RejectionOf(seq engine.Seq) (engine.Reason, bool, error) {
	r := o.Read(o.before(seq))
	for {
		rec, _, err := r.Next()
		if err == io.EOF || err == nil && rec.Seq > seq {
			return engine.Accepted, false, r.Close()
		}
		if err != nil {
			return engine.Accepted, false, errors.Join(err, r.Close())
		}
		if rec.Kind != RejectionsRecord {
			continue
		}
		list, err := DecodeRejections(rec.Body)
		if err != nil {
			return engine.Accepted, false, errors.Join(err, r.Close())
		}
		i := sort.Search(len(list), func(i int) bool { return list[i].Seq >= seq })
		if i < len(list) && list[i].Seq == seq {
			return list[i].Reason, true, r.Close()
		}
	}
}

// Read returns a reader of the durable records from a position on.
func (o *Outbox) Read(from int64) *OutboxReader { return &OutboxReader{o: o, pos: from} }

// open scans all segments; the last one may have a torn tail.
func (o *Outbox) open(readOnly bool) error {
	names, err := o.fs.ReadDir(outboxDir)
	if err != nil {
		return err
	}
	if !readOnly {
		if err := removeTemps(o.fs, outboxDir); err != nil {
			return err
		}
	}
	for _, name := range names {
		if first, ok := parseOutboxName(name); ok {
			o.segments = append(o.segments, outboxSegment{first, outboxDir + "/" + name})
		}
	}
	if len(o.segments) == 0 {
		if readOnly {
			return nil
		}
		return o.newSegment()
	}
	for i := range o.segments {
		if o.segments[i].first != o.next {
			return &CorruptError{o.segments[i].path, 0,
				fmt.Sprintf("it begins at record %d, want %d", o.segments[i].first, o.next)}
		}
		switch last := i == len(o.segments)-1; {
		case !last:
			err = o.scanSegment(i, true)
		case readOnly:
			err = o.scanSegment(i, false)
		default:
			o.log, err = openLog(o.fs, o.segments[i].path, o.header(i), 0,
				func(at int64, h frameHeader, payload []byte) error {
					return o.visit(i, at, h, payload)
				})
		}
		if err != nil {
			return err
		}
	}
	o.durable, o.resumed = o.next, o.next
	return nil
}

// scanSegment reads a segment: one that was ended has no torn tail, and of one that another
// process writes to what is promised counts.
func (o *Outbox) scanSegment(i int, ended bool) error {
	seg := o.segments[i]
	f, err := o.fs.Open(seg.path)
	if err != nil {
		return err
	}
	r, err := openFrames(f, seg.path, o.header(i))
	if err != nil {
		return errors.Join(err, f.Close())
	}
	var waiting []func() error
	var ends []int64
	settle := func(promised int64) error {
		for len(ends) > 0 && ends[0] <= promised {
			if err := waiting[0](); err != nil {
				return err
			}
			waiting, ends = waiting[1:], ends[1:]
		}
		return nil
	}
	scan, err := scanFrames(r, seg.path, 0, func(at int64, h frameHeader, payload []byte) error {
		if h.Kind == entriesFrame {
			payload = bytes.Clone(payload)
			waiting = append(waiting, func() error { return o.visit(i, at, h, payload) })
			ends = append(ends, at+h.size())
		}
		return settle(h.Promised)
	})
	if err == nil {
		err = settle(scan.promised)
	}
	if err == nil && ended && (len(ends) > 0 || scan.end < r.size) {
		err = r.damage(seg.path, r.size)
	}
	return errors.Join(err, f.Close())
}

func (o *Outbox) visit(segment int, at int64, h frameHeader, payload []byte) error {
	path := o.segments[segment].path
	if err := h.follows(path, at, uint64(o.next)); err != nil {
		return err
	}
	rec, err := decodeRecord(payload)
	if err != nil || h.Count != 1 {
		return &CorruptError{path, at, "it is no outbox record"}
	}
	if rec.Kind > newestRecord {
		return &VersionError{
			Path:  fmt.Sprintf("%s: record %d: kind of record", path, o.next),
			Found: int(rec.Kind), Known: int(newestRecord),
		}
	}
	o.note(at, len(payload), &rec)
	return nil
}

// note takes a record into the indexes; it stands in the last segment that was opened.
func (o *Outbox) note(off int64, size int, rec *OutboxRecord) {
	segment := sort.Search(len(o.segments), func(i int) bool {
		return o.segments[i].first > o.next
	}) - 1
	n := len(o.marks)
	if n == 0 || o.next-o.marks[n-1].pos >= markRecords || o.marked >= markBytes ||
		o.marks[n-1].segment != segment {
		o.marks = append(o.marks, outboxMark{o.next, rec.Seq, segment, off, o.sent})
		o.marked = 0
	}
	o.marked += int64(size)
	if rec.Kind == DocumentRecord {
		h := maphash.String(o.hash, rec.Key)
		for _, taken := o.keys[h]; taken; _, taken = o.keys[h] {
			h++
		}
		o.keys[h] = o.next
	}
	if rec.Kind.Delivered() {
		o.sent++
	}
	o.lastSeq = rec.Seq
	o.next++
}

// before returns a position before which no record is of seq or has a rejection of it.
func (o *Outbox) before(seq engine.Seq) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	// Records of one Seq may lie on both sides of a mark: search for the first of them.
	i := sort.Search(len(o.marks), func(i int) bool { return o.marks[i].seq > seq })
	if i == 0 {
		return 0
	}
	low := o.marks[i-1].seq
	i = sort.Search(i, func(i int) bool { return o.marks[i].seq >= low })
	return o.marks[max(i-1, 0)].pos
}

// markOf returns the last mark that is not behind a position.
func (o *Outbox) markOf(pos int64) outboxMark {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.marks[sort.Search(len(o.marks), func(i int) bool { return o.marks[i].pos > pos })-1]
}

func (o *Outbox) at(pos int64) (OutboxRecord, error) {
	r := o.Read(pos)
	rec, _, err := r.Next()
	return rec, errors.Join(err, r.Close())
}

func (o *Outbox) newSegment() error {
	name := fmt.Sprintf("%s/%020d.log", outboxDir, o.next)
	segment := outboxSegment{o.next, name}
	log, err := createLog(o.fs, name, o.headerOf(segment))
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.segments = append(o.segments, segment)
	o.mu.Unlock()
	o.log = log
	return nil
}

// rollOver ends the last segment, all of it promised, and begins another one.
func (o *Outbox) rollOver() error {
	if err := o.log.close(uint64(o.next)); err != nil {
		return err
	}
	if err := o.newSegment(); err != nil {
		o.log.err = err
		return err
	}
	return nil
}

func (o *Outbox) lockedHeader(segment int) *logHeader {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.header(segment)
}

func (o *Outbox) header(segment int) *logHeader { return o.headerOf(o.segments[segment]) }

func (o *Outbox) headerOf(s outboxSegment) *logHeader {
	return &logHeader{outboxMagic, o.genesis.Partition, o.genesis.Journal, uint64(s.first)}
}

func parseOutboxName(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok || len(digits) != 20 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(digits) {
		if c < '0' || c > '9' || n > (1<<63-10)/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// differs says in what two records differ; "" when they are equal.
func differs(have, want *OutboxRecord) string {
	switch {
	case have.Seq != want.Seq:
		return fmt.Sprintf("seq %d, now %d", have.Seq, want.Seq)
	case have.Kind != want.Kind:
		return fmt.Sprintf("kind %d, now %d", have.Kind, want.Kind)
	case have.Key != want.Key:
		return fmt.Sprintf("key %q, now %q", have.Key, want.Key)
	case have.Account != want.Account:
		return fmt.Sprintf("account %q, now %q", have.Account, want.Account)
	case !bytes.Equal(have.Body, want.Body):
		i := 0
		for i < len(have.Body) && i < len(want.Body) && have.Body[i] == want.Body[i] {
			i++
		}
		return fmt.Sprintf("its %d bytes, now %d, differ from byte %d on",
			len(have.Body), len(want.Body), i)
	}
	return ""
}
