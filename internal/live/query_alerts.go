package live

import "billctl/internal/store"

// Alerts calls f with the alerts that were given, in their order, until it returns false. It reads
// the whole outbox. Body is as formats.AppendAlert wrote it.
func (d *Desk) Alerts(f func(Document) bool) error { return d.records(store.AlertRecord, f) }
