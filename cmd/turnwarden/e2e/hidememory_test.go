package e2e

import (
	"fmt"
	"os"
	"regexp"
	"testing"
)

// TestNoCoreDumps: what holds passwords leaves none behind.
func TestNoCoreDumps(t *testing.T) {
	h := newHost(t, options{})
	h.serve(t)
	for who, pid := range map[string]int{"turnwarden": h.cmd.Process.Pid, "turnserver": h.child(t)} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil || !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
			t.Errorf("%s may dump core: %v\n%s", who, err, limits)
		}
	}
}
