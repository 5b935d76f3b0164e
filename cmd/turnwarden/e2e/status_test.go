package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// TestStatusOfANode: one screen, in words and as JSON, of a node that serves and of one
// whose server hangs.
func TestStatusOfANode(t *testing.T) {
	t.Parallel()
	h, _, _ := registered(t, options{})
	h.metricIs(t, "turnwarden_allocations", "0", 20*time.Second) // a proof may be under way for longer on a busy machine
	out, code := h.ask(t, "status")
	for _, want := range []string{hostName(t) + "  up  ", " of 1000.0 Mbit/s free, 0 allocations", "running, pid ", "serving, ", "generation 1, published ", "connected, registered, written "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if code != 0 || strings.Contains(out, "\x1b") {
		t.Errorf("exit code %d, or colours in a pipe:\n%s", code, out)
	}
	var s transport.Status
	out, code = h.ask(t, "status", "--output=json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || !s.Ready || s.State != "up" || s.Server.PID != h.child(t) {
		t.Errorf("%v, exit code %d: %s", err, code, out)
	}
	if err := syscall.Kill(h.child(t), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		out, _ = h.ask(t, "status")
		if !strings.Contains(out, "  down  ") || !strings.Contains(out, "reason probe\n") || !strings.Contains(out, "probes failed in a row, the TURN server is not serving") {
			return fmt.Errorf("not yet in\n%s", out)
		}
		return nil
	})
	noSecretsInSight(t, h, mustFetch(t, h.rest()).Password)
}

// TestLogs: what was logged, and what is logged while somebody follows; Ctrl-C ends that
// well.
func TestLogs(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	if out, code := h.ask(t, "logs", "-n", "1000"); code != 0 || !strings.Contains(out, `msg="starting turnwarden"`) || !strings.Contains(out, "part=turnserver") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if out, _ := h.ask(t, "logs", "-n", "1"); strings.Count(out, "\n") != 1 {
		t.Errorf("-n 1:\n%s", out)
	}
	cmd := h.client("logs", "-f", "-n", "0")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			if strings.Contains(lines.Text(), "credential transition") {
				return
			}
		}
	}()
	// It may not be following yet: rotate until it has seen one.
	realtest.Eventually(t, 20*time.Second, func() error {
		_, _ = h.ask(t, "rotate")
		select {
		case <-followed:
			return nil
		case <-time.After(200 * time.Millisecond):
			return os.ErrDeadlineExceeded
		}
	})
	_ = cmd.Process.Signal(syscall.SIGINT)
	if err := cmd.Wait(); err != nil {
		t.Errorf("Ctrl-C: %v", err)
	}
}
