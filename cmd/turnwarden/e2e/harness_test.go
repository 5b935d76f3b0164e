package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/prometheus/procfs"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// host is a machine with coturn and turnwarden on a loopback address of its own.
type host struct {
	dir, ip        string
	turn, api, web int
	conf, yml      string
	webConfig      string
	env            []string
	prefix         []string
	program        string // the turnwarden that start runs; empty = that of the tests
	command        string // that it is given

	cmd    *exec.Cmd
	exited <-chan struct{}
}

// options change a host's configuration.
type options struct {
	zookeeper   []string
	conf        []string          // lines of turnserver.conf
	set         map[string]string // section.key: value, over the defaults of newHost
	without     string            // a default line to leave out, by its beginning
	environment []string
	far         *realtest.Router // the host is on its far side
}

// newHost writes the two configuration files and starts nothing.
func newHost(t testing.TB, o options) *host {
	t.Helper()
	realtest.Require(t, "turnserver", "turnadmin", "sqlite3")
	ip := realtest.Loopback(t)
	h := &host{command: "run", dir: t.TempDir(), ip: ip, env: o.environment}
	h.turn, h.api, h.web = realtest.FreePort(t, ip), realtest.FreePort(t, ip), realtest.FreePort(t, ip)
	if o.far != nil { // where nobody else has a port
		ip = o.far.Theirs
		h.ip, h.turn, h.api, h.web, h.prefix = ip, 3478, 13478, 13479, o.far.Command()
	}
	h.conf, h.yml = filepath.Join(h.dir, "turnserver.conf"), filepath.Join(h.dir, "turnwarden.yml")
	lines := []string{
		"listening-ip=" + ip, fmt.Sprintf("listening-port=%d", h.turn), "relay-ip=" + ip,
		"min-port=20000", "max-port=29999", "lt-cred-mech", "realm=" + realtest.Realm,
		"userdb=" + filepath.Join(h.dir, "turndb"), "allow-loopback-peers",
	}
	if o.without != "" {
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, o.without) })
	}
	h.write(t, h.conf, strings.Join(append(lines, o.conf...), "\n")+"\n")
	values := map[string]string{
		"coturn.config_file": h.conf, "coturn.restart_delay": "100ms", "coturn.restart_delay_max": "1s", "coturn.stable_after": "1s",
		"credentials.state_dir": filepath.Join(h.dir, "state"), "admin.socket": h.socket(),
		"traffic.capacity_mbps": "1000", "traffic.interval": "1s",
		"probe.interval": "1s",
		"api.listen":     net.JoinHostPort(ip, fmt.Sprint(h.api)),
	}
	if len(o.zookeeper) > 0 {
		values["registry.zookeeper"] = "[" + strings.Join(o.zookeeper, ", ") + "]"
		values["registry.session_timeout"] = "4s"
	}
	h.write(t, h.yml, yamlOf(values, o.set))
	t.Cleanup(func() {
		if h.cmd != nil {
			h.end(t)
		}
		if log, _ := os.ReadFile(filepath.Join(h.dir, "log")); bytes.Contains(log, []byte("DATA RACE")) {
			t.Errorf("turnwarden has a data race:\n%s", log)
		}
		if t.Failed() {
			t.Logf("log of %s:\n%s", h.ip, h.tail())
		}
	})
	return h
}

// yamlOf writes keys of the form section.key or section.section.key.
func yamlOf(defaults, set map[string]string) string {
	values := maps.Clone(defaults)
	maps.Copy(values, set)
	var b strings.Builder
	var last []string
	for _, key := range slices.SortedFunc(maps.Keys(values), func(a, b string) int {
		// What is in no section first, or it would end up in the one before.
		return cmp.Or(cmp.Compare(min(1, strings.Count(a, ".")), min(1, strings.Count(b, "."))), strings.Compare(a, b))
	}) {
		path := strings.Split(key, ".")
		sections := path[:len(path)-1]
		for depth, section := range sections {
			if !slices.Equal(sections[:depth+1], last[:min(depth+1, len(last))]) {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", depth), section)
			}
		}
		last = sections
		fmt.Fprintf(&b, "%s%s: %s\n", strings.Repeat("  ", len(sections)), path[len(path)-1], values[key])
	}
	return b.String()
}

