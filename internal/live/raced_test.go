//go:build race

package live

// raced is true under the race detector, which makes everything some times slower.
const raced = true
