package probe_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const password = "s3cretPassword"

// stages are what a client can ask, by the name of the function.
func stages(ctx context.Context, addr netip.AddrPort, user string) map[string]func() error {
	return map[string]func() error{
		"Binding":   func() error { return probe.Binding(ctx, addr) },
		"Anonymous": func() error { return probe.Anonymous(ctx, addr) },
		"Allocate":  func() error { _, err := probe.Allocate(ctx, addr, user, password); return err },
		"Relay":     func() error { return probe.Relay(ctx, addr, user, password, 2500) },
	}
}

func TestWorkingServer(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", password)
	for name, ask := range stages(t.Context(), s.Addr, "alice") {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	a, err := probe.Allocate(t.Context(), s.Addr, "alice", password)
	if err != nil {
		t.Fatal(err)
	}
	if port := int(a.Relayed.Port()); a.Relayed.Addr() != s.Addr.Addr() || port < s.MinPort || port > s.MaxPort {
		t.Errorf("relayed address: got %s, want one of %s, ports %d-%d", a.Relayed, s.Addr.Addr(), s.MinPort, s.MaxPort)
	}
	if a.RTT <= 0 || a.RTT > 5*time.Second {
		t.Errorf("rtt: got %s", a.RTT)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		realtest.Missing(t, fmt.Sprintf("no IPv6 on this machine: %v", err))
	}
	_ = l.Close()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{
		Addr: netip.AddrPortFrom(netip.IPv6Loopback(), uint16(realtest.FreePort(t, "::1"))),
	})
	s.AddUser(t, "alice", password)
	for name, ask := range stages(t.Context(), s.Addr, "alice") {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	ip := realtest.Loopback(t)
	addr := netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(realtest.FreePort(t, ip)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for name, ask := range stages(ctx, addr, "alice") {
		// ICMP says at once that nobody listens; the minute is not waited for.
		if err := ask(); !errors.Is(err, probe.ErrNoAnswer) || ctx.Err() != nil {
			t.Errorf("%s without a server: got %v (context: %v), want %v at once", name, err, ctx.Err(), probe.ErrNoAnswer)
		}
	}
}

func TestHungServer(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", password)
	s.Pause(t)
	for _, name := range []string{"Binding", "Anonymous", "Allocate", "Relay"} {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		begin := time.Now()
		err := stages(ctx, s.Addr, "alice")[name]()
		took := time.Since(begin)
		cancel()
		if !errors.Is(err, probe.ErrNoAnswer) {
			t.Errorf("%s of a hung server: got %v, want %v", name, err, probe.ErrNoAnswer)
		}
		if e, ok := errors.AsType[*probe.Error](err); ok && took-e.Late > timeout+200*time.Millisecond {
			t.Errorf("%s of a hung server took %s, of which %s were our own delay, want %s", name, took, e.Late, timeout)
		}
	}
	s.Cont(t)
	if err := probe.Binding(t.Context(), s.Addr); err != nil {
		t.Errorf("Binding of a server that goes on: %v", err)
	}
}

func TestRefusedCredential(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", "another")
	s.AddUser(t, "bob", password)
	if _, err := probe.Allocate(t.Context(), s.Addr, "bob", password); err != nil {
		t.Fatalf("bob, before he is deleted: %v", err)
	}
	s.DeleteUser(t, "bob")
	for user, why := range map[string]string{"alice": "wrong password", "bob": "deleted", "carol": "unknown"} {
		_, err := probe.Allocate(t.Context(), s.Addr, user, password)
		e, ok := errors.AsType[*probe.Error](err)
		if !ok || !errors.Is(err, probe.ErrRefused) || e.Stage != probe.StageAllocate || e.Code != 401 {
			t.Errorf("%s (%s): got %#v, want %v with 401 at %s", user, why, err, probe.ErrRefused, probe.StageAllocate)
		}
		if strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s (%s): error tells too much: %q", user, why, err)
		}
	}
}

func TestFullServer(t *testing.T) {
	tests := map[string]struct {
		options realtest.TurnOptions
		code    int
	}{
		"quota":       {realtest.TurnOptions{Lines: []string{"total-quota=1"}}, 486},
		"relay ports": {realtest.TurnOptions{RelayPorts: 1}, 508},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := realtest.StartTurnServer(t, test.options)
			s.AddUser(t, "alice", password)
			s.AddUser(t, "bob", password)
			free := hold(t, s.Addr, "bob")
			_, err := probe.Allocate(t.Context(), s.Addr, "alice", password)
			e, ok := errors.AsType[*probe.Error](err)
			if !ok || !errors.Is(err, probe.ErrFull) || e.Code != test.code || e.Stage != probe.StageAllocate {
				t.Errorf("full server: got %#v, want %v with %d at %s", err, probe.ErrFull, test.code, probe.StageAllocate)
			}
			if err := probe.Anonymous(t.Context(), s.Addr); err != nil {
				t.Errorf("Anonymous at a full server: %v", err)
			}
			free()
			// What the first of these left behind would fail the second for 10 minutes.
			for range 2 {
				realtest.Eventually(t, freed, func() error {
					_, err := probe.Allocate(t.Context(), s.Addr, "alice", password)
					return err
				})
			}
		})
	}
}

