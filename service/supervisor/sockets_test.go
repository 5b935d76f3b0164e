package supervisor_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// TestSocketMeter counts what a real turnserver that does not read loses, and relay
// ports of a process that stands for one.
func TestSocketMeter(t *testing.T) {
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	var pid atomic.Int64
	m := supervisor.NewSocketMeter(func() int { return int(pid.Load()) }, uint16(server.MinPort), uint16(server.MaxPort), 50*time.Millisecond, slog.New(slog.DiscardHandler))
	go func() { _ = m.Run(t.Context()) }()
	sampled := func(want string, ok func(supervisor.SocketSample) bool) {
		t.Helper()
		realtest.Eventually(t, 20*time.Second, func() error {
			if s := m.Last(); s.At.IsZero() || !ok(s) {
				return fmt.Errorf("%+v; want %s", s, want)
			}
			return nil
		})
	}

	sampled("nothing, without a child", func(s supervisor.SocketSample) bool { return s.RelayPorts == 0 && s.Drops == 0 })
	pid.Store(int64(server.PID()))
	sampled("nothing lost yet", func(s supervisor.SocketSample) bool { return s.RelayPorts == 0 && s.Drops == 0 })

	server.Pause(t)
	conn, err := net.Dial("udp", server.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	junk := make([]byte, 1400)
	realtest.Eventually(t, 30*time.Second, func() error {
		for range 5000 {
			_, _ = conn.Write(junk)
		}
		if s := m.Last(); s.Drops < 1000 {
			return fmt.Errorf("%d datagrams lost", s.Drops)
		}
		return nil
	})
	server.Kill(t)
	lost := m.Last().Drops
	pid.Store(0)
	sampled("what was lost stays lost", func(s supervisor.SocketSample) bool { return s.Drops >= lost && s.RelayPorts == 0 })

	server.Start(t) // its new sockets have lost nothing
	lost = m.Last().Drops
	pid.Store(int64(server.PID()))
	before := m.Last().At
	sampled("no more lost", func(s supervisor.SocketSample) bool {
		return s.At.After(before.Add(200*time.Millisecond)) && s.Drops == lost
	})
}

// TestRelaySockets: those of other processes in the relay range are no allocations.
func TestRelaySockets(t *testing.T) {
	server := realtest.StartTurnServer(t, realtest.TurnOptions{})
	ip := server.Addr.Addr().String()
	for port := server.MinPort; port < server.MinPort+3; port++ {
		c, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", ip, port))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", ip, server.MinPort))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	low, high := uint16(server.MinPort), uint16(server.MinPort+3)
	if n, err := supervisor.RelaySockets(os.Getpid(), low, high); err != nil || n != 4 {
		t.Errorf("%d sockets of ours, %v; want 4", n, err)
	}
	if n, err := supervisor.RelaySockets(server.PID(), low, high); err != nil || n != 0 {
		t.Errorf("%d sockets of turnserver's, %v; want 0", n, err)
	}
	if _, err := supervisor.RelaySockets(1<<22, low, high); err == nil {
		t.Error("no error for a process that is not there")
	}
}
