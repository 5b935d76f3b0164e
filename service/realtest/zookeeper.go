package realtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
)

// zooJars are all that ZooKeeper 3.8 of Debian 12 needs: the first jar's manifest
// pulls in the others. The two of netty are missing there, and TLS dies with a
// NoClassDefFoundError without them.
const zooJars = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar:" +
	"/usr/share/java/netty-codec.jar:/usr/share/java/netty-resolver.jar"

// ZooKeeper is a real server, alone or a member of an ensemble. Its methods fail
// the test that started it, so faults belong to servers of one's own.
type ZooKeeper struct {
	t      testing.TB
	ip     string
	port   int
	dir    string
	main   string
	cmd    *exec.Cmd
	exited <-chan struct{}
}

// StartZooKeeper runs a ZooKeeper of its own on loopback until the test ends. Its
// tick is 500 ms, so that sessions may be as short as 1 s. Further lines of
// zoo.cfg may be given.
func StartZooKeeper(t testing.TB, lines ...string) *ZooKeeper {
	t.Helper()
	ip := Loopback(t)
	return StartZooKeeperAt(t, ip, FreePort(t, ip), lines...)
}

// StartZooKeeperAt is StartZooKeeper on a given address.
func StartZooKeeperAt(t testing.TB, ip string, port int, lines ...string) *ZooKeeper {
	t.Helper()
	z := newZooKeeper(t, ip, port, "org.apache.zookeeper.server.ZooKeeperServerMain", lines...)
	z.Start()
	z.WaitReady()
	return z
}

// StartEnsemble runs three ZooKeepers that elect a leader.
func StartEnsemble(t testing.TB) []*ZooKeeper {
	t.Helper()
	lines := []string{"initLimit=10", "syncLimit=5"}
	var ips []string
	for i := range 3 {
		ip := Loopback(t)
		ips = append(ips, ip)
		lines = append(lines, fmt.Sprintf("server.%d=%s:%d:%d", i+1, ip, FreePort(t, ip), FreePort(t, ip)))
	}
	var members []*ZooKeeper
	for i, ip := range ips {
		z := newZooKeeper(t, ip, FreePort(t, ip), "org.apache.zookeeper.server.quorum.QuorumPeerMain", lines...)
		if err := os.WriteFile(filepath.Join(z.dir, "data", "myid"), fmt.Append(nil, i+1), 0o600); err != nil {
			t.Fatalf("write myid: %v", err)
		}
		z.Start()
		members = append(members, z)
	}
	for _, z := range members {
		z.WaitReady()
	}
	return members
}

func newZooKeeper(t testing.TB, ip string, port int, main string, lines ...string) *ZooKeeper {
	t.Helper()
	Require(t, "java", "/usr/share/java/zookeeper.jar", "/usr/share/java/slf4j-simple.jar")
	z := &ZooKeeper{t: t, ip: ip, port: port, dir: t.TempDir(), main: main}
	if err := os.Mkdir(filepath.Join(z.dir, "data"), 0o700); err != nil {
		t.Fatalf("make the data directory of ZooKeeper: %v", err)
	}
	cfg := append([]string{
		"tickTime=500",
		"dataDir=" + filepath.Join(z.dir, "data"),
		fmt.Sprintf("clientPort=%d", port),
		"clientPortAddress=" + ip,
		"admin.enableServer=false", // its port 8080 may be busy: exit code 4
		"4lw.commands.whitelist=*",
		"maxClientCnxns=0", // 60 per address otherwise
		"minSessionTimeout=1000",
		"maxSessionTimeout=60000",
	}, lines...)
	if err := os.WriteFile(filepath.Join(z.dir, "zoo.cfg"), []byte(strings.Join(cfg, "\n")+"\n"), 0o600); err != nil {
		t.Fatalf("write zoo.cfg: %v", err)
	}
	t.Cleanup(func() {
		z.Kill()
		if t.Failed() {
			t.Logf("the end of ZooKeeper's log:\n%s", z.logTail())
		}
	})
	return z
}

// Addr is the address that clients connect to.
func (z *ZooKeeper) Addr() string { return net.JoinHostPort(z.ip, fmt.Sprint(z.port)) }

// PID is that of the process.
func (z *ZooKeeper) PID() int { return z.cmd.Process.Pid }

