//go:build race

package e2e

// detector says that the race detector is on: several times the memory and the time.
const detector = true
