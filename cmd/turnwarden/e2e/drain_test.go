package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// drains waits until the node is in the phase.
func (h *host) drains(t *testing.T) {
	t.Helper()
	realtest.Eventually(t, 20*time.Second, func() error {
		if code, body, err := h.get("/-/ready"); err != nil || code != 503 || !strings.Contains(body, "draining") {
			return fmt.Errorf("ready: %d %q, %w", code, body, err)
		}
		return nil
	})
}

// TestDrainFifty: 50 live allocations on a real coturn; the drain ends when the last
// one does, and none is cut. The server is a new one then, and the node ready.
func TestDrainFifty(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	calls := h.open(t, 50)
	child := h.child(t)
	restart := h.begin(t, "restart", "--no-lock", "--deadline=10m")
	restart.said(t, "cannot refuse new calls")
	h.drains(t)
	h.metricIs(t, "turnwarden_allocations", "50", 10*time.Second) // a probe may have been under way
	if end := h.metric(t, "turnwarden_drain_deadline_timestamp_seconds"); end == "0" {
		t.Error("no deadline in the metrics")
	}
	hangUp(t, calls[1:])
	alive(t, calls[:1])
	select {
	case <-restart.exited:
		t.Fatal("the drain ended with a call open")
	case <-time.After(2 * time.Second):
	}
	if h.child(t) != child {
		t.Fatal("the child was replaced with a call open")
	}
	alive(t, calls[:1])
	began := time.Now()
	hangUp(t, calls[:1])
	out, code := restart.ends(t, 20*time.Second)
	t.Logf("over %v after the last call:\n%s", time.Since(began).Round(time.Millisecond), out)
	if code != 0 || !strings.Contains(out, "all have ended") {
		t.Errorf("exit code %d", code)
	}
	if now := h.child(t); now == child || now == 0 {
		t.Errorf("child %d, and before %d", now, child)
	}
	h.waitReady(t)
	if got := h.metric(t, `turnwarden_turnserver_restarts_total{reason="requested"}`); got != "1" {
		t.Errorf("%s restarts on request, want 1", got)
	}
	if end := h.metric(t, "turnwarden_drain_deadline_timestamp_seconds"); end != "0" {
		t.Errorf("a deadline at %s after the drain", end)
	}
	alive(t, h.open(t, 1))
}

// TestDrainDeadline: on the deadline the calls that are left are cut, and the count
// says so; turnwarden has ended when the command has.
func TestDrainDeadline(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	calls := h.open(t, 50)
	hangUp(t, calls[:20])
	if out, code := h.ask(t, "drain", "--no-lock", "--deadline=-1s"); code != 2 || !strings.Contains(out, "accepted: 0s and more") {
		t.Errorf("--deadline=-1s: %d\n%s", code, out)
	}
	out, code := h.ask(t, "drain", "--no-lock", "--deadline=3s")
	t.Log(out)
	if code != 3 || !hasCut(out, 30) {
		t.Errorf("exit code %d, want 3 for 30 calls", code)
	}
	if h.child(t) != 0 {
		t.Error("the child outlives the command")
	}
	if code := h.wait(t, 10*time.Second); code != 0 {
		t.Errorf("turnwarden ended with %d, want 0", code)
	}
}

// hasCut says whether the deadline has cut so many calls. A proof of our own counts as one
// when a busy machine keeps it from its end for long enough.
func hasCut(out string, calls int) bool {
	found := regexp.MustCompile(`the deadline has cut (\d+) calls`).FindStringSubmatch(out)
	if found == nil {
		return false
	}
	n, err := strconv.Atoi(found[1])
	return err == nil && calls <= n && n <= calls+2
}

// TestDrainInterrupted: Ctrl-C leaves the drain running; asked again, it is followed;
// resumed, no call is cut and the node is as it was.
func TestDrainInterrupted(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	calls := h.open(t, 1)
	child := h.child(t)
	drain := h.begin(t, "drain", "--no-lock", "--deadline=10m")
	drain.said(t, "refuse")
	if err := drain.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if out, code := drain.ends(t, 10*time.Second); code != 1 || !strings.Contains(out, "what was asked goes on") {
		t.Errorf("interrupted: %d\n%s", code, out)
	}
	h.drains(t)
	again := h.begin(t, "drain", "--no-lock", "--then=hold")
	again.said(t, "a drain is under way")
	out, code := h.ask(t, "resume")
	if code != 0 {
		t.Errorf("resume: %d\n%s", code, out)
	}
	if out, code := again.ends(t, 10*time.Second); code != 0 {
		t.Errorf("the drain that was resumed: %d\n%s", code, out)
	}
	h.waitReady(t)
	alive(t, calls)
	if h.child(t) != child {
		t.Error("the child was replaced")
	}
	if out, code := h.ask(t, "resume"); code != 1 || !strings.Contains(out, "no drain is under way") {
		t.Errorf("a second resume: %d %s", code, out)
	}
	if out, code := h.ask(t, "drain"); code != 1 || !strings.Contains(out, "--no-lock drains all the same") {
		t.Errorf("without ZooKeeper: %d %s", code, out)
	}
}

