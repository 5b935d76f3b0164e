package e2e

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestScriptsProbe runs `turnwarden probe` against real servers, each good or broken
// in a way of its own, and expects the documented exit codes.
func TestScriptsProbe(t *testing.T) {
	t.Parallel()
	start := func(notAfter time.Time, o realtest.TurnOptions) (s *realtest.TurnServer, cert string) {
		ip := realtest.Loopback(t)
		cert, key := realtest.Certificate(t, ip, notAfter.Add(-90*24*time.Hour), notAfter)
		o.Addr = netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(realtest.FreePort(t, ip)))
		o.Lines = append(o.Lines, "cert="+cert, "pkey="+key)
		s = realtest.StartTurnServer(t, o)
		s.AddUser(t, "alice", "hunter2")
		return s, cert
	}
	later := time.Now().Add(60 * 24 * time.Hour)
	good, cert := start(later, realtest.TurnOptions{})
	expired, _ := start(time.Now().Add(-time.Hour), realtest.TurnOptions{})
	open, _ := start(later, realtest.TurnOptions{Open: true})
	denied, _ := start(later, realtest.TurnOptions{Lines: []string{"denied-peer-ip=127.0.0.0-127.255.255.255"}})
	full, _ := start(later, realtest.TurnOptions{Lines: []string{"total-quota=1"}})
	holdAllocation(t, full.Addr, seed{UserID: "alice", Password: "hunter2"})
	hung, _ := start(later, realtest.TurnOptions{})
	hung.Pause(t)
	env := map[string]string{"NO_REFRESH": withoutRefresh(t, good.Addr).String(), "CERT": cert}
	for name, s := range map[string]*realtest.TurnServer{"GOOD": good, "EXPIRED": expired, "OPEN": open, "DENIED": denied, "FULL": full, "HUNG": hung} {
		env[name], env[name+"_HOST"] = s.Addr.String(), s.Addr.Addr().String()
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/probe", Setup: inScript(env),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and expects an exit code, the first argument.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// withoutRefresh is a way to a server on which every Refresh is lost.
func withoutRefresh(t *testing.T, server netip.AddrPort) netip.AddrPort {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(realtest.Loopback(t))})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	backs := map[netip.AddrPort]*net.UDPConn{}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = front.Close()
		mu.Lock()
		for _, b := range backs {
			_ = b.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	all.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, client, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			m := &stun.Message{Raw: buf[:n]}
			if m.Decode() == nil && m.Type.Method == stun.MethodRefresh {
				continue
			}
			mu.Lock()
			back := backs[client]
			if back == nil {
				if back, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(server)); err != nil {
					mu.Unlock()
					return
				}
				backs[client] = back
				all.Go(func() {
					answer := make([]byte, 1<<16)
					for {
						n, err := back.Read(answer)
						if err != nil {
							return
						}
						_, _ = front.WriteToUDPAddrPort(answer[:n], client)
					}
				})
			}
			mu.Unlock()
			_, _ = back.Write(buf[:n])
		}
	})
	return front.LocalAddr().(*net.UDPAddr).AddrPort()
}
