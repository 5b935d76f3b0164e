package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// shown is the certificate that a client gets.
func shown(t *testing.T, addr string) *x509.Certificate {
	t.Helper()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0]
}

// edit replaces a piece of a file, which has to be there.
func (h *host) edit(t *testing.T, path, old, now string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("no %q in %s: %v", old, path, err)
	}
	h.write(t, path, strings.Replace(string(data), old, now, 1))
}

// reloads asks for a reload and looks at its exit code and at what it says.
func (h *host) reloads(t *testing.T, what string, code int, says ...string) {
	t.Helper()
	out, got := h.ask(t, "reload")
	for _, want := range says {
		if !strings.Contains(out, want) {
			got = -1
		}
	}
	if got != code {
		t.Errorf("%s: exit code %d, want %d and %q\n%s", what, got, code, says, out)
	}
}

// TestReloadCertificates: new ones are served without touching a call, by a command or a
// signal; those that turnserver could not use are found before it is told.
func TestReloadCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 30))
	newCert, newKey := realtest.Certificate(t, "turn.example.org", now.Add(-time.Hour), now.AddDate(0, 0, 60))
	ip := realtest.Loopback(t)
	port := realtest.FreePort(t, ip)
	h := newHost(t, options{conf: []string{"cert=" + cert, "pkey=" + key, fmt.Sprintf("tls-listening-port=%d", port)}})
	addr := net.JoinHostPort(h.ip, fmt.Sprint(port))
	h.serve(t)
	calls, child := h.open(t, 3), h.child(t)
	before := shown(t, addr)
	h.reloads(t, "nothing new", 0, "served, by a handshake")
	exchange(t, cert, newCert)
	h.reloads(t, "half of it", 1, "private key does not match")
	if got := h.metric(t, "turnwarden_config_last_reload_successful"); got != "0" {
		t.Errorf("successful: %s", got)
	}
	exchange(t, key, newKey)
	h.reloads(t, "a new certificate", 0, "served, by a handshake")
	if shown(t, addr).Equal(before) {
		t.Error("the old certificate is served")
	}
	if got := h.metric(t, "turnwarden_config_last_reload_successful"); got != "1" {
		t.Errorf("successful: %s", got)
	}
	exchange(t, cert, newCert)
	exchange(t, key, newKey)
	h.signal(t, syscall.SIGHUP)
	realtest.Eventually(t, 20*time.Second, func() error {
		if !shown(t, addr).Equal(before) {
			return fmt.Errorf("SIGHUP: not reloaded")
		}
		return nil
	})
	h.write(t, cert, "not a certificate\n")
	h.reloads(t, "junk", 1, "no PEM certificate found")
	if h.child(t) != child {
		t.Error("the child was replaced")
	}
	alive(t, calls)
}