// Start starts the process; WaitReady waits until it serves.
func (z *ZooKeeper) Start() {
	z.t.Helper()
	// The serial collector and one compiler stage halve the time to readiness.
	cmd := exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto", "-Xmx256m",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", zooJars, z.main, filepath.Join(z.dir, "zoo.cfg"))
	z.cmd, z.exited = cmd, Spawn(z.t, cmd, filepath.Join(z.dir, "log"))
}

// WaitReady waits until the server serves, in an ensemble until it has a quorum.
func (z *ZooKeeper) WaitReady() {
	z.t.Helper()
	// The port opens 0.3 s before the server serves, and a question asked meanwhile is
	// never answered: ask again soon, and on a busy machine ever more patiently.
	began := time.Now()
	Eventually(z.t, 2*time.Minute, func() error {
		select {
		case <-z.exited:
			z.t.Fatalf("ZooKeeper ended at its start:\n%s", z.logTail())
		default:
		}
		if z.field("srvr", "Mode: ", max(150*time.Millisecond, time.Since(began)/10)) == "" {
			return fmt.Errorf("ZooKeeper at %s does not serve", z.Addr())
		}
		return nil
	})
}

// asking is how long a server that serves may take to answer.
const asking = 5 * time.Second

// Mode is standalone, leader or follower; empty while the server does not serve.
func (z *ZooKeeper) Mode() string { return z.field("srvr", "Mode: ", asking) }

// Watches is the number of watches that clients have armed at this server.
func (z *ZooKeeper) Watches() string { return z.field("mntr", "zk_watch_count\t", asking) }

// field is the value behind a prefix in the answer to a four-letter word.
func (z *ZooKeeper) field(word, prefix string, patience time.Duration) string {
	c, err := net.DialTimeout("tcp", z.Addr(), patience)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte(word)); err != nil {
		return ""
	}
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), prefix); ok {
			return value
		}
	}
	return ""
}

// Stop ends the server in order, its data kept.
func (z *ZooKeeper) Stop() { z.end(syscall.SIGTERM) }

// Kill ends the server at once, its data kept.
func (z *ZooKeeper) Kill() { z.end(syscall.SIGKILL) }

func (z *ZooKeeper) end(sig syscall.Signal) {
	if z.cmd != nil {
		_ = z.cmd.Process.Signal(sig)
		<-z.exited
	}
}

// Restart kills the server and starts it again on the same data.
func (z *ZooKeeper) Restart() {
	z.t.Helper()
	z.Kill()
	z.Start()
	z.WaitReady()
}

// Pause stops the process: connections stay open and are not answered.
func (z *ZooKeeper) Pause() {
	z.t.Helper()
	z.signal(syscall.SIGSTOP)
	AwaitStopped(z.t, z.PID())
}

// Cont continues a paused process.
func (z *ZooKeeper) Cont() { z.signal(syscall.SIGCONT) }

func (z *ZooKeeper) signal(sig syscall.Signal) {
	z.t.Helper()
	if err := z.cmd.Process.Signal(sig); err != nil {
		z.t.Fatalf("send %v to ZooKeeper: %v", sig, err)
	}
}

// Wipe removes the data of a stopped server.
func (z *ZooKeeper) Wipe() {
	z.t.Helper()
	if err := os.RemoveAll(filepath.Join(z.dir, "data", "version-2")); err != nil {
		z.t.Fatalf("wipe ZooKeeper: %v", err)
	}
}

// Client is a plain client of the server for a test's own look at it, closed with
// the test.
func (z *ZooKeeper) Client(t testing.TB) *zk.Conn {
	t.Helper()
	c, _, err := zk.Connect([]string{z.Addr()}, 30*time.Second, zk.WithLogInfo(false), zk.WithLogger(silent{}),
		zk.WithDialer(func(network, addr string, timeout time.Duration) (net.Conn, error) {
			c, err := net.DialTimeout(network, addr, timeout)
			return hasty{c}, err
		}))
	if err != nil {
		t.Fatalf("connect to ZooKeeper: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

// hasty is a connection whose handshake ends after some seconds. The library allows it
// 200 s at such a session timeout, which a server that is just starting may let pass.
type hasty struct{ net.Conn }

func (h hasty) SetReadDeadline(t time.Time) error {
	if time.Until(t) > time.Minute { // later on it waits for 20 s, and asks every 10
		t = time.Now().Add(3 * time.Second)
	}
	return h.Conn.SetReadDeadline(t)
}

type silent struct{}

func (silent) Printf(string, ...any) {}

func (z *ZooKeeper) logTail() string {
	b, err := os.ReadFile(filepath.Join(z.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4000):])
}