// TestDrainRefuses: a coturn that can refuses new calls once readers of the record must
// have noticed, and keeps the others. It is asked for nothing that it would count as a
// call, and no credential is made that it could not prove. Its slow end is waited for.
func TestDrainRefuses(t *testing.T) {
	t.Parallel()
	h, _, c := registered(t, options{set: map[string]string{
		"coturn.turnserver": installFakeCoturn(t, "4.17.1"), "coturn.cli": "false",
		"credentials.rotate_every": "2s", "credentials.lifetime": "1m",
	}})
	calls := h.open(t, 3)
	child := h.child(t)
	began := time.Now()
	restart := h.begin(t, "restart", "--deadline=10m")
	restart.said(t, "unlisted")
	stated(t, c, "draining")
	// Who has read the record a moment ago is served.
	calls = append(calls, h.open(t, 1)...)
	restart.said(t, "answers 403 to new calls")
	if took := time.Since(began); took < 4*time.Second {
		t.Errorf("new calls refused after %v, and the session timeout is 4 s", took)
	}
	s := mustFetch(t, h.rest())
	refused, generation := h.metric(t, `turnwarden_refusals_total{code="403"}`), s.UserID
	// Some probes and rotations would have been due in this time.
	select {
	case <-restart.exited:
		t.Fatal("the drain ended with calls open")
	case <-time.After(5 * time.Second):
	}
	if got := h.metric(t, `turnwarden_refusals_total{code="403"}`); got != refused {
		t.Errorf("%s Allocates refused, and %s before: nobody but us is here", got, refused)
	}
	if s, err := fetch(h.rest()); err != nil || s.UserID != generation {
		t.Errorf("another credential while none can be proved: %v, %v", s.UserID, err)
	}
	alive(t, calls)
	if code := newCall(t, "udp", h.addr().String(), s).request(t, stun.MethodAllocate, requestedUDP{}); code != 403 {
		t.Errorf("a new call: %d, want 403", code)
	}
	if out, code := h.ask(t, "rotate"); code != 1 || !strings.Contains(out, "no new credential can be proved") {
		t.Errorf("rotate: %d %s", code, out)
	}
	hangUp(t, calls)
	out, code := restart.ends(t, 40*time.Second)
	t.Log(out)
	if code != 0 || !strings.Contains(out, "all have ended") {
		t.Errorf("exit code %d", code)
	}
	if now := h.child(t); now == child || now == 0 {
		t.Errorf("child %d, and before %d", now, child)
	}
	listed(t, c, 10*time.Second)
	if got := h.metric(t, `turnwarden_turnserver_restarts_total{reason="requested"}`); got != "1" {
		t.Errorf("%s restarts on request, want 1", got)
	}
	// It rotates again.
	realtest.Eventually(t, 20*time.Second, func() error {
		if s, err := fetch(h.rest()); err != nil || s.UserID == generation {
			return fmt.Errorf("credential %v, %w", s.UserID, err)
		}
		return nil
	})
}

// TestDrainAndDie: a child that dies while it drains is not started again, until
// somebody wants one; what was told to refuse calls cannot be told otherwise.
func TestDrainAndDie(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{set: map[string]string{"coturn.turnserver": installFakeCoturn(t, "4.7.0"), "coturn.cli": "false"}})
	h.serve(t)
	h.open(t, 2)
	// What begins beside a probe of our own is counted when it is known not to be one.
	h.metricIs(t, "turnwarden_allocations", "2", 20*time.Second)
	child := h.child(t)
	drain := h.begin(t, "drain", "--no-lock", "--then=hold")
	drain.said(t, "answers 403")
	// The resume keeps the calls, and replaces the server when they have ended.
	resume := h.begin(t, "resume")
	resume.said(t, "cannot be told otherwise")
	if h.child(t) != child {
		t.Fatal("a resume cut calls")
	}
	// And back: the last word counts.
	h.begin(t, "drain", "--no-lock", "--then=hold").said(t, "a drain is under way")
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	out, code := drain.ends(t, 20*time.Second)
	if code != 1 || !strings.Contains(out, "turnserver ended (signal SIGKILL) with 2 calls") {
		t.Errorf("the child died: %d\n%s", code, out)
	}
	select {
	case <-time.After(2 * time.Second):
	case <-h.exited:
		t.Fatal("turnwarden ended")
	}
	if pid := h.child(t); pid != 0 {
		t.Errorf("child %d was started while the node is held", pid)
	}
	if code, body, err := h.get("/-/ready"); err != nil || code != 503 || !strings.Contains(body, "until turnwarden resume") {
		t.Errorf("ready: %d %s %v", code, body, err)
	}
	if out, code := h.ask(t, "resume"); code != 0 {
		t.Errorf("resume: %d\n%s", code, out)
	}
	h.waitReady(t)
	alive(t, h.open(t, 1))
}

// TestDrainQueue: one node of the fleet drains at a time, the other says for whom it
// waits, and a holder who dies frees its turn with its session.
func TestDrainQueue(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	var hosts []*host
	for _, name := range []string{"turn-1", "turn-2"} {
		h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{"node": name}})
		h.serve(t)
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		h.metricIs(t, "turnwarden_zookeeper_registered", "1", 20*time.Second)
	}
	if out, code := hosts[0].ask(t, "drain", "--then=hold"); code != 0 {
		t.Fatalf("%d\n%s", code, out)
	}
	second := hosts[1].begin(t, "drain", "--then=hold")
	realtest.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(hosts[1].log(t), "waits for its turn") {
			return errors.New("it does not wait")
		}
		return nil
	})
	// Nobody who reads the records sees the queue.
	all, err := records(z.Client(t), "/turn/servers")
	if err != nil || len(all) != 2 || all["turn-1"].State != "draining" || all["turn-2"].State != "up" {
		t.Errorf("records %+v, %v", all, err)
	}
	hosts[0].signal(t, syscall.SIGKILL)
	if out, code := second.ends(t, 20*time.Second); code != 0 || !strings.Contains(out, "held") {
		t.Errorf("%d\n%s", code, out)
	}
	stated(t, z.Client(t), "draining")
}
