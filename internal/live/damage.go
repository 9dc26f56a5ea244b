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
	ArchiveDamage               // an archive file or an opening: damaged, missing, or of another journal
	StateDamage                 // the state directory
)

// DamageOf returns what an error says is damaged, and the way out, if the error knows one.
func DamageOf(err error) (Damage, string) {
	var file *formats.FileError
	var archive *ArchiveError
	switch {
	case errors.As(err, &file):
		return ArchiveDamage, file.Hint
	case errors.As(err, &archive):
		return ArchiveDamage, archive.Hint
	case errors.Is(err, store.ErrCorrupt):
		return StateDamage, ""
	}
	return NoDamage, ""
}
