package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"

	"billctl/engine"
)

// Delivery is what a sink's cursor log knows of one document.
type Delivery struct {
	Position int64  // in the outbox
	Key      string // of the document
	Attempts int
	First    engine.Micros // of the first attempt
	Last     engine.Micros // of the last attempt
	State    DeliveryState
	Reason   string // Parked: why; Done: what was said on resolving, "" after an Ack
}

// DeliveryState is where a document stands with one sink. The numbers stand in logs for ever.
type DeliveryState uint8

// The states of a delivery.
const (
	Waiting   DeliveryState = 0 // never sent
	Attempted DeliveryState = 1 // sent, perhaps: it has to be sent again, under the same key
	Parked    DeliveryState = 2 // not sent again until a person says so
	Done      DeliveryState = 3 // the sink has it, or a person resolved it
)

// Cursor is the log of one sink's deliveries (docs/formats/outbox.md, "Cursor logs"). What it
// knows survives a crash: an attempt is durable before Attempt returns, so that after a crash a
// document that may have been sent is never taken for one that was not.
//
// Documents are offered in the order of the outbox, from Done on. All methods may be called from
// several goroutines. After an error of writing every later call that writes fails.
type Cursor struct {
	fs     FS
	path   string
	header *logHeader
	small  int64 // bytes up to which the log is not compacted

	mu      sync.Mutex
	log     *logFile
	next    uint64              // number of the next frame
	done    int64               // every document before it is done
	saved   int64               // what the log knows of done
	offered int64               // documents before it were offered
	open    map[int64]*Delivery // from done on: offered ones, and those the log knows
	err     error
}

// The kinds of a cursor record. The numbers stand in logs for ever.
const (
	cursorDone  = 1 // every document before a position is done
	cursorState = 2 // all of a Delivery
)

const (
	cursorDir    = "cursor"
	cursorSmall  = 1 << 20
	cursorStep   = 1024 // documents that done moves over before the log is told
	maxReason    = 4 << 10
	maxSinkName  = 64
	cursorSuffix = ".log"
)

var cursorMagic = [8]byte{'b', 'i', 'l', 'l', 'c', 'u', 'r', '\n'}

// OpenCursor opens the cursor log of a sink, which it makes if need be. The name has 1 to 64 of
// a-z, A-Z, 0-9, '-', '_' and '.', and does not begin with '.'. A torn tail is cut; damage before
// a promise is a *CorruptError.
func (d *Dir) OpenCursor(sink string) (*Cursor, error) {
	if !isSinkName(sink) {
		return nil, fmt.Errorf("open cursor: %q is no name of a sink", sink)
	}
	path := cursorDir + "/" + sink + cursorSuffix
	c := &Cursor{fs: d.fs, path: path, small: cursorSmall, open: map[int64]*Delivery{},
		header: &logHeader{cursorMagic, d.genesis.Partition, d.genesis.Journal,
			uint64(crc32.Checksum([]byte(sink), castagnoli))}}
	if _, err := d.fs.Stat(path); isNotExist(err) {
		c.log, err = createLog(d.fs, path, c.header)
		return c, err
	} else if err != nil {
		return nil, fmt.Errorf("open cursor: %w", err)
	}
	log, err := openLog(d.fs, path, c.header, 0, c.visit)
	if err != nil {
		return nil, fmt.Errorf("open cursor: %w", err)
	}
	c.log, c.offered = log, c.done
	return c, nil
}

// Cursors returns the names of the sinks that have a cursor log, sorted.
func (d *Dir) Cursors() ([]string, error) {
	names, err := d.fs.ReadDir(cursorDir)
	if err != nil {
		return nil, fmt.Errorf("list cursors: %w", err)
	}
	var sinks []string
	for _, name := range names {
		if sink, ok := strings.CutSuffix(name, cursorSuffix); ok && isSinkName(sink) {
			sinks = append(sinks, sink)
		}
	}
	return sinks, nil
}

// ReadCursor returns what the cursor log of a sink knows: a position before which everything is
// done (it may lag by some 1,000 documents), and the deliveries behind it that were attempted and
// are not done, by rising position. It writes nothing and works beside a running process. A sink
// without a log has 0 and none.
func (d *Dir) ReadCursor(sink string) (done int64, list []Delivery, err error) {
	c, err := d.loadCursor(sink)
	if err != nil {
		return 0, nil, err
	}
	return c.done, c.Open(), nil
}

// CursorState is what a cursor knows at one moment.
type CursorState struct {
	Done    int64      // every document before it is done
	Offered int64      // documents before it are done or in Known; at least Done
	Known   []Delivery // of documents from Done on, by rising position; done ones too
}

// ReadCursorState returns what the cursor log of a sink knows. Documents from Done on that are not
// in Known were never sent. It works as ReadCursor does.
func (d *Dir) ReadCursorState(sink string) (CursorState, error) {
	c, err := d.loadCursor(sink)
	if err != nil {
		return CursorState{}, err
	}
	c.offered = c.done
	return c.Snapshot(), nil
}