func TestOpenRelay(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{Open: true, RelayPorts: 1})
	openRelay := func(code int) error {
		err := probe.Anonymous(t.Context(), s.Addr)
		if e, ok := errors.AsType[*probe.Error](err); !ok || !errors.Is(err, probe.ErrOpenRelay) || e.Code != code {
			return fmt.Errorf("Anonymous: got %#v, want %v with code %d", err, probe.ErrOpenRelay, code)
		}
		return nil
	}
	if err := openRelay(0); err != nil {
		t.Fatal(err)
	}
	// What it allocated, and with it the only port, is given back.
	realtest.Eventually(t, freed, func() error { return openRelay(0) })
	if _, err := probe.Allocate(t.Context(), s.Addr, "alice", password); !errors.Is(err, probe.ErrOpenRelay) {
		t.Errorf("Allocate: got %v, want %v", err, probe.ErrOpenRelay)
	}
	// An open relay that strangers have filled is one all the same.
	stranger, err := net.Dial("udp", s.Addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	realtest.Eventually(t, freed, func() error {
		_, _ = stranger.Write(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest),
			stun.RawAttribute{Type: stun.AttrRequestedTransport, Value: []byte{17, 0, 0, 0}}).Raw)
		return openRelay(508)
	})
}

// A server that asks for a credential even for a Binding has answered.
func TestSecureSTUN(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{Lines: []string{"secure-stun"}})
	if err := probe.Binding(t.Context(), s.Addr); err != nil {
		t.Errorf("Binding: %v", err)
	}
}

func TestForbiddenPeer(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{Lines: []string{"denied-peer-ip=127.0.0.1"}})
	s.AddUser(t, "alice", password)
	err := probe.Relay(t.Context(), s.Addr, "alice", password, 1)
	if e, ok := errors.AsType[*probe.Error](err); !ok || e.Stage != probe.StageRelay || e.Code != 403 {
		t.Errorf("got %v, want 403 at %s", err, probe.StageRelay)
	}
}

// freed is the longest time after which a deallocated port, and the share of a
// quota, can be had again: 1.00 s with coturn 4.6.1, more on a loaded machine.
const freed = 10 * time.Second

// hold allocates with a client that is not ours, until the returned function is
// called.
func hold(t *testing.T, addr netip.AddrPort, user string) (free func()) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := turn.NewClient(&turn.ClientConfig{TURNServerAddr: addr.String(), Conn: conn, Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := c.Allocate()
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = relay.Close()
		c.Close()
		_ = conn.Close()
	}
}
