package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// serves waits until the credential of h relays.
func serves(t *testing.T, h *host, s seed, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := probe.Allocate(ctx, h.addr(), s.UserID, s.Password)
		return err
	})
}

// gone waits until pid is no live process: gone, or a zombie.
func gone(t *testing.T, pid int, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return nil //nolint:nilerr // no such process is what is waited for
		}
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && !strings.HasPrefix(rest, "Z") {
			return fmt.Errorf("pid %d is alive: %s", pid, stat)
		}
		return nil
	})
}

// TestChildKilled: it is back and serving each of three times, and never are there two.
func TestChildKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	s := mustFetch(t, h.rest())
	for i := range 3 {
		pid := h.child(t) // fails the test if there are two
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if _, err := fetch(h.rest()); err != nil {
			t.Errorf("no credential while the child restarts: %v", err)
		}
		h.another(t, pid, 10*time.Second)
		serves(t, h, s, 5*time.Second)
		h.waitReady(t)
		if got, want := h.metric(t, `turnwarden_turnserver_restarts_total{reason="signal"}`), fmt.Sprint(i+1); got != want {
			t.Errorf("restarts by signal = %s, want %s", got, want)
		}
	}
}

// TestTurnwardenKilled: SIGKILL takes the child along, the record goes with the
// session, and the next run serves the same unexpired credential.
func TestTurnwardenKilled(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{})
	before := mustFetch(t, h.rest())
	child := h.child(t)
	h.signal(t, syscall.SIGKILL)
	<-h.exited
	gone(t, child, time.Second)
	unlisted(t, c, 4*time.Second+500*time.Millisecond+time.Second) // session timeout + tickTime + 1 s

	h.serve(t)
	after := mustFetch(t, h.rest())
	if after != before {
		t.Errorf("a restart changed the credential: %+v, was %+v", after, before)
	}
	serves(t, h, after, 10*time.Second)
	listed(t, c, 10*time.Second)
}

// TestZooKeeperTrouble: an expired session, a restarted ZooKeeper, and a restart of
// turnwarden while its old session lives (the ghost). The record is back each time,
// and there is one.
func TestZooKeeperTrouble(t *testing.T) {
	t.Parallel()
	h, z, c := registered(t, options{})

	// A pause of more than the session timeout expires every session.
	z.Pause()
	realtest.Eventually(t, 20*time.Second, func() error {
		code, body, err := h.get("/-/ready")
		if err != nil || code != 200 {
			t.Fatalf("readiness must not depend on ZooKeeper: %d %s %v", code, body, err)
		}
		if !strings.Contains(body, "registry: disconnected") && !strings.Contains(body, "registry: expired") {
			return fmt.Errorf("ready says %q", body)
		}
		return nil
	})
	paused := time.Now()
	realtest.Eventually(t, 20*time.Second, func() error {
		if since := time.Since(paused); since < 6*time.Second {
			return fmt.Errorf("paused for %v", since)
		}
		return nil
	})
	if _, err := fetch(h.rest()); err != nil {
		t.Errorf("no credential while ZooKeeper is away: %v", err)
	}
	z.Cont()
	c.Close() // its session has expired as well
	c = z.Client(t)
	back := time.Now()
	listed(t, c, 10*time.Second)
	t.Logf("after an expiry: listed again %v after ZooKeeper went on", time.Since(back).Round(time.Millisecond))

	z.Restart()
	back = time.Now()
	listed(t, c, 10*time.Second)
	t.Logf("after a restart of ZooKeeper: listed %v after it was ready", time.Since(back).Round(time.Millisecond))

	// The ghost of the killed run is replaced in one transaction: from the moment the
	// new run owns it, it stays.
	ghost := owner(t, c)
	h.signal(t, syscall.SIGKILL)
	<-h.exited
	killed := time.Now()
	h.serve(t)
	realtest.Eventually(t, 10*time.Second, func() error {
		// With a start that took this long the ghost may have ended by itself before.
		if names, _, err := c.Children("/turn/servers"); err == nil && len(names) == 0 && time.Since(killed) > 2500*time.Millisecond {
			return errors.New("there is no record yet")
		}
		if now := owner(t, c); now == ghost {
			return errors.New("still owned by the old session")
		}
		return nil
	})
	listed(t, c, 5*time.Second)
	h.metricIs(t, "turnwarden_zookeeper_registered", "1", 10*time.Second) // ZooKeeper knows first
}

func owner(t *testing.T, c *zk.Conn) int64 {
	t.Helper()
	names, _, err := c.Children("/turn/servers")
	if err != nil || len(names) != 1 {
		t.Fatalf("records %v, %v; want exactly one at every moment", names, err)
	}
	_, stat, err := c.Exists("/turn/servers/" + names[0])
	if err != nil {
		t.Fatal(err)
	}
	return stat.EphemeralOwner
}

