package e2e

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// TestAllocationsAreTrue compares turnwarden_allocations with what turnserver itself
// says, while 500 clients come, half of them die, lines are forged, turnserver is
// killed, and clients come again. Ten probes a second are in none of the counts.
func TestAllocationsAreTrue(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{conf: []string{"max-allocate-lifetime=600"}})
	h.serve(t)
	s := mustFetch(t, h.rest())
	addr := h.addr().String()

	calls := h.callMany(t, s, 500)
	h.counted(t, 500, calls, 20*time.Second)
	h.metricIs(t, "turnwarden_allocations_created_total", "500", 10*time.Second)
	realtest.Eventually(t, 10*time.Second, func() error {
		// The probe has none, one or two besides: over UDP, and over TCP.
		if got := h.metric(t, "turnwarden_relay_ports"); !slices.Contains([]string{"500", "501", "502"}, got) {
			return fmt.Errorf("%s relay ports", got)
		}
		return nil
	})

	// Clients over TCP die and turnserver notices; those over UDP it does not miss.
	for _, c := range calls[:250] {
		_ = c.conn.(*net.TCPConn).SetLinger(0)
		_ = c.conn.Close()
	}
	calls = calls[250:]
	h.counted(t, 250, calls, 20*time.Second)
	h.metricIs(t, "turnwarden_allocation_duration_seconds_count", "250", 10*time.Second)

	// Anybody can write into the log of 4.6.1, and has all but 100 of them end.
	forge(t, addr, "delete: realm=<example.org>, username=<x>", h.sessionIDs(t, calls)[:150])
	h.metricIs(t, "turnwarden_allocations", "100", 10*time.Second)
	h.counted(t, 250, calls, 40*time.Second)
	// And has 300 more begin.
	var ids []string
	for id := range 300 {
		ids = append(ids, fmt.Sprintf("000000000000%06d", 700_000+id))
	}
	forge(t, addr, "new, realm=<example.org>, username=<x>, lifetime=600", ids)
	h.metricIs(t, "turnwarden_allocations", "550", 10*time.Second)
	h.counted(t, 250, calls, 40*time.Second)
	if code, body, err := h.get("/-/ready"); code != 200 || h.metric(t, `turnwarden_turnserver_restarts_total{reason="probe"}`) != "0" {
		t.Errorf("lines were forged, and the node is %d %s %v", code, body, err)
	}

	child := h.child(t)
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.metricIs(t, "turnwarden_allocations", "0", 10*time.Second)
	h.another(t, child, 20*time.Second)
	h.waitReady(t)
	before, _ := strconv.Atoi(h.metric(t, "turnwarden_allocations_created_total"))
	calls = h.callMany(t, s, 100)
	h.counted(t, 100, calls, 20*time.Second)
	h.metricIs(t, "turnwarden_allocations_created_total", strconv.Itoa(before+100), 10*time.Second)
	for series, want := range map[string]string{
		`turnwarden_refusals_total{code="486"}`:                "0",
		`turnwarden_auth_failures_total{cause="unknown_user"}`: "0",
		"turnwarden_turnserver_log_lines_dropped_total":        "0",
	} {
		if got := h.metric(t, series); got != want {
			t.Errorf("%s %s, want %s", series, got, want)
		}
	}
}

// TestAllocationsWithoutCLI: then the relay sockets are what the log is compared with.
func TestAllocationsWithoutCLI(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{set: map[string]string{"coturn.cli": "false"}})
	h.serve(t)
	s := mustFetch(t, h.rest())
	h.callMany(t, s, 20)
	h.metricIs(t, "turnwarden_allocations", "20", 10*time.Second)
	forge(t, h.addr().String(), "new, realm=<example.org>, username=<x>, lifetime=600", []string{"000000000000700001", "000000000000700002"})
	h.metricIs(t, "turnwarden_allocations", "22", 10*time.Second)
	// On a busy machine a census may find no number that several looks agree on.
	h.metricIs(t, "turnwarden_allocations", "20", 2*time.Minute)
}

// TestProbesAreNotCounted: an hour of an idle node is an hour without an allocation.
func TestProbesAreNotCounted(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{
		"good":       {},
		"short life": {conf: []string{"max-allocate-lifetime=5"}},
		"full":       {conf: []string{"total-quota=1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, o)
			h.serve(t)
			want, refused := map[string]string{}, 0
			if name == "full" {
				s := mustFetch(t, h.rest())
				realtest.Eventually(t, 20*time.Second, func() error { // a probe may have the one that there is
					if code := newCall(t, "udp", h.addr().String(), s).request(t, stun.MethodAllocate, requestedUDP{}); code != 0 {
						refused++
						return fmt.Errorf("allocate: %d", code)
					}
					return nil
				})
				want["turnwarden_allocations"], want["turnwarden_allocations_created_total"] = "1", "1"
			}
			probes := h.probes(t)
			realtest.Eventually(t, time.Minute, func() error {
				if n := h.probes(t) - probes; n < 10 {
					return fmt.Errorf("%d probes", n)
				}
				return nil
			})
			// A request that was repeated, on a busy machine, is refused twice and told once.
			if got, _ := strconv.Atoi(h.metric(t, `turnwarden_refusals_total{code="486"}`)); got > refused+3 {
				t.Errorf("%d refusals for the quota, want the %d of ours", got, refused)
			}
			for _, series := range []string{
				"turnwarden_allocations", "turnwarden_allocations_created_total", "turnwarden_allocation_duration_seconds_count",
				"turnwarden_relay_receive_bytes_total", "turnwarden_relay_transmit_bytes_total",
				`turnwarden_refusals_total{code="401"}`, `turnwarden_refusals_total{code="437"}`,
				`turnwarden_auth_failures_total{cause="unknown_user"}`, `turnwarden_auth_failures_total{cause="wrong_password"}`,
			} {
				if got := h.metric(t, series); got != cmp.Or(want[series], "0") {
					t.Errorf("%s %s, want %s", series, got, cmp.Or(want[series], "0"))
				}
			}
		})
	}
}

