package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// HideMemory keeps passwords out of core dumps, ours and the child's, and out of
// reach of a debugger of our own user.
func HideMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make memory undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