// TestReload: what touches no call is in force at once, in every part; a mistake changes
// nothing; what waits is named.
func TestReload(t *testing.T) {
	t.Parallel()
	h, z, c := registered(t, options{})
	calls, child := h.open(t, 3), h.child(t)
	old := mustFetch(t, h.rest())
	h.reloads(t, "nothing new", 0, "both files are valid")
	began := h.metric(t, "turnwarden_config_last_reload_success_timestamp_seconds")

	// Mistakes, in either file: all of them are named, and nothing is applied.
	sound, err := os.ReadFile(h.yml)
	if err != nil {
		t.Fatal(err)
	}
	h.edit(t, h.yml, "capacity_mbps: 1000", "capacity_mbps: 2000")
	h.write(t, h.yml, strings.Replace(string(sound), "capacity_mbps: 1000", "capacity_mbps: 2000", 1)+"nonsense: 1\nnode: -x\n")
	h.reloads(t, "mistakes", 2, "nothing is applied", "nonsense: found an unknown key", "node: found")
	if got := h.metric(t, "turnwarden_config_last_reload_successful"); got != "0" {
		t.Errorf("successful: %s", got)
	}
	h.write(t, h.yml, strings.Replace(string(sound), "capacity_mbps: 1000", "capacity_mbps: 2000", 1))
	h.edit(t, h.conf, "lt-cred-mech", "no-auth")
	h.reloads(t, "a mistake in turnserver.conf", 2, "nothing is applied", "no-auth")
	if out, code := h.ask(t, "restart", "--no-lock"); code != 2 || !strings.Contains(out, "no-auth") || h.child(t) != child {
		t.Errorf("restart with a mistake: %d\n%s", code, out)
	}
	h.edit(t, h.conf, "no-auth", "lt-cred-mech")
	if got := h.metric(t, "turnwarden_capacity_bytes_per_second"); got != "1.25e+08" {
		t.Errorf("a capacity of %s is in force", got)
	}
	if got := h.metric(t, "turnwarden_config_last_reload_success_timestamp_seconds"); got != began {
		t.Errorf("the last success was at %s, and now at %s", began, got)
	}

	// Every part takes its own.
	h.write(t, h.yml, yamlOf(map[string]string{
		"coturn.config_file": h.conf, "coturn.restart_delay": "2s", "coturn.restart_delay_max": "3s", "coturn.stable_after": "1s", "coturn.drain_timeout": "1s",
		"credentials.state_dir": filepath.Join(h.dir, "state"), "admin.socket": h.socket(),
		"credentials.lifetime": "4s", "credentials.rotate_every": "2s",
		"traffic.capacity_mbps": "2000", "traffic.interval": "2s", "traffic.direction": "rx",
		"probe.interval": "2s", "probe.allow_targets": "[192.0.2.1]",
		"api.listen": h.rest(), "api.allow_cidrs": "[192.0.2.1]",
		"registry.zookeeper": "[" + z.Addr() + "]", "registry.session_timeout": "4s",
		"registry.region": "eu", "registry.zone": "eu-1", "registry.advertise": "turn.example.org:443",
	}, nil))
	h.reloads(t, "live keys", 0, "traffic.capacity_mbps")
	realtest.Eventually(t, 20*time.Second, func() error {
		if r := listed(t, c, 20*time.Second); r.Region != "eu" || r.Zone != "eu-1" || r.RESTAddr != "turn.example.org:443" || r.CapacityMbps != 2000 || r.IntervalSec != 2 {
			return fmt.Errorf("record %+v", r)
		}
		for series, want := range map[string]string{
			"turnwarden_capacity_bytes_per_second": "2.5e+08", "turnwarden_traffic_interval_seconds": "2", "turnwarden_credential_rotation_interval_seconds": "2",
		} {
			if got := h.metric(t, series); got != want {
				return fmt.Errorf("%s %s, want %s", series, got, want)
			}
		}
		return nil
	})
	if code, body, err := get("http://" + h.rest() + "/turncredential"); err != nil || code != 403 {
		t.Errorf("api.allow_cidrs: %d %s %v", code, body, err)
	}
	if code, body, err := h.get("/probe?target=turn:192.0.2.2"); err != nil || code != 403 {
		t.Errorf("probe.allow_targets: %d %s %v", code, body, err)
	}
	h.edit(t, h.yml, "192.0.2.1]", "192.0.2.1, 127.0.0.0/8]")
	h.signal(t, syscall.SIGHUP)
	realtest.Eventually(t, 20*time.Second, func() error {
		s, err := fetch(h.rest())
		if err == nil && (s.UserID == old.UserID || time.Until(s.expires()) > 4*time.Second) {
			err = fmt.Errorf("the credential is %s until %v", s.UserID, s.expires())
		}
		return err
	})

	// What is half of either file has to be sound, too.
	h.edit(t, h.yml, "listen: "+h.ip, "listen: 0.0.0.0")
	h.reloads(t, "another address", 1, "api.listen: read at the start of turnwarden alone")
	h.edit(t, h.yml, "listen: 0.0.0.0", "listen: "+h.ip)
	h.edit(t, h.yml, "region: eu", "region: us")
	h.edit(t, h.yml, "  state_dir: ", "  mode: user\n  userdb: sqlite\n  state_dir: ")
	h.reloads(t, "another store", 1, "applied    registry.region", "credentials.userdb: read at the start")
	if h.child(t) != child {
		t.Error("the child was replaced")
	}
	alive(t, calls)
}

// TestReloadGuard: who may call stays so as long as an address does that strangers reach.
func TestReloadGuard(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{set: map[string]string{"api.allow_cidrs": "[127.0.0.0/8]"}})
	h.edit(t, h.yml, "listen: "+h.rest(), fmt.Sprintf("listen: 0.0.0.0:%d", h.api))
	h.serve(t)
	h.edit(t, h.yml, "allow_cidrs: [127.0.0.0/8]", "allow_cidrs: []")
	h.edit(t, h.yml, "listen: 0.0.0.0", "listen: 127.0.0.1")
	h.reloads(t, "a guard that goes with the address", 2, "nothing is applied", "api.listen wait for that")
	h.edit(t, h.yml, "allow_cidrs: []", "allow_cidrs: [127.0.0.1]")
	h.reloads(t, "another guard", 1, "applied    api.allow_cidrs", "api.listen: read at the start")

	// Who may call and by which name change with one reload.
	h.replies(t, map[[2]string]int{{"127.0.0.1", h.ip}: 200, {h.ip, h.ip}: 403, {"127.0.0.1", "turn.internal"}: 421})
	h.edit(t, h.yml, "allow_cidrs: [127.0.0.1]", "allow_cidrs: ["+h.ip+"]\n  hosts: [turn.internal]")
	h.reloads(t, "both", 1, "applied    api.allow_cidrs, api.hosts")
	h.replies(t, map[[2]string]int{{"127.0.0.1", h.ip}: 403, {h.ip, "turn.internal"}: 200, {h.ip, "evil.example"}: 421})
}

