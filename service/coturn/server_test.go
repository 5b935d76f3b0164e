package coturn_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// What ReadConf accepts and Render writes must be what turnserver serves with:
// locked, on the operator's port, logging to our pipe and nowhere else.
func TestRenderedConfServes(t *testing.T) {
	realtest.Require(t, "turnserver")
	version, err := coturn.DetectVersion(t.Context(), "turnserver")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tests := map[string]struct {
		mode  coturn.Mode
		lines string
		cli   bool
	}{
		"users":         {coturn.ModeUser, "lt-cred-mech", true},
		"secrets":       {coturn.ModeSecret, "use-auth-secret\nlt-cred-mech", true},
		"no CLI":        {coturn.ModeUser, "lt-cred-mech\ncli-password=operator", false},
		"loopback":      {coturn.ModeUser, "lt-cred-mech\nallow-loopback-peers", true},
		"left out":      {coturn.ModeUser, "lt-cred-mech\nsyslog\ndaemon\nsimple-log\nno-cli\npidfile=" + dir + "/pid\nlog-file=" + dir + "/log", true},
		"quotes, blank": {coturn.ModeUser, "\t lt-cred-mech = yes \nserver-name = \"a b\"", true},
		// Complained about before coturn reads log-file=stdout.
		"unknown to it": {coturn.ModeUser, "rfc5780\nprometheus\nlt-cred-mech", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ip := realtest.Loopback(t)
			listen := realtest.FreePort(t, ip)
			r := coturn.Runtime{Version: version, CLI: tt.cli, CLIPort: realtest.FreePort(t, "127.0.0.1"), CLIPassword: "s3cret"}
			db := filepath.Join(t.TempDir(), "turn db")
			// The first realm and database give way to the later lines.
			c := readConf(t, fmt.Sprintf("realm=first\nuserdb=/nonexistent/db\nlistening-ip=%s\nlistening-port %d\nmin-port=40000\nmax-port=40099\nrealm=\"turn.example.org\"\nuserdb=%s\n%s\n",
				ip, listen, db, tt.lines), tt.mode)
			rendered := filepath.Join(t.TempDir(), "rendered.conf")
			if err := os.WriteFile(rendered, c.Render(r), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := coturn.CheckReadable(t.Context(), rendered, nil); err != nil {
				t.Fatal(err)
			}
			child := startTurnserver(t, rendered)

			server := net.JoinHostPort(ip, fmt.Sprint(listen))
			realtest.Eventually(t, 20*time.Second, func() error { return refusesAllocate(server, c.Realm) })
			// A block-buffered log would stay empty here: the child still runs.
			realtest.Eventually(t, 5*time.Second, func() error { return child.logged("SQLite DB connection success: " + db) })

			cli := net.JoinHostPort("127.0.0.1", fmt.Sprint(r.CLIPort))
			if tt.cli {
				realtest.Eventually(t, 5*time.Second, func() error {
					return cliPrints(cli, r.CLIPassword, "DB: "+db, "verbose: ON", "pidfile: empty", "cli-max-output-sessions: 1000000")
				})
			} else if conn, err := net.Dial("tcp", cli); err == nil {
				_ = conn.Close()
				t.Error("the CLI is reachable, want it off")
			}
			for _, pattern := range []string{child.dir + "/*", dir + "/*", fmt.Sprintf("/var/log/turn_%d_*", child.pid), fmt.Sprintf("/var/tmp/turn_%d_*", child.pid), fmt.Sprintf("/tmp/turn_%d_*", child.pid)} {
				if files, err := filepath.Glob(pattern); err != nil || len(files) != 0 {
					t.Errorf("left behind: %q, %v", files, err)
				}
			}
			if n := strings.Count(child.log.String(), "Listener address to use"); n != 1 {
				t.Errorf("the first line is logged %d times, want once", n)
			}
		})
	}
}

// child is a turnserver and what it has logged so far.
type child struct {
	dir string
	pid int
	log realtest.Log
}

// startTurnserver runs turnserver as a supervisor would, until the test ends.
func startTurnserver(t *testing.T, rendered string) *child {
	t.Helper()
	c := &child{dir: t.TempDir()}
	cmd := exec.Command("turnserver", coturn.Args(rendered)...)
	cmd.Dir, cmd.Env, cmd.Stdout = c.dir, []string{}, &c.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c.pid = cmd.Process.Pid
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("turnserver logged:\n%s", c.log.String())
		}
	})
	return c
}

func (c *child) logged(text string) error {
	if !strings.Contains(c.log.String(), text) {
		return fmt.Errorf("not logged: %s", text)
	}
	return nil
}

// refusesAllocate sends an Allocate without credentials (RFC 8656, section 7)
// and wants 401 and the realm for an answer.
func refusesAllocate(server, realm string) error {
	conn, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	request := binary.BigEndian.AppendUint32([]byte{0, 3, 0, 8}, 0x2112A442)
	request = append(request, "transaction1"...)
	request = append(request, 0, 0x19, 0, 4, 17, 0, 0, 0) // REQUESTED-TRANSPORT: UDP
	if _, err := conn.Write(request); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	answer := make([]byte, 1500)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	answer = answer[:n]
	if !bytes.HasPrefix(answer, []byte{1, 0x13}) || !bytes.Contains(answer, []byte{0, 0, 4, 1}) || !bytes.Contains(answer, []byte(realm)) {
		return fmt.Errorf("got %x, want Allocate error 401 with realm %s", answer, realm)
	}
	return nil
}

// cliPrints logs in to coturn's CLI and wants these words from its command pc.
func cliPrints(addr string, password coturn.CLIPassword, words ...string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	// The CLI takes all that arrives at once for one line.
	var all string
	for _, step := range []struct{ await, send string }{
		{"password: ", string(password) + "\r\n"}, {"> ", "pc\r\n"}, {"cli-max-output-sessions: ", ""}, {"> ", ""},
	} {
		printed, err := readUntil(conn, step.await)
		if err != nil {
			return fmt.Errorf("waiting for %q after %q: %w", step.await, printed, err)
		}
		if _, err := io.WriteString(conn, step.send); err != nil {
			return err
		}
		all += printed
	}
	for _, word := range words {
		if !strings.Contains(all, word) {
			return fmt.Errorf("not in %q: %s", all, word)
		}
	}
	return nil
}

func readUntil(r io.Reader, end string) (string, error) {
	var read []byte
	for one := make([]byte, 1); !bytes.HasSuffix(read, []byte(end)); {
		if _, err := r.Read(one); err != nil {
			return string(read), err
		}
		read = append(read, one...)
	}
	return string(read), nil
}