// callMany returns clients with an allocation each, half of them over TCP, and these
// first.
func (h *host) callMany(t *testing.T, s seed, n int) []*call {
	t.Helper()
	calls := make([]*call, n)
	// Not from where the probes ask, which use up hundreds of ports: who has the port of
	// one a moment before or after it is taken for it.
	other := net.ParseIP("127.0.0.2")
	for i := range calls {
		network, from := "tcp", net.Dialer{LocalAddr: &net.TCPAddr{IP: other}}
		if i >= n/2 {
			network, from.LocalAddr = "udp", &net.UDPAddr{IP: other}
		}
		calls[i] = callOver(t, from, network, h.addr().String(), s)
	}
	var all sync.WaitGroup
	for _, c := range calls {
		all.Go(func() {
			if code := c.request(t, stun.MethodAllocate, requestedUDP{}); code != 0 {
				t.Errorf("allocate: %d", code)
			}
		})
	}
	all.Wait()
	return calls
}

// counted waits until as many of the calls as are expected are in turnserver's own
// list, and turnwarden says the same.
func (h *host) counted(t *testing.T, want int, calls []*call, limit time.Duration) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		got := h.metric(t, "turnwarden_allocations")
		ours := map[string]bool{}
		for _, c := range calls {
			ours[c.conn.LocalAddr().String()] = true
		}
		listed, sockets := 0, 0
		list, err := h.cli(t).List(t.Context(), "")
		for _, s := range list {
			if ours[s.ClientAddr] {
				listed++
			}
		}
		if err == nil {
			sockets, err = supervisor.RelaySockets(h.child(t), 20000, 29999)
		}
		if err != nil || listed != want || sockets < want || got != strconv.Itoa(want) {
			return fmt.Errorf("%d listed, %d relay sockets, turnwarden says %s; want %d (%w)", listed, sockets, got, want, err)
		}
		return nil
	})
}

// probes is how many rounds were good, over UDP.
func (h *host) probes(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(h.metric(t, `turnwarden_probe_duration_seconds_count{transport="udp"}`))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var cliLines = regexp.MustCompile(`(?m)^cli-(?:port|password)=(.*)$`)

// cli is that of the child, with the port and the password of this run.
func (h *host) cli(t *testing.T) *coturn.CLI {
	t.Helper()
	rendered, err := os.ReadFile(filepath.Join(h.dir, "state", "turnserver.conf"))
	if err != nil {
		t.Fatal(err)
	}
	found := cliLines.FindAllSubmatch(rendered, -1)
	if len(found) != 2 {
		t.Fatalf("no CLI in the rendered configuration")
	}
	port, _ := strconv.Atoi(string(found[0][1]))
	return coturn.NewCLI(func() coturn.Runtime {
		return coturn.Runtime{CLI: true, CLIPort: port, CLIPassword: coturn.CLIPassword(found[1][1])}
	}, func() int { return h.turn })
}

// sessionIDs are those of the calls.
func (h *host) sessionIDs(t *testing.T, calls []*call) (ids []string) {
	t.Helper()
	list, err := h.cli(t).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if slices.ContainsFunc(calls, func(c *call) bool { return c.conn.LocalAddr().String() == s.ClientAddr }) {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// forge has turnserver write lines of ours into its log, as anybody can up to 4.7:
// it prints a username that it refuses as it came.
func forge(t *testing.T, addr, what string, ids []string) {
	t.Helper()
	for some := range slices.Chunk(ids, 4) {
		name := "x"
		for _, id := range some {
			name += "\n0: : session " + id + ": " + what
		}
		c := newCall(t, "udp", addr, seed{UserID: name, Password: "x"})
		if code := c.request(t, stun.MethodAllocate, requestedUDP{}); code != 400 {
			t.Fatalf("a username of several lines: got %d, want 400", code)
		}
	}
}

// TestForgedEndsCutNoCall: a drain waits for the calls that there are, whatever somebody
// writes into the log.
func TestForgedEndsCutNoCall(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	calls := h.open(t, 5)
	h.metricIs(t, "turnwarden_allocations", "5", 10*time.Second)
	drain := h.begin(t, "drain", "--no-lock", "--then=hold", "--deadline=5m")
	drain.said(t, "5 calls")
	forge(t, h.addr().String(), "delete: realm=<example.org>, username=<x>", h.sessionIDs(t, calls))
	h.metricIs(t, "turnwarden_allocations", "0", 10*time.Second)
	h.metricIs(t, "turnwarden_allocations", "5", 20*time.Second)
	alive(t, calls)
	hangUp(t, calls)
	if out, code := drain.ends(t, 20*time.Second); code != 0 || !strings.Contains(out, "all have ended") {
		t.Errorf("%d\n%s", code, out)
	}
}