// replies asks for a credential from an address and with a Host, and looks at the codes.
func (h *host) replies(t *testing.T, want map[[2]string]int) {
	t.Helper()
	for c, code := range want {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.rest()+"/turncredential", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c[1]
		resp, err := freshFrom(c[0]).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != code {
			t.Errorf("from %s for %s: %s, want %d", c[0], c[1], resp.Status, code)
		}
	}
}

// TestReloadDrain: what only a new turnserver reads waits for the calls to end, and is
// then in force, whoever has asked for the restart.
func TestReloadDrain(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	child := h.child(t)
	h.edit(t, h.conf, "max-port=29999", "max-port=29989\ntotal-quota=100")
	h.edit(t, h.yml, "  restart_delay: ", "  cli: false\n  restart_delay: ")
	h.reloads(t, "without --drain", 1, "coturn.cli", "max-port, total-quota: wait until turnserver is started anew", "reload --drain")
	rendered := func() string {
		data, err := os.ReadFile(filepath.Join(h.dir, "state", "turnserver.conf"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	// What dies by itself is started again as it was.
	old := rendered()
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.another(t, child, 20*time.Second)
	h.waitReady(t)
	if got := rendered(); strings.Contains(got, "total-quota") || got == old {
		t.Errorf("after a crash:\n%s", got)
	}
	calls := h.open(t, 2)
	child = h.child(t)
	h.metricIs(t, "turnwarden_allocations", "2", 20*time.Second)
	reload := h.begin(t, "reload", "--drain", "--no-lock", "--deadline=10m")
	reload.said(t, "cannot refuse new calls")
	h.drains(t)
	alive(t, calls)
	hangUp(t, calls)
	if out, code := reload.ends(t, 40*time.Second); code != 0 || !strings.Contains(out, "in force with the start: "+h.yml+": coturn.cli") {
		t.Errorf("with --drain: %d\n%s", code, out)
	}
	h.waitReady(t)
	if got := rendered(); !strings.Contains(got, "total-quota=100") || !strings.Contains(got, "no-cli") || h.child(t) == child {
		t.Errorf("after reload --drain:\n%s", got)
	}
	h.metricIs(t, "turnwarden_relay_ports_limit", "9990", 20*time.Second)
	h.reloads(t, "all is in force", 0)

	// restart reads it, too, and so does a start that has failed with it.
	h.edit(t, h.conf, "total-quota=100", "total-quota=200")
	if out, code := h.ask(t, "restart", "--no-lock"); code != 0 || !strings.Contains(out, "total-quota") {
		t.Errorf("restart: %d\n%s", code, out)
	}
	if got := rendered(); !strings.Contains(got, "total-quota=200") {
		t.Errorf("after restart:\n%s", got)
	}
	// What more than turnserver has read at the start waits for that.
	h.edit(t, h.conf, "realm="+realtest.Realm, "realm=other.example.org")
	h.reloads(t, "another realm", 1, h.conf+": realm: read at the start of turnwarden alone")
	if out, code := h.ask(t, "restart", "--no-lock"); code != 2 || !strings.Contains(out, "realm changed") {
		t.Errorf("restart with another realm: %d\n%s", code, out)
	}
	alive(t, h.open(t, 1))
}

// TestReloadDrainCut: on the deadline calls are cut, with the exit code that says so.
func TestReloadDrainCut(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	h.open(t, 2)
	h.metricIs(t, "turnwarden_allocations", "2", 20*time.Second)
	if out, code := h.ask(t, "reload", "--drain", "--no-lock", "--deadline=1s"); code != 0 || strings.Contains(out, "draining") {
		t.Errorf("nothing waits: %d\n%s", code, out)
	}
	h.edit(t, h.conf, "relay-ip", "total-quota=100\nrelay-ip")
	if out, code := h.ask(t, "reload", "--drain", "--no-lock", "--deadline=1s"); code != 3 || !hasCut(out, 2) {
		t.Errorf("cut: %d\n%s", code, out)
	}
	if out, code := h.ask(t, "reload", "--deadline=1s"); code != 2 || !strings.Contains(out, "together with --drain") {
		t.Errorf("--deadline alone: %d\n%s", code, out)
	}
}
