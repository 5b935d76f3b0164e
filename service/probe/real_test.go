package probe_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// follow runs a prober until the end of the test. The function waits for a verdict
// as its readers do: for the notice of a new one. A round that says that it was itself too
// late to judge puts the verdict off by one.
func follow(t *testing.T, cfg probe.Config, target func() (probe.Target, bool)) (*probe.Prober, func(what string, limit time.Duration, ok func(probe.Result) bool)) {
	t.Helper()
	notified := make(chan struct{}, 1)
	var log realtest.Log
	p := probe.New(cfg, probe.Node{
		Target:     target,
		Credential: func() (string, string, bool) { return "alice", password, true },
		Owners:     func(int) error { return nil },
		Notify: func() {
			select {
			case notified <- struct{}{}:
			default:
			}
		},
	}, slog.New(slog.NewTextHandler(&log, nil)), probe.Metrics{Duration: discard.NewHistogram(), RTT: discard.NewHistogram()})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return p, func(what string, limit time.Duration, ok func(probe.Result) bool) {
		t.Helper()
		log.Take()
		begin, late := time.Now(), time.After(limit)
		for !ok(p.Last()) {
			select {
			case <-notified:
			case <-late:
				excused := strings.Count(log.Take(), "is not judged by it")
				if excused == 0 {
					t.Fatalf("%s: not within %s: %+v", what, limit, p.Last())
				}
				late = time.After(time.Duration(excused) * cfg.Interval)
			}
		}
		t.Logf("%s: after %s", what, time.Since(begin).Round(time.Millisecond))
	}
}

func TestProber(t *testing.T) {
	t.Parallel()
	cfg := probe.Config{Interval: time.Second, Timeout: time.Second, FailAfter: 3}
	bound := cfg.Interval*time.Duration(cfg.FailAfter) + cfg.Timeout + time.Second
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", password)

	var pid atomic.Int64
	p, await := follow(t, cfg, func() (probe.Target, bool) {
		n := int(pid.Load())
		return probe.Target{PID: n, Listeners: []probe.Listener{{Transport: probe.UDP, Addr: s.Addr}}}, n != 0
	})
	run := func(n int) {
		pid.Store(int64(n))
		p.Kick()
	}
	serving := func(r probe.Result) bool { return r.PID == s.PID() && r.Serving && r.Authenticated }

	run(s.PID())
	await("serving", 30*time.Second, serving)
	s.Pause(t)
	await("hang noticed", bound, func(r probe.Result) bool { return !r.Serving && r.Stage == probe.StageBind })
	s.Cont(t)
	await("serving again", 30*time.Second, serving)
	s.Kill(t)
	run(0)
	await("child gone", 10*time.Second, func(r probe.Result) bool { return r.PID == 0 })
	s.Start(t)
	run(s.PID())
	await("serving after a restart", 30*time.Second, serving)
	s.DeleteUser(t, "alice")
	await("credential refused", bound, func(r probe.Result) bool { return !r.Serving && r.Code == 401 })
}

// A process that is stopped while it waits must see that it was late.
func TestOwnDelayIsMeasured(t *testing.T) {
	t.Parallel()
	// A server that never answers.
	conn, err := net.ListenPacket("udp", net.JoinHostPort(realtest.Loopback(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "PROBE_HELPER="+conn.LocalAddr().String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Its datagram says that it waits.
	if _, _, err := conn.ReadFrom(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * helperTimeout)
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	line, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	late, err := time.ParseDuration(strings.TrimSpace(string(line)))
	if err != nil || late < helperTimeout/2 || late > 5*helperTimeout {
		t.Errorf("stopped until %s after its deadline: measured %q (%v)", helperTimeout, line, err)
	}
}
