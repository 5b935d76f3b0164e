package cli

import (
	"testing"
)

func TestBar(t *testing.T) {
	for want, n := range map[string][2]float64{"░░░░░░░░░░": {0, 1000}, "█░░░░░░░░░": {.1, 1000}, "█████░░░░░": {500, 1000}, "██████████": {1000, 0}} {
		if got := bar(n[0], n[1]); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}
