//go:build !race

package e2e

const detector = false
