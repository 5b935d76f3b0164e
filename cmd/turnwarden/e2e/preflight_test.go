package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestBadInput: each mistake of an operator is one line that says what to do, exit
// code 2, and nothing is left running.
func TestBadInput(t *testing.T) {
	t.Parallel()
	taken := func(t *testing.T, network, addr string) {
		t.Helper()
		if network == "udp" {
			p, err := net.ListenPacket("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { p.Close() })
			return
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	self := "pid " // the test process holds the port, and its pid is named
	for name, test := range map[string]struct {
		options options
		prepare func(t *testing.T, h *host)
		want    []string // each must be in the line
	}{
		"missing turnserver": {
			options: options{set: map[string]string{"coturn.turnserver": "/nowhere/turnserver"}},
			want:    []string{"coturn.turnserver", "/nowhere/turnserver", "install coturn"},
		},
		"missing turnadmin": {
			options: options{set: map[string]string{"coturn.turnadmin": "/nowhere/admin"}},
			want:    []string{"/nowhere/admin", "coturn.turnadmin"},
		},
		"missing turnserver.conf": {
			options: options{set: map[string]string{"coturn.config_file": "/nowhere/turnserver.conf"}},
			want:    []string{"/nowhere/turnserver.conf", "coturn.config_file"},
		},
		"turnserver.conf is a directory": {
			prepare: func(_ *testing.T, h *host) { _ = os.Remove(h.conf); _ = os.Mkdir(h.conf, 0o700) },
			want:    []string{"turnserver.conf", "regular file"},
		},
		"no realm":        {options: options{without: "realm"}, want: []string{"realm", "realm=turn.example.org"}},
		"no lt-cred-mech": {options: options{without: "lt-cred-mech"}, want: []string{"lt-cred-mech", "anybody"}},
		"no transport":    {options: options{conf: []string{"no-udp", "no-tcp"}}, want: []string{"no-udp", "remove one of the lines"}},
		"relay-ip not ours": {
			options: options{without: "relay-ip", conf: []string{"relay-ip=198.51.100.7"}},
			want:    []string{"relay-ip=198.51.100.7", "external-ip"},
		},
		"user line": {options: options{conf: []string{"user=alice:secret1"}}, want: []string{"user"}},
		"userdb in a directory that is not there": {
			options: options{without: "userdb", conf: []string{"userdb=/nowhere/turndb"}},
			want:    []string{"/nowhere"},
		},
		"userdb is no database": {
			prepare: func(t *testing.T, h *host) { h.write(t, filepath.Join(h.dir, "turndb"), "this is not a database") },
			want:    []string{"turndb"},
		},
		"no tokens file": {options: options{set: map[string]string{"api.tokens_file": "/nowhere/tokens"}}, want: []string{"api.tokens_file", "/nowhere/tokens"}},
		"no certificate": {
			options: options{set: map[string]string{"api.tls": "{cert_file: /nowhere/cert.pem, key_file: /nowhere/key.pem}"}},
			want:    []string{"api.tls", "/nowhere/cert.pem"},
		},
		"UDP port taken": {
			prepare: func(t *testing.T, h *host) { taken(t, "udp", h.addr().String()) },
			want:    []string{self, "udp", "listening-port"},
		},
		"TCP port taken": {
			prepare: func(t *testing.T, h *host) { taken(t, "tcp", h.addr().String()) },
			want:    []string{self, "tcp", "listening-port"},
		},
		"API port taken": {
			prepare: func(t *testing.T, h *host) { taken(t, "tcp", h.rest()) },
			want:    []string{"api.listen", "address already in use"},
		},
		"unknown interface": {
			options: options{set: map[string]string{"traffic.interface": "eth77"}},
			want:    []string{"eth77", "lo"},
		},
		"capacity unknown with ZooKeeper": {
			options: options{zookeeper: []string{"127.0.0.1:2181"}, set: map[string]string{"traffic.interface": "lo", "traffic.capacity_mbps": "auto"}},
			want:    []string{"traffic.capacity_mbps", "lo"},
		},
		"ZooKeeper address nonsense": {
			options: options{zookeeper: []string{`"zk1:port"`}},
			want:    []string{"registry.zookeeper", "zk1:port"},
		},
		"ZooKeeper chroot": {
			options: options{zookeeper: []string{`"zk1:2181/turn"`}},
			want:    []string{"registry.zookeeper", "registry.path"},
		},
		"state directory cannot be made": {
			options: options{set: map[string]string{"credentials.state_dir": "/proc/nowhere"}},
			want:    []string{"credentials.state_dir", "/proc/nowhere"},
		},
		"unknown user": {
			options: options{set: map[string]string{"coturn.user": "nobody-of-that-name"}},
			want:    []string{"coturn.user", "nobody-of-that-name"},
		},
		"credentials to strangers": {
			options: options{set: map[string]string{"api.listen": `"0.0.0.0:0"`}},
			want:    []string{"api.listen", "allow_unauthenticated"},
		},
		"bad YAML": {
			prepare: func(t *testing.T, h *host) { h.write(t, h.yml, "coturn: [\n") },
			want:    []string{"turnwarden.yml", "line"},
		},
		"no file": {
			prepare: func(_ *testing.T, h *host) { os.Remove(h.yml) },
			want:    []string{"turnwarden.yml", "--config.file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, test.options)
			if test.prepare != nil {
				test.prepare(t, h)
			}
			cmd := turnwarden(append(h.args(), "--log.level=error")...)
			timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			out, code := finish(cmd)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			text := strings.TrimSpace(out)
			if strings.Contains(text, "\n") {
				t.Errorf("more than one line:\n%s", text)
			}
			for _, w := range test.want {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in: %s", w, text)
				}
			}
			if strings.Contains(text, "secret1") {
				t.Errorf("a secret in: %s", text)
			}
			if pids := turnservers(t, filepath.Join(h.dir, "state", "turnserver.conf")); len(pids) > 0 {
				t.Errorf("left running: %v", pids)
			}
			t.Log(text)
		})
	}
}

// TestUnreadableForTheChild: a file that the child's user cannot read would start it
// with coturn's defaults, open to anybody.
func TestUnreadableForTheChild(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		realtest.Missing(t, "only root can run the child as another user")
	}
	db := openDir(t)
	h := newHost(t, options{
		without: "userdb", conf: []string{"userdb=" + filepath.Join(db, "turndb")},
		set: map[string]string{"coturn.user": "nobody"}, // who may not enter the state directory
	})
	h.start(t)
	realtest.Eventually(t, 20*time.Second, func() error {
		_, body, err := h.get("/-/ready")
		if err == nil && !strings.Contains(body, "unreadable for uid 65534") {
			err = fmt.Errorf("ready says %q", body)
		}
		return err
	})
	if pid := h.child(t); pid != 0 {
		t.Errorf("turnserver runs all the same, pid %d", pid)
	}
	if got := h.metric(t, "turnwarden_turnserver_log_lines_total"); got != "0" {
		t.Errorf("turnserver was started and wrote %s lines", got)
	}
}

// openDir is a directory that every user may write, whose parents all may enter.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "turnwarden-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestUnreadableConf: a turnserver.conf that turnwarden itself may not read is refused.
func TestUnreadableConf(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		realtest.Missing(t, "only root can run turnwarden as another user")
	}
	dir := openDir(t)
	self, err := os.ReadFile(program())
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "turnwarden")
	for path, file := range map[string]struct {
		data string
		mode os.FileMode
	}{
		copied:                                {string(self), 0o755},
		filepath.Join(dir, "turnwarden.yml"):  {"coturn: {config_file: " + dir + "/turnserver.conf}\n", 0o644},
		filepath.Join(dir, "turnserver.conf"): {"lt-cred-mech\nrealm=a\n", 0o600},
	} {
		if err := os.WriteFile(path, []byte(file.data), file.mode); err != nil {
			t.Fatal(err)
		}
	}
	cmd := turnwarden("check-config", "--config.file="+filepath.Join(dir, "turnwarden.yml"))
	cmd.Path, cmd.Dir = copied, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, code := finish(cmd)
	text := strings.TrimSpace(out)
	if code != 2 || strings.Contains(text, "\n") || !strings.Contains(text, "turnserver.conf") || !strings.Contains(text, "65534") {
		t.Errorf("exit code %d: %s", code, text)
	}
	t.Log(text)
}

