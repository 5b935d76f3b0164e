package main

import (
	"fmt"
	"os"
	"regexp"
	"testing"

	"golang.org/x/sys/unix"
)

func TestHideMemory(t *testing.T) {
	if err := hideMemory(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("dumpable: %d, %v", n, err)
	}
	h := newHost(t, options{})
	h.serve(t)
	for who, pid := range map[string]int{"turnwarden": h.cmd.Process.Pid, "turnserver": h.child(t)} {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil || !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
			t.Errorf("%s may dump core: %v\n%s", who, err, limits)
		}
	}
}
