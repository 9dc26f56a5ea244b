package live

import (
	"context"
	"io"
	"time"

	"billctl/engine"
	"billctl/formats"
)

// Source is what a configured source of events reads from.
type Source interface {
	// Next waits for whole lines or a change of the source's status.
	Next(ctx context.Context) (formats.Chunk, Status, error)
	// Recycle takes back the memory of a chunk.
	Recycle(formats.Chunk)
}

// linger is how long a row waits for company before its batch goes on.
const linger = 10 * time.Millisecond

// parcel is what a feed hands to the sequencer: a batch, a status, or the error that ended it.
type parcel struct {
	source int
	batch  *engine.Batch // nil: nothing was read
	status Status
	err    error
}

func (p *parcel) rows() int {
	if p.batch == nil {
		return 0
	}
	return p.batch.Len
}

// arrival is what the reading half of a feed hands to the parsing half.
type arrival struct {
	chunk  formats.Chunk
	status Status
	err    error
}

// feed reads one source, in a goroutine, and parses what it reads, in another.
type feed struct {
	index   int
	source  Source
	decoder *formats.Decoder
	builder *formats.Builder
	out     chan<- parcel
	used    chan *engine.Batch // batches that the sequencer is done with
}

// run ends with its source, or when reading ends: then what was read is handed on first. It gives
// up at once when ctx ends.
func (f *feed) run(reading, ctx context.Context) {
	arrivals := make(chan arrival, 2)
	go func() {
		defer close(arrivals)
		if err := f.read(reading, ctx, arrivals); err != nil {
			select {
			case arrivals <- arrival{err: err}:
			case <-ctx.Done():
			}
		}
	}()
	f.parse(ctx, arrivals)
}

// read hands on what the source gives until it ends, then closes it.
func (f *feed) read(reading, ctx context.Context, arrivals chan<- arrival) error {
	for {
		c, st, err := f.source.Next(reading)
		if err != nil && reading.Err() != nil {
			break
		}
		select {
		case arrivals <- arrival{c, st, err}:
		case <-ctx.Done():
		}
		if err != nil || st.EOF || ctx.Err() != nil {
			break
		}
	}
	if c, ok := f.source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// parse turns chunks into batches. A batch goes on when it is full, when nothing more is there for
// now, or when its first row has lingered.
func (f *feed) parse(ctx context.Context, arrivals <-chan arrival) {
	timer := time.NewTimer(0)
	<-timer.C
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			if !f.flush(ctx, Status{}) {
				return
			}
		case a, ok := <-arrivals:
			if !ok {
				f.flush(ctx, Status{})
				return
			}
			waiting := f.builder.Len() > 0
			if !f.take(ctx, a) {
				return
			}
			if !waiting && f.builder.Len() > 0 {
				timer.Reset(linger)
			}
		}
	}
}

// take parses one arrival; false ends the feed.
func (f *feed) take(ctx context.Context, a arrival) bool {
	if a.err != nil {
		if ctx.Err() == nil {
			f.send(ctx, parcel{source: f.index, err: a.err})
		}
		return false
	}
	c := a.chunk
	for len(c.Data) > 0 {
		n, err := f.decoder.Decode(c, f.builder)
		if err != nil {
			f.send(ctx, parcel{source: f.index, err: err})
			return false
		}
		c.Data, c.Offset = c.Data[n:], c.Offset+int64(n)
		if f.builder.Full() {
			if !f.flush(ctx, Status{}) {
				return false
			}
		} else if n == 0 {
			break
		}
	}
	f.source.Recycle(a.chunk)
	if a.status.CaughtUp || a.status.EOF || len(a.status.Notices) > 0 {
		return f.flush(ctx, a.status)
	}
	return true
}

// flush hands on the rows so far with a status; an empty one says only that rows came.
func (f *feed) flush(ctx context.Context, st Status) bool {
	p := parcel{source: f.index, status: st}
	if f.builder.Len() > 0 {
		f.recycle()
		p.batch = f.builder.Batch()
	}
	if p.batch == nil && st.At.IsZero() {
		return true
	}
	return f.send(ctx, p)
}

func (f *feed) recycle() {
	for {
		select {
		case b := <-f.used:
			f.builder.Recycle(b)
		default:
			return
		}
	}
}

func (f *feed) send(ctx context.Context, p parcel) bool {
	select {
	case f.out <- p:
		return true
	case <-ctx.Done():
		return false
	}
}