// Snapshot returns what is known now.
func (c *Cursor) Snapshot() CursorState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := CursorState{Done: c.done, Offered: c.offered}
	for _, pos := range slices.Sorted(maps.Keys(c.open)) {
		s.Known = append(s.Known, *c.open[pos])
	}
	return s
}

// loadCursor reads the cursor log of a sink.
func (d *Dir) loadCursor(sink string) (*Cursor, error) {
	if !isSinkName(sink) {
		return nil, fmt.Errorf("read cursor: %q is no name of a sink", sink)
	}
	path := cursorDir + "/" + sink + cursorSuffix
	c := &Cursor{path: path, open: map[int64]*Delivery{},
		header: &logHeader{cursorMagic, d.genesis.Partition, d.genesis.Journal,
			uint64(crc32.Checksum([]byte(sink), castagnoli))}}
	f, err := d.fs.Open(path)
	if isNotExist(err) {
		return c, nil
	} else if err != nil {
		return nil, fmt.Errorf("read cursor: %w", err)
	}
	frames, err := openFrames(f, path, c.header)
	if err == nil {
		_, err = scanFrames(frames, path, 0, func(at int64, h frameHeader, p []byte) error {
			if h.Kind != entriesFrame {
				return nil
			}
			return c.visit(at, h, p)
		})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read cursor: %w", err)
	}
	return c, nil
}

// Done returns the position before which every document is done: where a delivery begins to read
// the outbox, and Offer is called first.
func (c *Cursor) Done() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done
}

// Offer tells of the next document of the outbox and returns what is known of it. Positions rise
// from call to call, from Done on; records that are no documents are left out.
func (c *Cursor) Offer(pos int64, key string) (Delivery, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pos < c.offered {
		return Delivery{}, fmt.Errorf("offer document %d: %d was offered before", pos, c.offered-1)
	}
	c.offered = pos + 1
	d := c.open[pos]
	if d == nil {
		d = &Delivery{Position: pos, Key: key}
		c.open[pos] = d
	} else if d.Key != key {
		return Delivery{}, &CorruptError{c.path, 0,
			fmt.Sprintf("document %d is %q in it and %q in the outbox", pos, d.Key, key)}
	}
	was := *d
	c.settle()
	return was, nil
}

// State returns what is known of a document. Documents that are done and behind are Done without
// a key; such as were neither offered nor attempted are Waiting.
func (c *Cursor) State(pos int64) Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.open[pos]; d != nil {
		return *d
	}
	if pos < c.done {
		return Delivery{Position: pos, State: Done}
	}
	return Delivery{Position: pos}
}

// Open returns the documents that are not done and were offered or attempted, by rising position.
func (c *Cursor) Open() []Delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Delivery
	for _, pos := range slices.Sorted(maps.Keys(c.open)) {
		if d := c.open[pos]; d.State != Done {
			list = append(list, *d)
		}
	}
	return list
}

// Attempt notes that documents are about to be sent, and returns when that is durable: only then
// may they be sent. One call for several documents costs one sync. A parked document is sent
// again after it.
func (c *Cursor) Attempt(at engine.Micros, positions ...int64) error {
	return c.change("attempt", true, positions, func(d *Delivery) {
		if d.Attempts == 0 {
			d.First = at
		}
		d.Attempts++
		d.Last, d.State, d.Reason = at, Attempted, ""
	})
}

// Ack notes that the sink has the documents. It is durable with the next Sync, Attempt, Park or
// Resolve; what a crash of the machine takes of it is sent again under the same key.
func (c *Cursor) Ack(positions ...int64) error {
	return c.change("ack", false, positions, func(d *Delivery) { d.State, d.Reason = Done, "" })
}

// Park notes that a document is not sent again until a person says so, and why (cut to 4 KiB).
// It is durable when it returns.
func (c *Cursor) Park(pos int64, reason string) error {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	return c.change("park", true, []int64{pos}, func(d *Delivery) {
		d.State, d.Reason = Parked, reason
	})
}

// Resolve notes that a person declared a document done, and what was said (cut to 4 KiB). It is
// durable when it returns.
func (c *Cursor) Resolve(pos int64, reason string) error {
	reason = strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	return c.change("resolve", true, []int64{pos}, func(d *Delivery) {
		d.State, d.Reason = Done, reason
	})
}

// Sync makes everything durable.
func (c *Cursor) Sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sync()
}

// Close makes everything durable and closes the log.
func (c *Cursor) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.done > c.saved {
		c.err = c.save()
	}
	err := c.err
	c.err = ErrClosed
	return errors.Join(err, c.log.close(c.next))
}

// change writes the new state of documents and then has it.
func (c *Cursor) change(
	verb string, durable bool, positions []int64, edit func(*Delivery),
) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	for _, pos := range positions {
		d := c.open[pos]
		if d == nil || d.State == Done {
			return fmt.Errorf("%s document %d: it is not open", verb, pos)
		}
		next := *d
		edit(&next)
		if err := c.write(appendDelivery(nil, &next)); err != nil {
			return err
		}
		*d = next
	}
	if durable {
		if err := c.sync(); err != nil {
			return err
		}
	} else if err := c.log.writeBoth(nil); err != nil { // an exit without Close keeps it
		c.err = err
		return err
	}
	c.settle()
	if c.done-c.saved >= cursorStep {
		if err := c.save(); err != nil {
			return err
		}
	}
	return c.compact()
}

