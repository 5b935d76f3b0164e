package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// turnwarden is a command of it.
func turnwarden(args ...string) *exec.Cmd { return exec.Command(program(), args...) }

// finish runs a command to its end.
func finish(cmd *exec.Cmd) (out string, code int) {
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// client is a client command on the host's admin socket.
func (h *host) client(args ...string) *exec.Cmd {
	return turnwarden(append(args, "--socket="+h.socket())...)
}

// ask runs a client command.
func (h *host) ask(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	return finish(h.client(args...))
}

// answer runs a client command with an answer on its stdin.
func (h *host) answer(t *testing.T, stdin string, args ...string) (out string, code int) {
	t.Helper()
	cmd := h.client(args...)
	cmd.Stdin = strings.NewReader(stdin)
	return finish(cmd)
}

// asked is a client command under way.
type asked struct {
	cmd    *exec.Cmd
	out    string // path of what it prints
	exited <-chan struct{}
}

// begin runs a client command on the host's admin socket and does not wait for it.
func (h *host) begin(t *testing.T, args ...string) *asked {
	t.Helper()
	return begin(t, h.client(args...))
}

// begin runs a command and does not wait for it.
func begin(t *testing.T, cmd *exec.Cmd) *asked {
	t.Helper()
	a := &asked{cmd: cmd, out: filepath.Join(t.TempDir(), "out")}
	a.exited = realtest.Spawn(t, cmd, a.out)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-a.exited
	})
	return a
}

// said waits until the command has printed it.
func (a *asked) said(t *testing.T, want string) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error {
		if b, err := os.ReadFile(a.out); err != nil || !strings.Contains(string(b), want) {
			return fmt.Errorf("no %q in %q, %v", want, b, err)
		}
		return nil
	})
}

// ends waits for the command and returns its exit code and all that it printed.
func (a *asked) ends(t *testing.T, limit time.Duration) (out string, code int) {
	t.Helper()
	b := func() string { b, _ := os.ReadFile(a.out); return string(b) }
	select {
	case <-a.exited:
	case <-time.After(limit):
		t.Fatalf("the command does not end:\n%s", b())
	}
	return b(), a.cmd.ProcessState.ExitCode()
}

// Exit codes, as documented.
const (
	codeOK    = 0
	codeError = 1
	codeUsage = 2
	codeCut   = 3
)
