//go:build !race

package live

// raced is false without the race detector.
const raced = false