// save tells the log how far all is done, so that a start need not read what is before.
func (c *Cursor) save() error {
	if err := c.write(appendDone(nil, c.done)); err != nil {
		return err
	}
	c.saved = c.done
	return nil
}

func (c *Cursor) write(payload []byte) error {
	if _, err := c.log.append(c.next, 1, payload); err != nil {
		c.err = err
		return err
	}
	c.next++
	return nil
}

func (c *Cursor) sync() error {
	if c.err != nil {
		return c.err
	}
	if c.err = c.log.sync(); c.err == nil {
		c.err = c.log.promise(c.next)
	}
	return c.err
}

// settle moves done over the documents that are done.
func (c *Cursor) settle() {
	for c.done < c.offered {
		if d := c.open[c.done]; d != nil && d.State != Done {
			return
		}
		delete(c.open, c.done)
		c.done++
	}
}

// compact writes the log anew when most of it is history. A crash leaves the old log or the new
// one, which say the same.
func (c *Cursor) compact() error {
	if c.log.end() < c.small || c.log.end() < 4*c.weight() {
		return nil
	}
	if c.err = c.rewrite(); c.err != nil {
		return c.err
	}
	return nil
}

// weight estimates the bytes of a compacted log.
func (c *Cursor) weight() int64 { return logHeaderSize + 160*int64(len(c.open)+1) }

func (c *Cursor) rewrite() error {
	data := c.header.encode()
	n := uint64(0)
	add := func(payload []byte) {
		h := frameHeader{Kind: entriesFrame, Count: 1, First: n, Promised: logHeaderSize}
		data = appendFrame(data, c.header.seed(), int64(len(data)), h, payload)
		n++
	}
	add(appendDone(nil, c.done))
	for _, pos := range slices.Sorted(maps.Keys(c.open)) {
		if d := c.open[pos]; d.State != Waiting {
			add(appendDelivery(nil, d))
		}
	}
	h := frameHeader{Kind: promiseFrame, First: n, Promised: int64(len(data))}
	data = appendFrame(data, c.header.seed(), int64(len(data)), h, nil)
	if err := c.log.f.Close(); err != nil {
		return &FailedError{"close", c.path, err}
	}
	if err := writeFile(c.fs, c.path, data); err != nil {
		return err
	}
	log, err := openLog(c.fs, c.path, c.header, int64(len(data)),
		func(int64, frameHeader, []byte) error { return nil })
	if err != nil {
		return err
	}
	c.log, c.next, c.saved = log, n, c.done
	return nil
}

// visit takes a frame of the log into the state.
func (c *Cursor) visit(at int64, h frameHeader, payload []byte) error {
	if err := h.follows(c.path, at, c.next); err != nil {
		return err
	}
	c.next++
	bad := &CorruptError{c.path, at, "it is no cursor record"}
	if len(payload) == 0 || h.Count != 1 {
		return bad
	}
	if payload[0] == cursorDone {
		r := textReader{b: payload[1:]}
		done := int64(r.uvarint())
		if r.bad || len(r.b) > 0 || done < c.done {
			return bad
		}
		maps.DeleteFunc(c.open, func(pos int64, _ *Delivery) bool { return pos < done })
		c.done, c.saved = done, done
		return nil
	}
	d, err := decodeDelivery(payload)
	if err != nil {
		return bad
	}
	c.open[d.Position] = &d
	return nil
}

func appendDone(dst []byte, done int64) []byte {
	return binary.AppendUvarint(append(dst, cursorDone), uint64(done))
}

func appendDelivery(dst []byte, d *Delivery) []byte {
	dst = append(dst, cursorState, byte(d.State))
	dst = binary.AppendUvarint(dst, uint64(d.Position))
	dst = binary.AppendUvarint(dst, uint64(d.Attempts))
	dst = binary.AppendUvarint(dst, uint64(d.First))
	dst = binary.AppendUvarint(dst, uint64(d.Last))
	dst = appendText(dst, d.Key)
	return appendText(dst, d.Reason)
}

func decodeDelivery(b []byte) (Delivery, error) {
	if len(b) < 2 || b[0] != cursorState || b[1] < byte(Attempted) || b[1] > byte(Done) {
		return Delivery{}, errRecord
	}
	r := textReader{b: b[2:]}
	d := Delivery{State: DeliveryState(b[1])}
	d.Position, d.Attempts = int64(r.uvarint()), int(r.uvarint())
	d.First, d.Last = engine.Micros(r.uvarint()), engine.Micros(r.uvarint())
	d.Key, d.Reason = r.text(maxRecordName), r.text(maxReason)
	if r.bad || len(r.b) > 0 || d.Position < 0 || d.Attempts < 0 {
		return Delivery{}, errRecord
	}
	return d, nil
}

func isSinkName(name string) bool {
	if name == "" || len(name) > maxSinkName || name[0] == '.' {
		return false
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}
