package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// fifo is the host's log, of which nobody reads what the caller does not.
func (h *host) fifo(t *testing.T) (log string, r *os.File) {
	t.Helper()
	log = filepath.Join(h.dir, "log")
	err := unix.Mkfifo(log, 0o600)
	if err == nil {
		r, err = os.OpenFile(log, os.O_RDWR, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return log, r
}

// TestStalledLog: whoever takes our log has stopped, and the TURN server serves on.
// Without a reader that never waits, some 600 failed logins, which anybody can make,
// would fill turnserver's own pipe and stop it for all (4.6.1).
func TestStalledLog(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	log, r := h.fifo(t)
	conn, err := r.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// The least there is, so that it is full soon.
	if err := conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 4096) }); err != nil {
		t.Fatal(err)
	}
	drain := func() (stop func()) {
		var reading sync.WaitGroup
		_ = r.SetReadDeadline(time.Time{})
		reading.Go(func() {
			for buf := make([]byte, 4096); ; {
				if _, err := r.Read(buf); err != nil {
					return
				}
			}
		})
		return func() {
			_ = r.SetReadDeadline(time.Unix(1, 0))
			reading.Wait()
		}
	}
	stop := drain()
	t.Cleanup(func() {
		stop := drain()
		h.end(t)
		stop()
		_ = r.Close()
		_ = os.Remove(log)
	})
	h.serve(t)
	s := mustFetch(t, h.rest())
	stop()

	// 200 lines go to our log at once, and then 20 a second, of which 256 can wait.
	attempts := 0
	realtest.Eventually(t, time.Minute, func() error {
		for range 50 {
			c := newCall(t, "udp", h.addr().String(), seed{UserID: "nobody", Password: "x"})
			switch code := c.request(t, stun.MethodAllocate, requestedUDP{}); code {
			case 401:
				attempts++
			case 437: // the port of a login before, which turnserver remembers for a while
			default:
				t.Fatalf("login %d of nobody: got %d, want 401", attempts, code)
			}
			_ = c.conn.Close()
		}
		if dropped := h.metric(t, "turnwarden_turnserver_log_lines_dropped_total"); dropped == "0" || attempts < 1500 {
			return fmt.Errorf("%s lines dropped after %d logins", dropped, attempts)
		}
		return nil
	})
	if err := probe.Binding(t.Context(), h.addr()); err != nil {
		t.Errorf("the TURN server does not answer: %v", err)
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		if code := newCall(t, "udp", h.addr().String(), s).request(t, stun.MethodAllocate, requestedUDP{}); code != 0 {
			return fmt.Errorf("allocate: %d", code) // 437, for such a port
		}
		return nil
	})
	h.metricIs(t, "turnwarden_allocations", "1", 20*time.Second)
	// A request that was repeated is refused twice.
	realtest.Eventually(t, 10*time.Second, func() error {
		if failed, _ := strconv.Atoi(h.metric(t, `turnwarden_auth_failures_total{cause="unknown_user"}`)); failed < attempts {
			return fmt.Errorf("%d failed logins counted of %d", failed, attempts)
		}
		return nil
	})
}

// TestLogReaderGone: whoever took our log has ended, and the node goes on with its calls,
// through an upgrade, too. By itself Go would end with SIGPIPE.
func TestLogReaderGone(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	log, r := h.fifo(t)
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, r) })
	t.Cleanup(func() {
		h.end(t)
		_ = os.Remove(log)
	})
	h.serve(t)
	child := h.child(t)
	_ = r.Close()
	reading.Wait()
	for _, command := range []string{"rotate", "upgrade", "rotate"} {
		if out, code := h.ask(t, command); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", command, code, out)
		}
	}
	if now := h.child(t); now != child {
		t.Errorf("turnserver was %d, and is %d", child, now)
	}
	if out, code := h.ask(t, "logs"); code != 0 || !strings.Contains(out, "upgraded in place") {
		t.Errorf("turnwarden logs: exit code %d\n%s", code, out)
	}
	h.signal(t, syscall.SIGTERM)
	if code := h.wait(t, time.Minute); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
