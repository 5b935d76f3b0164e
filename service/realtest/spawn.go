package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Spawn starts cmd, which appends what it prints to the file log, and returns a
// channel that is closed when it has been reaped. It dies with the test binary. A
// file is never full, as a pipe that nobody reads is.
func Spawn(t testing.TB, cmd *exec.Cmd, log string) (exited <-chan struct{}) {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatalf("open the log of %s: %v", cmd.Path, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		// Pdeathsig fires when the thread that started the child ends, so the
		// thread is kept until the child is gone (golang/go#27505).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	return done
}

// AwaitStopped returns when every thread of a process has heeded its SIGSTOP: that is on its
// way when kill returns, and on the other core a thread may still answer a request or two.
func AwaitStopped(t testing.TB, pid int) {
	t.Helper()
	Eventually(t, 10*time.Second, func() error {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || threads == nil {
			return fmt.Errorf("process %d has no threads", pid)
		}
		for _, thread := range threads {
			stat, err := os.ReadFile(thread)
			if err != nil {
				return err // it has just ended
			}
			if !strings.Contains(string(stat), ") T ") {
				return fmt.Errorf("a thread still runs: %s", stat)
			}
		}
		return nil
	})
}
