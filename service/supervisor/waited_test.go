package supervisor_test

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// TestWaited: who wants a processor that others have waits for it, and not while it is stopped.
func TestWaited(t *testing.T) {
	t.Parallel()
	realtest.Require(t, "taskset")
	var pids []int
	for i := range 3 {
		cmd := exec.Command("taskset", "-c", "0", "sh", "-c", "while :; do :; done")
		exited := realtest.Spawn(t, cmd, filepath.Join(t.TempDir(), fmt.Sprint(i)))
		pid := cmd.Process.Pid
		t.Cleanup(func() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			<-exited
		})
		pids = append(pids, pid)
	}
	for _, pid := range pids {
		realtest.Eventually(t, 30*time.Second, func() error {
			if waited := supervisor.Waited(pid); waited < 50*time.Millisecond {
				return fmt.Errorf("%d waited for %v", pid, waited)
			}
			return nil
		})
	}
	if err := syscall.Kill(pids[0], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	realtest.Eventually(t, 30*time.Second, func() error {
		if s := string(state(pids[0])); !strings.Contains(s, "T") {
			return fmt.Errorf("still in state %s", s)
		}
		return nil
	})
	stopped, other := supervisor.Waited(pids[0]), supervisor.Waited(pids[1])
	realtest.Eventually(t, 30*time.Second, func() error { // for the third
		if supervisor.Waited(pids[1]) == other {
			return errors.New("the second has not waited since")
		}
		return nil
	})
	if now := supervisor.Waited(pids[0]); now != stopped {
		t.Errorf("it waited for %v while it was stopped", now-stopped)
	}
	if waited := supervisor.Waited(0); waited != 0 {
		t.Errorf("nobody waited for %v", waited)
	}
}
