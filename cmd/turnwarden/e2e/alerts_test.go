package e2e

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// notRaised are the alerts for which this test has no fault, and why.
func notRaised() map[string]string {
	return map[string]string{
		"TurnCapacityExhaustedIn": "takes three weeks of history: rules/turnwarden.longrange.test.yml",
	}
}

// TestAlerts is observability end to end with three nodes: the shipped rules, loaded by a
// real Prometheus that found the nodes in a real ZooKeeper by the shipped example. Every
// panel has data. Faults of a node, a host and a gateway raise the alerts that they should
// and no other, and those resolve. TestEveryAlert raises the rest.
func TestAlerts(t *testing.T) {
	t.Parallel()
	if !alone(t) {
		return
	}
	w := newScene(t, 1)
	w.load.Store(10e6 / 8)
	mute, muteFlag := w.broken("turnserver", `case "$*" in *--version*) ;; *) exec sleep 1000;; esac`)
	stuck, stuckFlag := w.broken("turnadmin", `case "$1" in -a) exit 0;; esac`)
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -30), now.AddDate(0, 0, 60))
	w.add("calm-1", options{conf: []string{"cert=" + cert, "pkey=" + key}})
	w.add("calm-2", options{set: map[string]string{"coturn.turnadmin": stuck, "credentials.userdb": "turnadmin", "credentials.rotate_every": "15s"}})
	w.add("mute-1", options{set: map[string]string{"coturn.turnserver": mute}})
	for _, h := range w.hosts {
		h.waitReady(t)
	}
	w.call("calm-1")
	w.seen()
	w.fire(nil)
	w.panels("Firing alerts")
	w.rules()

	for _, flag := range []string{muteFlag, stuckFlag} {
		if err := os.WriteFile(flag, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kill(t, w.hosts["mute-1"])
	w.gates[0].end(t)
	w.gates[0].serve(t, w.stranger())
	firing := map[string]time.Duration{
		"TurnServerDown mute-1":                              9*time.Second + time.Minute/hurried,
		"TurnCredentialRotationFailing calm-2":               15*time.Second + 5*time.Minute/hurried,
		"TurnGatewayErrors " + w.gates[0].instance():         10*time.Second + 5*time.Minute/hurried,
		"TurnGatewayFetchesFailing " + w.gates[0].instance(): 10*time.Second + 10*time.Minute/hurried,
	}
	w.fire(firing)
	w.panel("Firing alerts")
	w.hosts["mute-1"].signal(t, syscall.SIGKILL)
	delete(firing, "TurnServerDown mute-1")
	firing["TurnNodeGone mute-1"] = 8*time.Second + 5*time.Minute/hurried
	w.fire(firing)

	for _, flag := range []string{muteFlag, stuckFlag} {
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
	}
	w.hosts["mute-1"].start(t)
	w.gates[0].end(t)
	w.gates[0].serve(t, w.gateConf)
	w.fire(nil)
}

// TestEveryAlert is TestAlerts with a node for each fault, 20 in all, and three gateways.
// make alerts runs it: the scene takes more than two processors.
func TestEveryAlert(t *testing.T) {
	if os.Getenv("TURNWARDEN_ALERTS") == "" {
		t.Skip("make alerts runs this")
	}
	if !alone(t) {
		return
	}
	w := newScene(t, 3)
	w.load.Store(10e6 / 8)
	mute, muteFlag := w.broken("turnserver", `case "$*" in *--version*) ;; *) exec sleep 1000;; esac`)
	stuck, stuckFlag := w.broken("turnadmin", `case "$1" in -a) exit 0;; esac`)
	udpOnly, udpOnlyFlag := w.broken("turnserver", `exec turnserver "$@" --no-tcp`)
	strange, strangeFlag := w.broken("turnserver", `exec turnserver "$@" --external-ip=198.51.100.7`)
	litter, litterFlag := w.broken("turnadmin", `case "$1" in -d) exit 0;; esac`)
	w.add("calm-1", options{})
	w.add("calm-2", options{})
	w.add("loop-1", options{})
	w.add("mute-1", options{set: map[string]string{"coturn.turnserver": mute}})
	w.add("stuck-1", options{set: map[string]string{"coturn.turnadmin": stuck, "credentials.rotate_every": "15s", "credentials.lifetime": "100s"}})
	w.add("litter-1", options{set: map[string]string{"coturn.turnadmin": litter, "credentials.rotate_every": "10s", "credentials.lifetime": "20s"}})
	w.add("gone-1", options{})
	w.add("guess-1", options{})
	w.add("flood-1", options{})
	w.add("room-1", options{conf: []string{"total-quota=2"}})
	w.add("drain-1", options{set: map[string]string{"coturn.turnserver": mute}})
	w.add("full-1", options{set: map[string]string{"traffic.capacity_mbps": "50"}})
	w.add("tight-1", options{set: map[string]string{"traffic.capacity_mbps": "64"}})
	w.add("tight-2", options{set: map[string]string{"traffic.capacity_mbps": "64"}})
	locked := w.add("locked-1", options{})
	w.add("stale-1", options{})
	w.add("tcp-1", options{set: map[string]string{"coturn.turnserver": udpOnly}})
	w.add("lost-1", options{set: map[string]string{"coturn.turnserver": strange}})
	tokens := filepath.Join(w.dir, "tokens-of-its-own")
	if err := os.WriteFile(tokens, []byte(w.tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	w.add("file-1", options{set: map[string]string{"api.tokens_file": tokens}})
	now := time.Now()
	cert, key := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -30), now.AddDate(0, 0, 60))
	w.add("tls-1", options{conf: []string{"cert=" + cert, "pkey=" + key}})
	for _, h := range w.hosts {
		h.waitReady(t)
	}

	w.call("calm-1")
	w.seen()
	w.fire(nil)
	w.panels("Firing alerts")
	w.rules()

	// All the faults at once, each on a node of its own.
	w.load.Store(42e6 / 8)
	for _, flag := range []string{muteFlag, stuckFlag, litterFlag, udpOnlyFlag, strangeFlag} {
		if err := os.WriteFile(flag, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	oldCert, oldKey := realtest.Certificate(t, "turn.example.org", now.AddDate(0, 0, -89), now.AddDate(0, 0, 1))
	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	if err := os.WriteFile(tokens, []byte("not a token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.hosts["file-1"].edit(t, w.hosts["file-1"].yml, "interval: 1s", "interval: 1")
	w.hosts["file-1"].signal(t, syscall.SIGHUP)
	// Its drain is over, and the server that is to come after does not serve.
	restart := w.hosts["drain-1"].begin(t, "restart", "--deadline=1s", "--no-lock")
	changed := []string{"mute-1", "tcp-1", "lost-1", "tls-1"}
	for _, name := range changed {
		kill(t, w.hosts[name])
	}
	w.hosts["gone-1"].signal(t, syscall.SIGKILL)
	locked.write(t, locked.webConfig, "basic_auth_users: {prometheus: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n")
	c := w.z.Client(t)
	writable := func(perms int32) error {
		_, err := c.SetACL("/turn/servers/stale-1", zk.WorldACL(perms), -1)
		return err
	}
	calls := []func(){w.call("room-1"), w.call("room-1")}
	// One gateway has a token that no node knows, and the one of another job is dead.
	w.gates[1].end(t)
	w.gates[1].serve(t, w.stranger())
	w.gates[2].signal(t, syscall.SIGKILL)
	ctx, mend := context.WithCancel(t.Context())
	var faults sync.WaitGroup
	faults.Go(func() { everySecond(ctx, 8, func() { kill(t, w.hosts["loop-1"]) }) })
	faults.Go(func() { everySecond(ctx, 3, func() { overflow(t, w.hosts["flood-1"]) }) })
	// A session that is lost on a busy machine brings a new record, which can be written.
	faults.Go(func() { everySecond(ctx, 1, func() { _ = writable(zk.PermRead | zk.PermAdmin) }) })
	for range 4 {
		faults.Go(func() {
			everySecond(ctx, 1, func() { _, _ = probe.Allocate(ctx, w.hosts["guess-1"].addr(), "mallory", "guess") })
		})
	}
	// Its last credential is good for 100 s.
	w.becomes = map[string]string{"TurnServerDown stuck-1": "TurnCredentialExpiring stuck-1"}
	// What the fault takes to show, and the range and the `for` of the rule.
	w.fire(map[string]time.Duration{
		"TurnServerDown mute-1":                 9*time.Second + time.Minute/hurried,
		"TurnCrashLooping loop-1":               16 * time.Second,
		"TurnCredentialRotationFailing stuck-1": 15*time.Second + 5*time.Minute/hurried,
		"TurnCredentialExpiring stuck-1":        58*time.Second + time.Minute/hurried,
		"TurnDeletesPending litter-1":           30*time.Second + 15*time.Minute/hurried,
		"TurnNodeGone gone-1":                   8*time.Second + 5*time.Minute/hurried,
		"TurnAuthFailuresHigh guess-1":          10*time.Minute/hurried + 10*time.Minute/hurried,
		"TurnUDPBufferErrors flood-1":           10*time.Second + 10*time.Minute/hurried,
		"TurnNotListed room-1":                  3*time.Second + 5*time.Minute/hurried,
		"TurnHeadroomLow full-1":                5*time.Minute/hurried + 15*time.Minute/hurried,
		"TurnFleetNoNMinusOne tight":            5*time.Minute/hurried + 30*time.Minute/hurried,
		"TurnwardenDown locked-1":               time.Second + 2*time.Minute/hurried,
		"TurnTransportFailing tcp-1":            10*time.Second + 5*time.Minute/hurried,
		"TurnRelayedAddressWrong lost-1":        10*time.Second + 5*time.Minute/hurried,
		"TurnCertificateExpiring tls-1":         10*time.Second + 5*time.Minute/hurried,
		"TurnwardenFileUnusable file-1":         10*time.Second + 5*time.Minute/hurried,
		"TurnConfigReloadFailed file-1":         time.Second + 5*time.Minute/hurried,
		"TurnDrainStuck drain-1":                3*time.Second + 5*time.Minute/hurried,
		"TurnRecordStale stale-1":               90*time.Second/hurried + time.Minute/hurried,

		"TurnGatewayErrors " + w.gates[1].instance():         10*time.Second + 5*time.Minute/hurried,
		"TurnGatewayFetchesFailing " + w.gates[1].instance(): 10*time.Second + 10*time.Minute/hurried,
		"TurnGatewayDown " + w.gates[2].instance():           2*time.Second + 2*time.Minute/hurried,
		"TurnGatewayNoneUp":                                  2*time.Second + time.Minute/hurried,
	})
	w.panel("Firing alerts")

	// Each is mended. For want of room there is one remedy: another node.
	w.load.Store(10e6 / 8)
	mend()
	faults.Wait()
	for _, flag := range []string{muteFlag, stuckFlag, litterFlag, udpOnlyFlag, strangeFlag} {
		if err := os.Remove(flag); err != nil {
			t.Fatal(err)
		}
	}
	exchange(t, cert, oldCert)
	exchange(t, key, oldKey)
	if err := os.WriteFile(tokens, []byte(w.tokens), 0o600); err != nil {
		t.Fatal(err)
	}
	w.hosts["file-1"].edit(t, w.hosts["file-1"].yml, "interval: 1\n", "interval: 1s\n")
	w.hosts["file-1"].signal(t, syscall.SIGHUP)
	for _, name := range append(changed, "drain-1") {
		kill(t, w.hosts[name])
	}
	// A server that has never answered is given up after 75 s.
	if out, code := restart.ends(t, 2*time.Minute); code != 0 {
		t.Errorf("the drain that was late: %d\n%s", code, out)
	}
	realtest.Eventually(t, time.Minute, func() error { return writable(zk.PermAll) })
	w.hosts["gone-1"].start(t)
	locked.write(t, locked.webConfig, "")
	w.gates[1].end(t)
	for _, g := range w.gates[1:] {
		g.serve(t, w.gateConf)
	}
	for _, hangUp := range calls {
		hangUp()
	}
	w.add("tight-3", options{})
	w.fire(nil)

	gone := map[string]time.Duration{"TurnwardenAbsent": 5*time.Second + 5*time.Minute/hurried}
	for name, h := range w.hosts {
		h.end(t)
		gone["TurnNodeGone "+name] = 5*time.Second + 5*time.Minute/hurried
	}
	for _, g := range w.gates { // which keep to the last view for 16 s when most of a fleet vanishes
		gone["TurnGatewayNoServers "+g.instance()] = 21*time.Second + time.Minute/hurried
	}
	w.fire(gone)
	for _, h := range w.hosts {
		h.start(t)
	}
	w.fire(nil)

	// Last, because Prometheus may take minutes until it looks into ZooKeeper again.
	w.z.Kill()
	unlisted := map[string]time.Duration{}
	for name := range w.hosts {
		unlisted["TurnNotListed "+name] = 4*time.Second + 5*time.Minute/hurried
	}
	for _, g := range w.gates {
		unlisted["TurnGatewayViewStale "+g.instance()] = 2*time.Second + 2*time.Minute/hurried
	}
	w.fire(unlisted)
	w.z.Start()
	w.z.WaitReady()
	w.fire(nil)

	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(w.read("rules/turnwarden.alerts.yml"), -1) {
		if _, ok := notRaised()[m[1]]; ok == w.raised[m[1]] {
			t.Errorf("%s: raised %v, excused %v", m[1], w.raised[m[1]], ok)
		}
	}
}

// exchange swaps the contents of two files.
func exchange(t *testing.T, a, b string) {
	t.Helper()
	for _, move := range [][2]string{{a, a + ".tmp"}, {b, a}, {a + ".tmp", b}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
	}
}

// kill ends the host's turnserver, if it has one now.
func kill(t *testing.T, h *host) {
	t.Helper()
	for _, pid := range turnservers(t, filepath.Join(h.dir, "state", "turnserver.conf")) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// overflow has the kernel drop datagrams: the host's turnserver stands still while more
// of them come than its socket holds. That is over before a probe is given up.
func overflow(t *testing.T, h *host) {
	t.Helper()
	conn, err := net.Dial("udp", h.addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	for _, pid := range turnservers(t, filepath.Join(h.dir, "state", "turnserver.conf")) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	}
	const several = 10_000 // of which 4 MiB, for which coturn asks, hold 5,000
	for range several {
		_, _ = conn.Write([]byte("not a message of STUN"))
	}
}

func everySecond(ctx context.Context, seconds int, do func()) {
	tick := time.NewTicker(time.Duration(seconds) * time.Second)
	defer tick.Stop()
	for {
		do()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
