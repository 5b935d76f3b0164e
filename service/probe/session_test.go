package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// A server that was slow to answer, or whose answer was lost, must not be left
// with an allocation that nobody refreshes for ten minutes.
func TestLostAnswerLeavesNothing(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{Lines: []string{"total-quota=1"}})
	s.AddUser(t, "alice", "secret")
	ctx, lost := context.WithTimeout(t.Context(), time.Minute)
	defer lost()
	via := startProxy(t, s.Addr, []string{""}, func(answer *stun.Message) bool {
		drop := answer.Type == stun.NewType(stun.MethodAllocate, stun.ClassSuccessResponse)
		if drop {
			lost()
		}
		return drop
	})
	if _, err := Allocate(ctx, via, "alice", "secret"); !errors.Is(err, ErrNoAnswer) || ctx.Err() != context.Canceled {
		t.Fatalf("with the answer lost: got %v (%v), want %v", err, ctx.Err(), ErrNoAnswer)
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		_, err := Allocate(t.Context(), s.Addr, "alice", "secret")
		return err
	})
}

// A source port whose last user was another one is refused with 437, which says
// nothing about the credential.
func TestUsedSocket(t *testing.T) {
	t.Parallel()
	s := realtest.StartTurnServer(t, realtest.TurnOptions{})
	s.AddUser(t, "alice", "secret")
	s.AddUser(t, "bob", "secret")
	tests := map[string]struct{ used, code int }{
		"the first":        {used: 1},
		"all but the last": {used: maxSockets - 1},
		"every":            {used: maxSockets, code: 437},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			users := append(slices.Repeat([]string{"bob"}, test.used), "")
			via := startProxy(t, s.Addr, users, func(*stun.Message) bool { return false })
			_, err := Allocate(t.Context(), via, "alice", "secret")
			if code(err) != test.code || (err == nil) != (test.code == 0) {
				t.Errorf("got %v, want code %d", err, test.code)
			}
		})
	}
}

// useAs opens a socket on which user holds an allocation, "" for a new one.
func useAs(t *testing.T, addr netip.AddrPort, user string) *net.UDPConn {
	t.Helper()
	c := &client{Listener: Listener{Transport: UDP, Addr: addr}}
	if err := c.connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if user != "" {
		if err := c.knock(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.logIn(t.Context(), user, "secret"); err != nil {
			t.Fatal(err)
		}
		_ = c.conn.SetReadDeadline(time.Time{})
	}
	return c.conn.(*net.UDPConn)
}

// startProxy passes datagrams between clients and a server, for the nth client
// through a socket that the nth user has used before, and leaves out the answers
// that drop names.
func startProxy(t *testing.T, addr netip.AddrPort, users []string, drop func(*stun.Message) bool) netip.AddrPort {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(realtest.Loopback(t))})
	if err != nil {
		t.Fatal(err)
	}
	conns := []*net.UDPConn{front}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
		wg.Wait()
	})
	for _, user := range users {
		conns = append(conns, useAs(t, addr, user))
	}
	wg.Go(func() {
		unused, backs := conns[1:], map[netip.AddrPort]*net.UDPConn{}
		buf := make([]byte, 1500)
		for {
			n, client, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if backs[client] == nil {
				back := unused[0]
				backs[client], unused = back, unused[1:]
				wg.Go(func() { passBack(back, front, client, drop) })
			}
			_, _ = backs[client].Write(buf[:n])
		}
	})
	return front.LocalAddr().(*net.UDPAddr).AddrPort()
}

func passBack(back, front *net.UDPConn, client netip.AddrPort, drop func(*stun.Message) bool) {
	buf := make([]byte, 1500)
	for {
		n, err := back.Read(buf)
		if err != nil {
			return
		}
		m := new(stun.Message)
		if _, err := m.Write(buf[:n]); err != nil || !drop(m) {
			_, _ = front.WriteToUDPAddrPort(buf[:n], client)
		}
	}
}
