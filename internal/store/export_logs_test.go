package store

// SetRoll makes a segment of the outbox end after so many bytes.
func (o *Outbox) SetRoll(bytes int64) { o.roll = bytes }

// SetSmall makes a cursor log be compacted from so many bytes on.
func (c *Cursor) SetSmall(bytes int64) { c.small = bytes }
