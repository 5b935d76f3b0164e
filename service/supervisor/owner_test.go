package supervisor_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// freeAddr is an address of the test's own with a port that nobody has on any address.
func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	return netip.AddrPortFrom(netip.MustParseAddr(realtest.Loopback(t)), uint16(realtest.FreePort(t, "0.0.0.0")))
}

// listen holds addr in this process until the test ends.
func listen(t *testing.T, network string, addr netip.AddrPort) {
	t.Helper()
	var held io.Closer
	var err error
	version := "6"
	if addr.Addr().Is4() {
		version = "4" // without it Go takes [::] for 0.0.0.0
	}
	if network == "tcp" {
		held, err = net.Listen("tcp"+version, addr.String())
	} else {
		held, err = net.ListenPacket("udp"+version, addr.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = held.Close() })
}

func TestPortOwners(t *testing.T) {
	addr := freeAddr(t)
	if found, err := supervisor.PortOwners(addr.Port()); err != nil || len(found) != 0 {
		t.Fatalf("of a free port: %v, %v", found, err)
	}
	listen(t, "udp", addr)
	listen(t, "tcp", addr)
	// A connection on the port is nobody's listener.
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })

	found, err := supervisor.PortOwners(addr.Port())
	if err != nil || len(found) != 2 {
		t.Fatalf("PortOwners = %v, %v; want two", found, err)
	}
	for i, network := range []string{"udp", "tcp"} {
		s := found[i]
		if s.Network != network || s.Addr != addr || s.PID != os.Getpid() || s.UID != uint32(os.Getuid()) || s.Inode == 0 {
			t.Errorf("socket = %+v", s)
		}
		want := fmt.Sprintf("%s %s is held by pid %d (supervisor.test)", network, addr, os.Getpid())
		if s.String() != want {
			t.Errorf("%q, want %q", s, want)
		}
	}
}

func TestForeign(t *testing.T) {
	addr := freeAddr(t)
	at := func(ip string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), addr.Port()) }
	neighbour := netip.AddrPortFrom(addr.Addr().Next(), addr.Port())
	tests := map[string]struct {
		held   netip.AddrPort
		listen netip.AddrPort
		want   bool
	}{
		"same address":           {addr, addr, true},
		"mapped address":         {addr, at("::ffff:" + addr.Addr().String()), true},
		"neighbouring address":   {neighbour, addr, false},
		"neighbouring port":      {netip.AddrPortFrom(addr.Addr(), addr.Port()+1), addr, false},
		"they have every IPv4":   {at("0.0.0.0"), addr, true},
		"they have every IP":     {at("::"), addr, true},
		"we have every IPv4":     {addr, at("0.0.0.0"), true},
		"we have every IP":       {addr, at("::"), true},
		"we have every IPv6":     {at("::1"), at("::"), true},
		"we name no address":     {addr, netip.AddrPortFrom(netip.Addr{}, addr.Port()), true},
		"IPv6 and every IPv4":    {at("::1"), at("0.0.0.0"), false},
		"every IPv4 and an IPv6": {at("0.0.0.0"), at("::1"), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, network := range []string{"udp", "tcp"} {
				listen(t, network, tt.held)
			}
			want := 0
			if tt.want {
				want = 2
			}
			found, err := supervisor.Foreign(0, []netip.AddrPort{tt.listen})
			if err != nil || len(found) != want {
				t.Errorf("Foreign(0) = %v, %v; want %d", found, err, want)
			}
			for _, s := range found {
				if s.PID != os.Getpid() {
					t.Errorf("holder of %+v, want %d", s, os.Getpid())
				}
			}
			found, err = supervisor.Foreign(os.Getpid(), []netip.AddrPort{tt.listen})
			if err != nil || len(found) != 0 {
				t.Errorf("our own sockets are foreign to us: %v, %v", found, err)
			}
		})
	}
}

// coturn opens and closes sockets on its port for every client. None of them
// may look foreign, however they fall between the two lists of a look.
func TestForeignWhileSocketsComeAndGo(t *testing.T) {
	addr := freeAddr(t)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if p, err := net.ListenPacket("udp", addr.String()); err == nil {
				_ = p.Close()
			}
		}
	}()
	for range 30 {
		found, err := supervisor.Foreign(os.Getpid(), []netip.AddrPort{addr})
		if err != nil || len(found) != 0 {
			t.Errorf("Foreign = %v, %v", found, err)
			break
		}
	}
	close(stop)
	<-done
}

func TestOwnerThatCannotBeSeen(t *testing.T) {
	if os.Getuid() != 0 {
		realtest.Missing(t, "only root can look as another user")
	}
	addr := freeAddr(t)
	listen(t, "udp", addr)
	cmd, lines := command("look", fmt.Sprint(addr.Port()), fmt.Sprint(os.Getpid()))
	cmd.Credential, cmd.Dir = nobody(), "/"
	p, err := cmd.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("[udp %s is held by a process of uid 0 that cannot be seen from here; find it with: ss -lnpu 'sport = :%d'] <nil>", addr, addr.Port())
	if got := <-lines; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := <-lines; !strings.HasPrefix(got, fmt.Sprintf("read the sockets of our turnserver, pid %d: open /proc/", os.Getpid())) {
		t.Errorf("where its own child cannot be told from others: %s", got)
	}
}

func TestTwoTurnserversOnOnePort(t *testing.T) {
	one := realtest.StartTurnServer(t, realtest.TurnOptions{})
	listen := []netip.AddrPort{one.Addr}
	if found, err := supervisor.Foreign(one.PID(), listen); err != nil || len(found) != 0 {
		t.Fatalf("alone on its port: %v, %v", found, err)
	}
	two := realtest.StartTurnServer(t, realtest.TurnOptions{Addr: one.Addr})
	for own, other := range map[int]int{one.PID(): two.PID(), two.PID(): one.PID()} {
		var found []supervisor.Socket
		// The first may have answered the Binding that the second was waited for with.
		realtest.Eventually(t, 10*time.Second, func() (err error) {
			if found, err = supervisor.Foreign(own, listen); err == nil && len(found) == 0 {
				err = fmt.Errorf("nobody is foreign to %d", own)
			}
			return err
		})
		for _, s := range found {
			if s.PID != other || s.Command != "turnserver" || s.Addr != one.Addr {
				t.Errorf("foreign to %d: %+v, want pid %d (turnserver)", own, s, other)
			}
		}
	}
	udp, tcp, err := supervisor.Listeners(one.PID(), one.Addr.Port())
	if err != nil || len(udp) != 1 || len(tcp) != 1 || udp[0] != one.Addr || tcp[0] != one.Addr {
		t.Errorf("Listeners = %v, %v, %v; want %v for both", udp, tcp, err, one.Addr)
	}
	two.Kill(t)
	if found, err := supervisor.Foreign(one.PID(), listen); err != nil || len(found) != 0 {
		t.Errorf("alone again: %v, %v", found, err)
	}
}