// end stops turnwarden in order, if it can: a killed one may leave a turnadmin that
// writes on into a directory that is being removed.
func (h *host) end(t testing.TB) {
	t.Helper()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM, syscall.SIGKILL} {
		h.signal(t, s)
		select {
		case <-h.exited:
			return
		case <-time.After(3 * time.Second):
		}
	}
	<-h.exited
}

func (h *host) write(t testing.TB, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *host) socket() string { return filepath.Join(h.dir, "admin.sock") }

func (h *host) args() []string {
	return []string{
		h.command, "--config.file=" + h.yml, "--web.listen-address=" + net.JoinHostPort(h.ip, fmt.Sprint(h.web)),
		"--web.config.file=" + h.webConfig,
	}
}

// start runs turnwarden as a process of its own.
func (h *host) start(t testing.TB) {
	t.Helper()
	command := slices.Concat(h.prefix, []string{cmp.Or(h.program, program())}, h.args(), []string{"--log.level=debug"})
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), h.env...)
	h.cmd, h.exited = cmd, realtest.Spawn(t, cmd, filepath.Join(h.dir, "log"))
}

// serve starts turnwarden and waits until it is ready.
func (h *host) serve(t testing.TB) {
	t.Helper()
	h.start(t)
	h.waitReady(t)
}

func (h *host) waitReady(t testing.TB) {
	t.Helper()
	realtest.Eventually(t, time.Minute, func() error {
		select {
		case <-h.exited:
			t.Fatalf("turnwarden ended: %v\n%s", h.cmd.ProcessState, h.tail())
		default:
		}
		code, body, err := h.get("/-/ready")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
}

// registered is a serving host whose record is listed in a ZooKeeper of its own, and a
// client of that.
func registered(t testing.TB, o options) (*host, *realtest.ZooKeeper, *zk.Conn) {
	t.Helper()
	z := realtest.StartZooKeeper(t)
	o.zookeeper = []string{z.Addr()}
	h := newHost(t, o)
	h.serve(t)
	c := z.Client(t)
	listed(t, c, 10*time.Second)
	return h, z, c
}

func (h *host) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	_ = h.cmd.Process.Signal(s)
}

// wait returns the exit code.
func (h *host) wait(t testing.TB, limit time.Duration) int {
	t.Helper()
	select {
	case <-h.exited:
		return h.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		t.Fatalf("turnwarden did not end within %v", limit)
		return 0
	}
}

// get asks the web listener.
func (h *host) get(path string) (code int, body string, err error) {
	return get("http://" + net.JoinHostPort(h.ip, fmt.Sprint(h.web)) + path)
}

func get(url string) (code int, body string, err error) {
	client := http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// metric returns one sample of /metrics, by its name with its labels.
func (h *host) metric(t testing.TB, series string) string {
	t.Helper()
	_, body, err := h.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(strings.NewReader(body))
	for s.Scan() {
		if value, ok := strings.CutPrefix(s.Text(), series+" "); ok {
			return value
		}
	}
	t.Fatalf("no %s in /metrics", series)
	return ""
}

// metricIs waits until a series has the value.
func (h *host) metricIs(t testing.TB, series, want string, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		if got := h.metric(t, series); got != want {
			return fmt.Errorf("%s %s, want %s", series, got, want)
		}
		return nil
	})
}

// log is all that turnwarden has logged.
func (h *host) log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (h *host) tail() string {
	b, err := os.ReadFile(filepath.Join(h.dir, "log"))
	if err != nil {
		return err.Error()
	}
	var kept []string
	for l := range strings.Lines(string(b)) {
		if !strings.Contains(l, "level=DEBUG") { // the child's session lines
			kept = append(kept, l)
		}
	}
	return strings.Join(kept[max(0, len(kept)-60):], "")
}

