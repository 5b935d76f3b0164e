package realtest

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
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
