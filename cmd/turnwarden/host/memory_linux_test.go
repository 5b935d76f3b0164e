package host

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestHideMemory(t *testing.T) {
	if err := HideMemory(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		t.Errorf("dumpable: %d, %v", n, err)
	}
}
