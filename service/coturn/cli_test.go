package coturn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestCLICancels(t *testing.T) {
	r := startUserRelay(t, realtest.FreePort(t, "127.0.0.1"), "s3cret")
	const calls, others = 300, 20
	var alices, bobs []*realtest.TurnClient
	for range calls {
		alices = append(alices, r.call(t, "udp", "alice"))
	}
	for range others {
		bobs = append(bobs, r.call(t, "tcp", "bob"))
	}
	r.listed(t, "", calls+others)
	r.listed(t, "bob", others)
	r.listed(t, "ali", 0)
	ids := r.listed(t, "alice", calls)
	if n, err := r.cli.Allocations(t.Context()); n != calls+others || err != nil {
		t.Errorf("%d allocations, %v; want %d", n, err, calls+others)
	}

	begin := time.Now()
	check(t, r.cli.Cancel(t.Context(), ids...))
	t.Logf("cancelling %d sessions took %v", calls, time.Since(begin))
	r.listed(t, "alice", 0)
	t.Logf("they were gone after %v", time.Since(begin))
	check(t, r.cli.Cancel(t.Context(), ids...)) // gone is gone
	for i, c := range alices {
		if err := c.Refresh(stun.CodeAllocMismatch); err != nil {
			t.Fatalf("call %d of alice: %v", i, err)
		}
	}
	for i, c := range bobs {
		if err := c.Refresh(0); err != nil {
			t.Fatalf("call %d of bob: %v", i, err)
		}
	}
	r.listed(t, "", others)
	realtest.Eventually(t, 5*time.Second, func() error {
		if n, err := r.cli.Allocations(t.Context()); n != others || err != nil {
			return fmt.Errorf("%d allocations, %w; want %d", n, err, others)
		}
		return nil
	})
}

func TestCLIShowsSession(t *testing.T) {
	r := startUserRelay(t, realtest.FreePort(t, "127.0.0.1"), "s3cret")
	c := r.call(t, "tcp", "alice")
	r.listed(t, "alice", 1)
	list, err := r.cli.List(t.Context(), "")
	check(t, err)
	s := list[0]
	relayIP, _, _ := net.SplitHostPort(r.addr)
	if s.Username != "alice" || s.Realm != realm || s.Protocol != "TCP" || s.ClientAddr != c.Conn.LocalAddr().String() ||
		len(s.RelayAddrs) != 1 || !strings.HasPrefix(s.RelayAddrs[0], relayIP+":20") ||
		time.Since(s.Started) > time.Minute || s.Usage.ReceivedPackets == 0 {
		t.Errorf("%+v, want the session of %v", s, c.Conn.LocalAddr())
	}
}

// A list that coturn cuts short must not pass for the whole: it is asked for again,
// uncut.
func TestCLIListsPastTheCut(t *testing.T) {
	r := startUserRelay(t, realtest.FreePort(t, "127.0.0.1"), "s3cret")
	for range 3 {
		r.call(t, "udp", "alice")
	}
	r.listed(t, "", 3)
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(r.runtime.CLIPort)))
	check(t, err)
	defer func() { _ = conn.Close() }()
	check(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	for _, step := range []struct{ await, send string }{{"password: ", "s3cret\r\n"}, {"> ", "cc cli-max-output-sessions 2\r\n"}, {"> ", "ps\r\n"}} {
		_, err := readUntil(conn, step.await)
		check(t, err)
		_, err = io.WriteString(conn, step.send)
		check(t, err)
	}
	if printed, err := readUntil(conn, "Total sessions: 3"); err != nil || strings.Count(printed, ") id=") != 2 {
		t.Fatalf("not cut: %v\n%s", err, printed)
	}
	r.listed(t, "", 3)
	r.listed(t, "alice", 3)
}

// Two turnservers of one uid can listen on one CLI port, and the kernel spreads
// the connections over them: of the other's sessions none may be seen.
func TestCLINoticesTwin(t *testing.T) {
	for name, tt := range map[string]struct {
		password coturn.CLIPassword // of the twin
		want     string
	}{
		"same password":  {"s3cret", "our turnserver on "},
		"other password": {"0ther", "refuses our password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startUserRelay(t, realtest.FreePort(t, "127.0.0.1"), "s3cret")
			twin := startUserRelay(t, r.runtime.CLIPort, tt.password)
			realtest.Eventually(t, 5*time.Second, func() error { return twin.child.logged("CLI listener opened") })
			r.call(t, "udp", "alice")
			twin.call(t, "udp", "bob")
			var ours, refused int
			for range 64 {
				switch list, err := r.cli.List(t.Context(), ""); {
				case err != nil && strings.Contains(err.Error(), tt.want) && strings.Contains(err.Error(), "another turnserver shares this port"):
					refused++
				case err == nil && !slices.ContainsFunc(list, func(s coturn.Session) bool { return s.Username != "alice" }):
					ours++
				default:
					t.Fatalf("%+v, %v", list, err)
				}
			}
			if ours == 0 || refused == 0 {
				t.Errorf("%d lists of ours, %d refused: the port is not shared", ours, refused)
			}
		})
	}
}

func TestCLIKeepsDeadline(t *testing.T) {
	r := startUserRelay(t, realtest.FreePort(t, "127.0.0.1"), "s3cret")
	check(t, syscall.Kill(r.child.pid, syscall.SIGSTOP)) // its port goes on accepting
	realtest.AwaitStopped(t, r.child.pid)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.cli.List(ctx, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hung: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := r.cli.Cancel(ctx, "1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := r.cli.Allocations(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	check(t, syscall.Kill(r.child.pid, syscall.SIGKILL))
	realtest.Eventually(t, 10*time.Second, func() error {
		if _, err := r.cli.Allocations(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("gone: %w", err)
		}
		return nil
	})
	r.runtime = coturn.Runtime{}
	if _, err := r.cli.List(t.Context(), ""); !errors.Is(err, coturn.ErrNoCLI) {
		t.Errorf("no child: %v", err)
	}
}
