package live

import (
	"crypto/rand"

	"billctl/engine"
)

// NewGenesis returns the first entry of a new journal, with a random id and a random key.
func NewGenesis() engine.Genesis {
	g := engine.Genesis{Format: engine.Format}
	rand.Read(g.Journal[:])
	rand.Read(g.HashKey[:])
	return g
}
