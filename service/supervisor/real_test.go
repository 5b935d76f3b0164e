package supervisor_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"github.com/pion/turn/v5"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// turnserver is the Command for the configuration and the users of a server
// that has been stopped.
func turnserver(config string) supervisor.Command {
	return supervisor.Command{
		Path:        "turnserver",
		Args:        []string{"-c", config, "--log-file=stdout", "--no-stdout-log", "--pidfile="},
		StopTimeout: 10 * time.Second,
		Thread:      thread,
	}
}

// answers asks addr for one STUN Binding (RFC 8489).
func answers(addr netip.AddrPort) error {
	conn, err := net.Dial("udp", addr.String())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		return err
	}
	request := []byte("\x00\x01\x00\x00\x21\x12\xa4\x42transaction.")
	if _, err := conn.Write(request); err != nil {
		return err
	}
	reply := make([]byte, 1500)
	if n, err := conn.Read(reply); err != nil || n < 20 || string(reply[8:20]) != "transaction." {
		return fmt.Errorf("no reply to the Binding: %d bytes, %v", n, err)
	}
	return nil
}

func TestKilledTenTimes(t *testing.T) {
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	server.Kill(t)
	start := func(ctx context.Context) (supervisor.Process, error) {
		if left := orphans(t, server.Config); len(left) != 0 {
			t.Errorf("started while %v still runs", left)
		}
		return turnserver(server.Config).Start(ctx)
	}
	var told atomic.Int32
	policy := supervisor.Policy{Delay: 10 * time.Millisecond, Max: 50 * time.Millisecond, StableAfter: time.Minute}
	s := supervisor.New(start, policy, func(supervisor.Child) { told.Add(1) }, slog.New(slog.DiscardHandler),
		supervisor.Metrics{Restarts: discard.NewCounter()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	var last int
	for n := range 11 {
		// A new pid that answers, and no other process of that configuration.
		realtest.Eventually(t, 10*time.Second, func() error {
			if c := s.Child(); c.PID == last || c.State != supervisor.Running {
				return fmt.Errorf("after %d kills: %+v", n, c)
			}
			return answers(server.Addr)
		})
		c := s.Child()
		if pids := orphans(t, server.Config); len(pids) != 1 || pids[0] != c.PID {
			t.Errorf("processes %v, want only %d", pids, c.PID)
		}
		if c.Restarts != n || n > 0 && (c.LastExit.Signal != "SIGKILL" || c.LastExit.Cause != supervisor.ReasonSignal) {
			t.Errorf("after %d kills: %+v", n, c)
		}
		if last = c.PID; n < 10 {
			if err := syscall.Kill(last, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if state(last) != 'X' {
		t.Errorf("turnserver %d has not been reaped when Run returns", last)
	}
	if told.Load() < 31 { // starting, running and backoff for each of ten
		t.Errorf("told %d changes of state", told.Load())
	}
}

// A relay address that is not local makes one Allocate write some 131,070
// lines. The server answers others again as soon as they are read.
func TestOutputStormOfTurnserver(t *testing.T) {
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	server.AddUser(t, "alice", "secret")
	server.Kill(t)
	conf, err := os.ReadFile(server.Config)
	if err != nil {
		t.Fatal(err)
	}
	conf = []byte(strings.ReplaceAll(string(conf), "relay-ip="+server.Addr.Addr().String(), "relay-ip=192.0.2.1")) // RFC 5737
	if err := os.WriteFile(server.Config, conf, 0o600); err != nil {
		t.Fatal(err)
	}

	var lines atomic.Int32
	cmd := turnserver(server.Config)
	count := func([]byte) { lines.Add(1) }
	cmd.Stdout, cmd.Stderr = count, count
	ctx, cancel := context.WithCancel(t.Context())
	p, err := cmd.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = p.Wait() }()
	realtest.Eventually(t, 10*time.Second, func() error { return answers(server.Addr) })

	conn, err := net.ListenPacket("udp", netip.AddrPortFrom(server.Addr.Addr(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := turn.NewClient(&turn.ClientConfig{
		TURNServerAddr: server.Addr.String(), Username: "alice", Password: "secret", Conn: conn,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { client.Close(); _ = conn.Close() }()
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Allocate(); err == nil {
		t.Error("Allocate succeeded on an address that is not local")
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if n := lines.Load(); n < 131_070 {
			return fmt.Errorf("%d lines read", n)
		}
		return answers(server.Addr)
	})
	t.Logf("%d lines read", lines.Load())
}
