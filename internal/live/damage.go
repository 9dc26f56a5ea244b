package live

import (
	"errors"

	"billctl/formats"
	"billctl/internal/store"
)

// Damage is what an error says is damaged.
type Damage uint8

// What may be damaged.
const (
	NoDamage      Damage = iota // or another fault
	ArchiveDamage               // an archive file or opening: damaged, missing, of another journal
	StateDamage                 // the state directory
)

// DamageOf returns what an error says is damaged, and the way out of it.
func DamageOf(err error) (d Damage, hint string) {
	var file *formats.FileError
	var archive *ArchiveError
	switch {
	case errors.As(err, &file):
		d, hint = ArchiveDamage, file.Hint
	case errors.As(err, &archive):
		d, hint = ArchiveDamage, archive.Hint
	case errors.Is(err, store.ErrCorrupt):
		return StateDamage, "the file was changed or the disk lost what it had promised; bring back a " +
			"copy of the state directory"
	default:
		return NoDamage, ""
	}
	if hint == "" {
		hint = "restore the file from a copy"
	}
	return d, hint
}
