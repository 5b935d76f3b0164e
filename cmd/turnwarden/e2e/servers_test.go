package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// servers runs turnwarden servers.
func servers(args ...string) (out string, code int) {
	return finish(turnwarden(append([]string{"servers"}, args...)...))
}

func TestServers(t *testing.T) {
	t.Parallel()
	h, z, _ := registered(t, options{set: map[string]string{"node": "turn-1"}})
	g := startGateway(t, []string{z.Addr()}, nil)
	for _, file := range []string{h.yml, g.yml} {
		out, code := servers("--config.file=" + file)
		if code != codeOK || !strings.Contains(out, "NODE ") || !strings.Contains(out, "turn-1  up     ██████████  ") || !strings.HasSuffix(out, "1 nodes; free and capacity in Mbit/s\n") {
			t.Errorf("%d\n%s", code, out)
		}
		out, code = servers("--config.file="+file, "--output=json")
		var s transport.FleetStatus
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != codeOK || !s.Live || len(s.Nodes) != 1 || s.Nodes[0].Node != "turn-1" || s.Nodes[0].Generation != 1 {
			t.Errorf("%d %v\n%s", code, err, out)
		}
	}
	standalone := newHost(t, options{})
	if out, code := servers("--config.file=" + standalone.yml); code != codeUsage || !strings.Contains(out, "registry.zookeeper: found nothing") {
		t.Errorf("%d\n%s", code, out)
	}
}

// watching is turnwarden servers --watch on a terminal or a pipe.
type watching struct {
	t   *testing.T
	cmd *exec.Cmd
	out io.Writer // the terminal's keyboard

	text realtest.Log
	read chan struct{} // closed at the end
}

func watchServers(t *testing.T, z *realtest.ZooKeeper, terminal bool, args ...string) *watching {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gateway.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "registry: {zookeeper: %q, session_timeout: 4s}\ngateway: {}\n", z.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &watching{t: t, cmd: turnwarden(append([]string{"servers", "--watch", "--config.file=" + file}, args...)...), read: make(chan struct{})}
	var ours, theirs *os.File
	if terminal {
		ours, theirs = openTerminal(t)
		w.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		w.cmd.Stdin = theirs
	} else {
		var err error
		if ours, theirs, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
	}
	w.cmd.Stdout, w.cmd.Stderr, w.out = theirs, theirs, ours
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	go func() {
		defer close(w.read)
		_, _ = io.Copy(&w.text, ours) // a terminal ends with an error
	}()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
		<-w.read
		_ = ours.Close()
	})
	return w
}

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		realtest.Missing(t, fmt.Sprintf("no pseudo-terminals: %v", err))
	}
	if err := unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// shows waits until the last table that is complete, up to its end, is as wanted.
func (w *watching) shows(end string, wanted func(table string) bool) {
	w.t.Helper()
	realtest.Eventually(w.t, 30*time.Second, func() error {
		tables := strings.Split(w.text.String(), end)
		if len(tables) < 2 {
			return fmt.Errorf("no table yet: %q", tables)
		}
		if table := tables[len(tables)-2]; !wanted(table) {
			return fmt.Errorf("it shows\n%s", table)
		}
		return nil
	})
}

// ends waits for the exit code.
func (w *watching) ends(limit time.Duration) int {
	w.t.Helper()
	select {
	case <-w.read: // when nobody has the other end any more
	case <-time.After(limit):
		w.t.Fatalf("still running after %v; it has shown\n%s", limit, w.text.String())
	}
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode()
}

// TestServersWatch looks at a fleet that changes, on a terminal and through pipes, until
// somebody presses Ctrl-C.
func TestServersWatch(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	c := z.Client(t)
	for _, path := range []string{"/turn", "/turn/servers"} {
		if _, err := c.Create(path, nil, 0, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, state string, free float64, seq uint64) {
		t.Helper()
		r := directory.Record{V: 1, State: state, FreeTraffic: free, CapacityMbps: 1000, Seq: seq, IntervalSec: 3600, RESTAddr: "10.0.0." + name[5:] + ":13478"}
		_, err := c.Create("/turn/servers/"+name, r.Encode(), 0, zk.WorldACL(zk.PermAll))
		if errors.Is(err, zk.ErrNodeExists) {
			_, err = c.Set("/turn/servers/"+name, r.Encode(), -1)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"turn-1", "turn-2", "turn-3"} {
		put(name, "up", 1000, 1)
	}
	terminal, pipe, lines := watchServers(t, z, true), watchServers(t, z, false), watchServers(t, z, false, "--output=json")
	const onTerminal, onPipe, wipe = " free and capacity in Mbit/s\r\n", " free and capacity in Mbit/s\n", "\x1b[H\x1b[2J"
	all := func(want int, row string) {
		t.Helper()
		has := func(table string) bool {
			return strings.Contains(table, row) && strings.HasSuffix(table, fmt.Sprintf("%d nodes;", want)) && strings.Count(table, "NODE ") == 1
		}
		terminal.shows(onTerminal, func(table string) bool { return strings.HasPrefix(table, wipe) && has(table) })
		pipe.shows(onPipe, has)
		lines.shows("\n", func(line string) bool {
			var s transport.FleetStatus
			err := json.Unmarshal([]byte(line), &s)
			return err == nil && len(s.Nodes) == want && slices.ContainsFunc(s.Nodes, func(n transport.Server) bool { return strings.HasPrefix(row, n.Node+"  "+n.State+" ") })
		})
	}
	all(3, "turn-1  up     ██████████  1000.0")
	put("turn-2", "full", 0, 2)
	all(3, "turn-2  full   ░░░░░░░░░░  0.0")
	put("turn-4", "draining", 0, 1)
	all(4, "turn-4  draining  ░░░░░░░░░░  0.0")
	if err := c.Delete("/turn/servers/turn-4", -1); err != nil {
		t.Fatal(err)
	}
	put("turn-1", "up", 250, 2)
	all(3, "turn-1  up     ███░░░░░░░  250.0")

	const unseen = "this is what was last seen, at"
	z.Kill()
	terminal.shows(onTerminal, func(table string) bool {
		return strings.Contains(table, unseen) && strings.Contains(table, "turn-1  up")
	})
	lines.shows("\n", func(line string) bool { return strings.Contains(line, `"live":false`) })
	z.Start()
	z.WaitReady()
	terminal.shows(onTerminal, func(table string) bool {
		return !strings.Contains(table, unseen) && strings.Contains(table, "turn-1  up")
	})

	if _, err := terminal.out.Write([]byte{3}); err != nil { // what a terminal sends for Ctrl-C
		t.Fatal(err)
	}
	_ = pipe.cmd.Process.Signal(syscall.SIGINT)
	_ = lines.cmd.Process.Signal(syscall.SIGTERM)
	for name, w := range map[string]*watching{"terminal": terminal, "pipe": pipe, "JSON": lines} {
		if code := w.ends(20 * time.Second); code != codeOK {
			t.Errorf("%s: exit code %d", name, code)
		}
		if name != "terminal" && strings.Contains(w.text.String(), "\x1b") {
			t.Errorf("%s: it has sequences for terminals:\n%q", name, w.text.String())
		}
	}
}
