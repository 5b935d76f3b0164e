package supervisor

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// killTimeout bounds the wait for a process that was sent SIGKILL. Only one
// that is stuck in the kernel takes longer.
const killTimeout = 5 * time.Second

// Orphans lists the turnservers that run with our rendered configuration. Those
// that are not our child were left by a run of ours whose death did not take
// them along, and hold the ports.
func Orphans(configPath string) ([]int, error) {
	procs, err := procfs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, p := range procs {
		if p.PID != os.Getpid() && runsWith(p.PID, configPath) {
			pids = append(pids, p.PID)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// runsWith tells whether pid was started with "-c configPath", which is coturn's
// only way to name a configuration. The argument alone would also find the
// editor of somebody who looks into the file. A zombie has no arguments.
func runsWith(pid int, configPath string) bool {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return false
	}
	args, err := p.CmdLine()
	if err != nil {
		return false
	}
	i := slices.Index(args, configPath)
	return i > 1 && args[i-1] == "-c"
}

// KillOrphan ends a process that Orphans listed, and returns when it is gone.
// The pid can have become somebody else's in the meantime: it is held first
// and checked again, and only what was held is killed.
func KillOrphan(pid int, configPath string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold orphaned turnserver %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !runsWith(pid, configPath) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill orphaned turnserver %d: %w", pid, err)
	}
	// A pidfd can be read once its process has ended; a zombie has ended, and
	// has closed its sockets.
	deadline := time.Now().Add(killTimeout)
	for {
		left := max(0, time.Until(deadline).Milliseconds()) // less than 0 would be for ever
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left))
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for orphaned turnserver %d: %w", pid, err)
		case n == 0:
			return fmt.Errorf("orphaned turnserver %d still runs %v after SIGKILL: it is stuck in the kernel (see /proc/%d/stack)", pid, killTimeout, pid)
		default:
			return nil
		}
	}
}