// TestHangIsUnlisted: a child that hangs is unlisted within the bound, restarted,
// and listed again.
func TestHangIsUnlisted(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{set: map[string]string{
		"coturn.stop_timeout": "500ms", "probe.timeout": "500ms",
	}})
	child := h.child(t)
	if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	hung := time.Now()
	bound := 3*time.Second + 500*time.Millisecond + time.Second // interval * fail_after + timeout + 1 s
	realtest.Eventually(t, bound, func() error {
		all, err := records(c, "/turn/servers")
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.FreeTraffic > 0 || r.State != "down" {
				return fmt.Errorf("record %+v", r)
			}
		}
		return nil
	})
	t.Logf("unlisted %v after the hang, bound %v", time.Since(hung).Round(time.Millisecond), bound)
	gone(t, child, 5*time.Second)
	listed(t, c, 10*time.Second)
	if got := h.metric(t, `turnwarden_turnserver_restarts_total{reason="probe"}`); got != "1" {
		t.Errorf("restarts by probe = %s, want 1", got)
	}
}

// careless is a turnserver that edits its configuration with sed before it reads it.
func careless(t *testing.T, edit string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "turnserver")
	script := `#!/bin/sh
case "$*" in *--version*) exec turnserver --version;; esac
sed '` + edit + `' "$2" > ` + dir + `/edited.conf
shift 2
exec turnserver -c ` + dir + `/edited.conf "$@"
`
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpenRelayIsKilled: whatever makes turnserver forget its configuration, the
// node does not stay an open relay.
func TestOpenRelayIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{set: map[string]string{"coturn.turnserver": careless(t, "/^lt-cred-mech/d")}})
	h.start(t)
	realtest.Eventually(t, 30*time.Second, func() error {
		_, body, err := h.get("/-/ready")
		if err == nil && !strings.Contains(body, "open_relay") {
			err = fmt.Errorf("ready says %q", body)
		}
		return err
	})
	if err := probe.Binding(t.Context(), h.addr()); err == nil {
		t.Error("an open relay answers")
	}
	if code, body, _ := get("http://" + h.rest() + "/turncredential"); code != 503 || !strings.Contains(body, `"code" : "error"`) {
		t.Errorf("GET /turncredential: %d %s", code, body)
	}
}

// TestFullIsNotBroken: a server without room is unlisted as full; nothing is
// restarted, and rotation goes on.
func TestFullIsNotBroken(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{conf: []string{"total-quota=3"}, set: map[string]string{
		"credentials.rotate_every": "1s", "credentials.lifetime": "30s",
	}})
	child := h.child(t)
	before := mustFetch(t, h.rest())
	var calls []func()
	for range 3 {
		calls = append(calls, holdAllocation(t, h.addr(), before))
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		all, err := records(c, "/turn/servers")
		for _, r := range all {
			if r.State != "full" || r.FreeTraffic != 0 {
				err = fmt.Errorf("record %+v", r)
			}
		}
		return err
	})
	seen := map[string]bool{}
	realtest.Eventually(t, 15*time.Second, func() error {
		s, err := fetch(h.rest())
		if seen[s.UserID] = true; len(seen) < 4 && err == nil {
			err = fmt.Errorf("%d credentials while full", len(seen))
		}
		return err
	})
	if h.child(t) != child {
		t.Error("a full server was restarted")
	}
	if got := h.metric(t, "turnwarden_credential_rotation_failures_total"); got != "0" {
		t.Errorf("%s rotations failed for want of room", got)
	}
	for _, hangUp := range calls {
		hangUp()
	}
	listed(t, c, 10*time.Second)
}

// TestRelayAddressLost: with a relay address that is not this host's any more each
// Allocate makes coturn write 131,070 lines and answer
// 508. That is not a full server, nothing is handed out, and the storm is drained.
//
// It is not parallel: a proof of a credential has ten seconds, and one that ends before its
// storm does makes another.
func TestRelayAddressLost(t *testing.T) {
	h := newHost(t, options{set: map[string]string{
		"coturn.turnserver": careless(t, "s/^relay-ip=.*/relay-ip=198.51.100.7/"),
		// A storm takes up to half a minute on a busy machine, and the server is mute meanwhile. Who
		// asks once more makes another.
		"probe.interval": "45s", "probe.timeout": "45s", "probe.fail_after": "60",
	}})
	h.start(t)
	realtest.Eventually(t, time.Minute, func() error {
		code, body, err := h.get("/-/ready")
		if err == nil && (code != 503 || !strings.Contains(body, "check relay-ip")) {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	// The server answers on while its lines are read.
	realtest.Eventually(t, time.Minute, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return probe.Binding(ctx, h.addr())
	})
	if n, err := strconv.ParseFloat(h.metric(t, "turnwarden_turnserver_log_lines_total"), 64); err != nil || n < 10_000 {
		t.Errorf("%v lines read, %v", n, err)
	}
	if n, err := strconv.ParseFloat(h.metric(t, "turnwarden_turnserver_log_lines_suppressed_total"), 64); err != nil || n < 10_000 {
		t.Errorf("%v lines kept out of the log, %v", n, err)
	}
}
