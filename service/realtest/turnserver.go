package realtest

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// Realm is the realm of every TURN server of the tests.
const Realm = "example.org"

// TurnOptions say how a TURN server of a test differs from a plain one.
type TurnOptions struct {
	Addr       netip.AddrPort // where to listen; zero takes a free port on a loopback address of its own
	RelayPorts int            // how many relay ports there are; 0 means 100
	Open       bool           // leave out lt-cred-mech, which makes an open relay
	Lines      []string       // further lines of turnserver.conf, as "total-quota=1"
}

// TurnServer is a real turnserver with a user database of its own.
type TurnServer struct {
	Addr     netip.AddrPort // UDP and TCP
	MinPort  int            // first and last relay port, on Addr's address
	MaxPort  int
	Config   string // path of turnserver.conf
	Database string // path of the sqlite file, in WAL mode

	log    string
	cmd    *exec.Cmd
	exited <-chan struct{} // closed when cmd has been reaped
}

// StartTurnServer starts a turnserver and returns once it answers. It ends with
// the test.
func StartTurnServer(t testing.TB, o TurnOptions) *TurnServer {
	t.Helper()
	Require(t, "turnserver", "turnadmin", "sqlite3")
	if !o.Addr.IsValid() {
		ip := Loopback(t)
		o.Addr = netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(FreePort(t, ip)))
	}
	if o.RelayPorts == 0 {
		o.RelayPorts = 100
	}
	dir := t.TempDir()
	s := &TurnServer{
		Addr:     o.Addr,
		MinPort:  20000, // below the ephemeral range, where a client's socket could sit
		Config:   filepath.Join(dir, "turnserver.conf"),
		Database: filepath.Join(dir, "turndb"),
		log:      filepath.Join(dir, "log"),
	}
	if port := int(o.Addr.Port()); port >= s.MinPort && port < s.MinPort+o.RelayPorts {
		s.MinPort = port + 1
	}
	s.MaxPort = s.MinPort + o.RelayPorts - 1
	CreateDatabase(t, s.Database)

	lines := append([]string{
		"listening-ip=" + o.Addr.Addr().String(),
		fmt.Sprintf("listening-port=%d", o.Addr.Port()),
		"relay-ip=" + o.Addr.Addr().String(),
		fmt.Sprintf("min-port=%d", s.MinPort),
		fmt.Sprintf("max-port=%d", s.MaxPort),
		"realm=" + Realm,
		"userdb=" + s.Database,
		"allow-loopback-peers",
		"no-cli", // coturn 4.6.1 refuses loopback peers together with a CLI that has no password
		"verbose",
	}, o.Lines...)
	if !o.Open {
		lines = append(lines, "lt-cred-mech")
	}
	if err := os.WriteFile(s.Config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Kill(t) })
	s.Start(t)
	return s
}

// Start starts the server again after Kill or Stop, with the same address,
// configuration and users, and returns once it answers.
func (s *TurnServer) Start(t testing.TB) {
	t.Helper()
	// The arguments win over the file; a log file that is said in the file alone
	// is opened too late for coturn's first lines, which land in /var/log.
	cmd := exec.Command("turnserver", "-c", s.Config, "--log-file=stdout", "--no-stdout-log", "--pidfile=")
	cmd.Env = []string{}
	exited := Spawn(t, cmd, s.log)
	s.cmd, s.exited = cmd, exited
	// Builds from 4.6.2 on need up to 4 s for a wide relay range.
	Eventually(t, 15*time.Second, func() error {
		select {
		case <-exited:
			t.Fatalf("turnserver ended at once: %v\n%s", cmd.ProcessState, s.Log(t))
		default:
		}
		return answersBinding(s.Addr)
	})
}

// PID is that of the last start.
func (s *TurnServer) PID() int { return s.cmd.Process.Pid }

// Exited is closed when the server of the last start has ended and been reaped.
func (s *TurnServer) Exited() <-chan struct{} { return s.exited }

// Kill ends the server at once and returns when it is gone.
func (s *TurnServer) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

// Stop asks the server to end and returns when it is gone.
func (s *TurnServer) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

// Pause hangs the server: it keeps its sockets and answers nothing.
func (s *TurnServer) Pause(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGSTOP)
	AwaitStopped(t, s.PID())
}

// Cont ends a Pause.
func (s *TurnServer) Cont(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *TurnServer) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	select {
	case <-s.exited:
		return
	default:
	}
	s.signal(t, sig)
	select {
	case <-s.exited:
	case <-time.After(15 * time.Second):
		t.Errorf("turnserver %d did not end within 15s of signal %v", s.PID(), sig)
	}
}

func (s *TurnServer) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		select {
		case <-s.exited: // it was quicker
		default:
			t.Errorf("signal turnserver %d: %v", s.PID(), err)
		}
	}
}

// Log is what the server has printed so far, over all its starts.
func (s *TurnServer) Log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// AddUser adds a user or replaces its password; the next request sees it.
func (s *TurnServer) AddUser(t testing.TB, user, password string) {
	t.Helper()
	AddUser(t, s.Database, Realm, user, password)
}

// DeleteUser deletes a user; its running allocations go on.
func (s *TurnServer) DeleteUser(t testing.TB, user string) {
	t.Helper()
	sql(t, s.Database, fmt.Sprintf("DELETE FROM turnusers_lt WHERE realm = '%s' AND name = '%s'", Realm, user))
}

// answersBinding asks once, from a new port: a server that is only just
// starting drops or refuses, and the caller asks again.
func answersBinding(addr netip.AddrPort) error {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	n, err := conn.Read(buf)
	if err != nil {
		return err
	}
	if !stun.IsMessage(buf[:n]) {
		return fmt.Errorf("%s answers, but not STUN", addr)
	}
	return nil
}

// Peer starts a UDP server that sends every datagram back, as the far end of a
// relayed call. It ends with the test.
func Peer(t testing.TB) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(Loopback(t))})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}
