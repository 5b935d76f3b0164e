package supervisor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

func TestCommandEnds(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	tests := map[string]struct {
		helper  string
		timeout time.Duration
		hurry   <-chan struct{}
		cause   error
		want    supervisor.ExitError
	}{
		"on SIGTERM":                            {helper: "serve", timeout: time.Minute, want: supervisor.ExitError{Code: -1, Signal: syscall.SIGTERM}},
		"after the grace":                       {helper: "ignore-term", timeout: 50 * time.Millisecond, want: supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}},
		"in a hurry":                            {helper: "ignore-term", timeout: time.Minute, hurry: closed, want: supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}},
		"killed at once":                        {helper: "serve", timeout: time.Minute, cause: supervisor.ErrKill, want: supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}},
		"although it is stopped and hears none": {helper: "hang", timeout: 50 * time.Millisecond, want: supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithCancelCause(context.Background())
			cmd, lines := command(tt.helper)
			cmd.StopTimeout, cmd.Hurry = tt.timeout, tt.hurry
			p := started(ctx, t, cmd, lines)
			if tt.helper == "hang" {
				realtest.Eventually(t, 10*time.Second, func() error {
					if s := state(p.PID()); s != 'T' {
						return fmt.Errorf("state %c, not yet stopped", s)
					}
					return nil
				})
			}
			stop(tt.cause)
			var got *supervisor.ExitError
			if err := p.Wait(); !errors.As(err, &got) || *got != tt.want {
				t.Errorf("Wait = %v, want %v", err, &tt.want)
			}
			if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("after Wait its pid is still there: %v", err)
			}
		})
	}
}

func TestCommandEndsByItself(t *testing.T) {
	cmd, _ := command("crash")
	p, err := cmd.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got *supervisor.ExitError
	if err := p.Wait(); !errors.As(err, &got) || got.Code != 7 || got.Error() != "exit code 7" {
		t.Errorf("Wait = %v, want exit code 7", err)
	}
}

func TestCommandCannotStart(t *testing.T) {
	tests := map[string]struct {
		command supervisor.Command
		want    string
	}{
		"no program":    {supervisor.Command{Path: "no-such-turnserver", Thread: thread}, `"no-such-turnserver": executable file not found in $PATH`},
		"not a program": {supervisor.Command{Path: "/proc/self/status", Thread: thread}, "permission denied"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := tt.command.Start(t.Context())
			if err == nil || p != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Start = %v, %v; want an error with %q", p, err, tt.want)
			}
		})
	}
	t.Run("too late", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cmd, _ := command("serve")
		if _, err := cmd.Start(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Start = %v, want %v", err, context.Canceled)
		}
	})
}

// The environment is exactly what was given, so that NOTIFY_SOCKET and secrets
// of ours do not reach the child; a Ctrl-C does not either, as its group is its own.
func TestCommandSurroundings(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	cmd, lines := command("environment")
	p, err := cmd.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := `env ["TURNWARDEN_TEST_HELPER=environment"] pgid true stdin 0 EOF`
	if got := <-lines; got != want {
		t.Errorf("child saw %s, want %s", got, want)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}

	cmd = supervisor.Command{Path: "env", Stdout: cmd.Stdout, Thread: thread}
	if p, err = cmd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	select {
	case line := <-lines:
		t.Errorf("a child without an environment saw %s", line)
	default:
	}
}

// Output is drained to its end, also where nobody wants it.
func TestCommandDrainsOutput(t *testing.T) {
	var stdout, stderr int
	full, _ := command("chatty")
	full.Stdout = func([]byte) { stdout++ }
	full.Stderr = func([]byte) { stderr++ }
	none := full
	none.Stdout, none.Stderr = nil, nil
	for _, cmd := range []supervisor.Command{full, none} {
		p, err := cmd.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	if stdout != stormLines+1 || stderr != stormLines {
		t.Errorf("%d lines on stdout and %d on stderr, want %d and %d", stdout, stderr, stormLines+1, stormLines)
	}
}

// What the child started goes with it. Only what has left its process group
// stays, and cannot hold Wait up by the pipe it inherited.
func TestCommandLeavesNoGrandchild(t *testing.T) {
	for _, helper := range []string{"mother", "mother-away"} {
		t.Run(helper, func(t *testing.T) {
			t.Parallel()
			cmd, lines := command(helper)
			p, err := cmd.Start(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			if err := p.Wait(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("Wait took %v", took)
			}
			pid := readyPID(t, <-lines)
			if helper == "mother" {
				realtest.Eventually(t, 10*time.Second, func() error { return gone(pid) })
				return
			}
			if gone(pid) == nil {
				t.Errorf("grandchild %d is gone: this case is about one that stays", pid)
			}
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

func readyPID(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(line, "ready "))
	if err != nil {
		t.Fatalf("helper said %q", line)
	}
	return pid
}

// However we die, the child does not outlive us: SIGKILL leaves no time to stop it.
func TestChildDiesWithUs(t *testing.T) {
	for _, helper := range []string{"parent", "parent-other-user", "parent-caps"} {
		t.Run(helper, func(t *testing.T) {
			t.Parallel()
			if helper != "parent" && os.Getuid() != 0 {
				realtest.Missing(t, "only root can start a child as another user")
			}
			parent := exec.Command("/proc/self/exe")
			parent.Env = []string{helperEnv + "=" + helper}
			out, err := parent.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := parent.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = parent.Process.Kill(); _ = parent.Wait() })
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid := readyPID(t, strings.TrimSpace(line))
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				t.Fatal(err)
			}
			if other := strings.Contains(string(status), "Uid:\t65534\t65534"); other != (helper != "parent") {
				t.Errorf("child runs as another user: %v\n%s", other, status)
			}
			if helper == "parent-caps" && !strings.Contains(string(status), "CapEff:\t0000000000000400\n") {
				t.Errorf("child has not just CAP_NET_BIND_SERVICE:\n%s", status)
			}
			if err := parent.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			realtest.Eventually(t, time.Second, func() error { return gone(pid) })
		})
	}
}

// Pdeathsig fires when the *thread* that started the child ends, and a thread
// ends with a goroutine that stays locked to it.
func TestEndOfThreadsDoesNotKill(t *testing.T) {
	end := make(chan struct{})
	var churn, starts sync.WaitGroup
	for range 4 {
		churn.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
					done := make(chan struct{})
					go func() {
						runtime.LockOSThread()
						close(done)
					}()
					<-done
				}
			}
		})
	}
	children := make([]*supervisor.ChildProcess, 20)
	for i := range children {
		starts.Go(func() {
			p, err := supervisor.Command{Path: "sleep", Args: []string{"600"}, Thread: thread}.Start(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			children[i] = p
		})
	}
	starts.Wait()
	close(end)
	churn.Wait()
	for _, p := range children {
		if p == nil {
			continue
		}
		if gone(p.PID()) == nil {
			t.Errorf("child %d died with a thread of ours", p.PID())
		}
		_ = syscall.Kill(p.PID(), syscall.SIGKILL)
		_ = p.Wait()
	}
}
