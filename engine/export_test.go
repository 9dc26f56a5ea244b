package engine

// GenuineRow reports whether the digest of a row is that of what it says.
func GenuineRow(b *Batch) bool { return genuine(b) }