// TestChildAsAnotherUser: root runs the child as coturn.user, on a port below 1024
// where one is configured, and the userdb is that user's.
func TestChildAsAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		realtest.Missing(t, "only root can run the child as another user")
	}
	dir := openDir(t)
	h := newHost(t, options{
		without: "userdb", conf: []string{"userdb=" + dir + "/turndb", "listening-port=443"},
		set: map[string]string{"coturn.user": "nobody", "credentials.state_dir": dir + "/state"},
	})
	h.turn = 443
	h.serve(t)
	s := mustFetch(t, h.rest())
	serves(t, h, s, 10*time.Second)
	info, err := os.Stat(dir + "/state/turnserver.conf")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("rendered file: %v %v, want mode 0600", info, err)
	}
	// The death of turnwarden takes a child of another uid along, too.
	pids := turnservers(t, dir+"/state/turnserver.conf")
	if len(pids) != 1 {
		t.Fatalf("children %v", pids)
	}
	_ = h.cmd.Process.Kill()
	<-h.exited
	gone(t, pids[0], time.Second)
}

// TestSecondRun: the state directory has one owner, and the refusal names it.
func TestSecondRun(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	if out, code := finish(turnwarden(append(h.args(), "--log.level=error")...)); code != 2 || !strings.Contains(out, "pid ") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if h.child(t) == 0 {
		t.Error("the refused run ended the first one's child")
	}
}

// TestWebConfig: --web.config.file guards the web listener as in every exporter, and a
// bad one is refused before anything starts.
func TestWebConfig(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	file := filepath.Join(h.dir, "web.yml")
	h.webConfig = file
	// The hash is exporter-toolkit's own example, for alice123.
	h.write(t, file, "basic_auth_users:\n  alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze\n")
	h.start(t)
	url := "http://" + net.JoinHostPort(h.ip, strconv.Itoa(h.web)) + "/-/ready"
	ask := func(password string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("alice", password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, resp.Body.Close()
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		code, err := ask("alice123")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d", code)
		}
		return err
	})
	if code, err := ask("wrong"); err != nil || code != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d %v", code, err)
	}
	h.end(t)

	h.write(t, file, "basic_auth_userz: {}\n")
	h.start(t)
	if code := h.wait(t, 10*time.Second); code != 2 {
		t.Errorf("a bad web configuration: exit code %d, want 2", code)
	}
}
