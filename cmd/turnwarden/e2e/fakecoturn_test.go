package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// fakeEnv makes this test binary a turnserver of the release it names.
const fakeEnv = "TURNWARDEN_TEST_COTURN"

// fakeCoturn is a turnserver that drains as releases from 4.6.3 on do, which are not
// packaged here: on SIGUSR1 new Allocates are answered with 403, and it exits with 0
// some seconds after its last allocation; SIGTERM takes 4.5 s, during which it goes on
// as before. It is the real turnserver, with a socket of ours before it.
type fakeCoturn struct {
	version string
	front   *net.UDPConn
	back    netip.AddrPort
	lag     time.Duration // from the last allocation to the exit

	mu       sync.Mutex
	clients  map[netip.AddrPort]*net.UDPConn
	calls    map[string]*net.UDPConn // by session id, each with a socket in the relay range of our own, for those who count them
	draining bool
	held     time.Time // 4.7 counts each Allocate that it refused until then
	empty    *time.Timer
}

// install writes the program that coturn.turnserver is to name.
func installFakeCoturn(t testing.TB, version string) (path string) {
	t.Helper()
	realtest.Require(t, "turnserver")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "turnserver")
	script := fmt.Sprintf("#!/bin/sh\n%s=%s exec %q \"$@\"\n", fakeEnv, version, self)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func fakeCoturnMain(version string) {
	if os.Args[1] == "--version" {
		fmt.Println(version)
		return
	}
	f := &fakeCoturn{version: version, lag: 7 * time.Second, clients: map[netip.AddrPort]*net.UDPConn{}, calls: map[string]*net.UDPConn{}}
	if err := f.run(os.Args[2]); err != nil { // after -c
		fmt.Println("ERROR:", err)
		os.Exit(255)
	}
}

func (f *fakeCoturn) run(conf string) error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGUSR1, syscall.SIGTERM)
	data, err := os.ReadFile(conf)
	if err != nil {
		return err
	}
	option := func(name string) string {
		return regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(string(data))[1]
	}
	if f.front, err = listenUDP(net.JoinHostPort(option("listening-ip"), option("listening-port"))); err != nil {
		return err
	}
	spare, err := listenUDP(net.JoinHostPort(option("listening-ip"), "0"))
	if err != nil {
		return err
	}
	f.back = spare.LocalAddr().(*net.UDPAddr).AddrPort()
	spare.Close()
	behind := conf + ".behind"
	lines := regexp.MustCompile(`(?m)^(listening-port=.*|cli.*)$`).ReplaceAllString(string(data), "")
	if err := os.WriteFile(behind, fmt.Appendf(nil, "%s\nlistening-port=%d\nno-cli\n", lines, f.back.Port()), 0o600); err != nil {
		return err
	}
	runtime.LockOSThread() // Pdeathsig is about this thread
	cmd := exec.Command("turnserver", "-c", behind, "--log-file=stdout", "--no-stdout-log", "--pidfile=")
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Kill() }()
	f.empty = time.NewTimer(time.Hour)
	f.empty.Stop()
	go f.copyLog(out)
	go f.serve()
	for {
		select {
		case s := <-told:
			if s == syscall.SIGTERM {
				fmt.Println("0: : Terminating on signal 15")
				<-time.After(4500 * time.Millisecond)
				return nil
			}
			fmt.Println("0: : Draining then terminating on signal 10")
			f.mu.Lock()
			f.draining = true
			f.settle()
			f.mu.Unlock()
		case <-f.empty.C:
			fmt.Println("0: : Drain complete (0 allocations remaining, threshold 0), shutting down now...")
			return nil
		}
	}
}

func listenUDP(addr string) (*net.UDPConn, error) {
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenUDP("udp", a)
}

// settle arranges the exit of a server that drains; f.mu is held.
func (f *fakeCoturn) settle() {
	f.empty.Stop()
	if f.draining && len(f.calls) == 0 {
		f.empty.Reset(max(f.lag, time.Until(f.held)))
	}
}

var sessionLine = regexp.MustCompile(`session (\d+): (new,|delete:)`)

// copyLog prints what the real server prints, and counts its allocations.
func (f *fakeCoturn) copyLog(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Println(lines.Text())
		if m := sessionLine.FindStringSubmatch(lines.Text()); m != nil {
			f.mu.Lock()
			if m[2] == "new," {
				f.calls[m[1]] = relaySocket()
			} else if c := f.calls[m[1]]; c != nil {
				c.Close()
				delete(f.calls, m[1])
			}
			f.settle()
			f.mu.Unlock()
		}
	}
}

// relaySocket takes a port of the tests' relay range, on an address that is not the
// relay's.
func relaySocket() *net.UDPConn {
	for port := 20000; ; port++ {
		if c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			return c
		}
	}
}

// serve passes on what clients send.
func (f *fakeCoturn) serve() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := f.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: append([]byte{}, buf[:n]...)}
		if m.Decode() == nil && m.Type == stun.NewType(stun.MethodAllocate, stun.ClassRequest) && f.refuses() {
			fmt.Printf("0: : session 000000000000000000: realm <example.org> user <>: incoming packet message processed, error 403: Server is draining\n")
			answer := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.NewType(stun.MethodAllocate, stun.ClassErrorResponse),
				stun.ErrorCodeAttribute{Code: stun.CodeForbidden, Reason: []byte("Server is draining")}, stun.Fingerprint)
			_, _ = f.front.WriteToUDPAddrPort(answer.Raw, from)
			continue
		}
		if c := f.client(from); c != nil {
			_, _ = c.Write(buf[:n])
		}
	}
}

func (f *fakeCoturn) refuses() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.draining && strings.HasPrefix(f.version, "4.7") {
		f.held = time.Now().Add(time.Minute)
		f.settle()
	}
	return f.draining
}

// client is the socket by which the real server knows a client.
func (f *fakeCoturn) client(from netip.AddrPort) *net.UDPConn {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.clients[from]; c != nil {
		return c
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.back))
	if err != nil {
		fmt.Println("ERROR:", err)
		return nil
	}
	f.clients[from] = c
	go func() {
		buf := make([]byte, 1<<16)
		for {
			n, err := c.Read(buf)
			if err == nil {
				_, _ = f.front.WriteToUDPAddrPort(buf[:n], from)
			} else if _, ok := err.(net.Error); !ok { // refused while the real one starts
				return
			}
		}
	}()
	return c
}