// child returns the pid of turnwarden's turnserver, 0 without one.
func (h *host) child(t testing.TB) int {
	t.Helper()
	pids := turnservers(t, filepath.Join(h.dir, "state", "turnserver.conf"))
	if len(pids) > 1 {
		t.Fatalf("turnservers at once: %v", pids)
	}
	if len(pids) == 0 {
		return 0
	}
	return pids[0]
}

// another waits for a turnserver in place of that one.
func (h *host) another(t testing.TB, than int, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		if now := h.child(t); now == 0 || now == than {
			return fmt.Errorf("child %d, was %d", now, than)
		}
		return nil
	})
}

// turnservers lists the live processes that run with this configuration file, less what
// they have started: programs that stand in for turnserver are shell scripts.
func turnservers(t testing.TB, conf string) (pids []int) {
	t.Helper()
	procs, err := procfs.AllProcs()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		args, err := p.CmdLine()
		if err != nil {
			continue
		}
		if slices.Contains(args, conf) { // a zombie has no command line any more
			pids = append(pids, p.PID)
		}
	}
	return slices.DeleteFunc(pids, func(pid int) bool {
		p, err := procfs.NewProc(pid)
		if err != nil {
			return true
		}
		stat, err := p.Stat()
		return err != nil || slices.Contains(pids, stat.PPID)
	})
}

// seed is the reply of GET /turncredential, read as its clients read it.
type seed struct {
	Type        string `json:"type"`
	Code        string `json:"code"`
	UserID      string `json:"userid"`
	Password    string `json:"password"`
	ExpiredTime int64  `json:"expired_time"`
}

func (s seed) expires() time.Time { return time.UnixMilli(s.ExpiredTime) }

// fetch asks for a credential at a record's restAddr.
func fetch(restAddr string) (seed, error) {
	code, body, err := get("http://" + restAddr + "/turncredential")
	if err != nil {
		return seed{}, err
	}
	var s seed
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		return seed{}, fmt.Errorf("%d %q: %w", code, body, err)
	}
	if code != http.StatusOK || s.Code != "ok" || s.UserID == "" || s.Password == "" {
		return seed{}, fmt.Errorf("%d %q", code, body)
	}
	return s, nil
}

// mustFetch is fetch where there has to be one.
func mustFetch(t testing.TB, restAddr string) seed {
	t.Helper()
	s, err := fetch(restAddr)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h *host) rest() string { return net.JoinHostPort(h.ip, fmt.Sprint(h.api)) }

func (h *host) addr() netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(h.ip), uint16(h.turn))
}

// records reads what a signalling server would see.
func records(c *zk.Conn, path string) (map[string]directory.Record, error) {
	names, _, err := c.Children(path)
	if err != nil {
		return nil, err
	}
	all := map[string]directory.Record{}
	for _, n := range names {
		data, _, err := c.Get(path + "/" + n)
		if err != nil {
			return nil, err
		}
		if all[n], err = directory.Decode(data); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// listed waits until exactly one record is there, up and with room.
func listed(t testing.TB, c *zk.Conn, limit time.Duration) directory.Record {
	t.Helper()
	var found directory.Record
	realtest.Eventually(t, limit, func() error {
		all, err := records(c, "/turn/servers")
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return fmt.Errorf("%d records", len(all))
		}
		for _, r := range all {
			if r.State != "up" || r.FreeTraffic <= 0 {
				return fmt.Errorf("record %+v", r)
			}
			found = r
		}
		return nil
	})
	return found
}

// unlisted waits until no record is there.
func unlisted(t testing.TB, c *zk.Conn, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		names, _, err := c.Children("/turn/servers")
		if err == nil && len(names) > 0 {
			err = fmt.Errorf("still there: %v", names)
		}
		return err
	})
}
