package e2e

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestStatusPage: a person who has the page open sees, without doing anything, what
// happens to a real node; and the page they look at does not keep it from stopping.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	h, z, _ := registered(t, options{set: map[string]string{"node": "turn-1", "traffic.interface": "lo"}})
	s := mustFetch(t, h.rest())
	url, tab, reads := watchPage(t, h)
	reads(".headline", 20*time.Second, "Listed, ", "bit/s free, 0 allocations")
	reads("#server", 20*time.Second, "running", fmt.Sprint(h.child(t)), "It has not ended")
	reads("#probe", 20*time.Second, "serving", "grants an Allocate with the credential", "ms")
	reads("#credential", 20*time.Second, "generation 1", "active", "yes")
	reads("#registration", 20*time.Second, "connected", "up, ")
	reads("#throughput", 20*time.Second, "1 Gbit/s", "lo")
	reads("#live", 20*time.Second, "live")

	hangUp := holdAllocation(t, h.addr(), s)
	reads(".headline", 20*time.Second, ", 1 allocation")
	hangUp()
	reads(".headline", 20*time.Second, ", 0 allocations")

	if err := syscall.Kill(h.child(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	reads("#server", 20*time.Second, "Restarts\n1", "signal SIGKILL")
	reads("#troubles", 20*time.Second, "supervisor", "turnserver is gone and its calls with it")
	reads(".headline", 20*time.Second, "Listed, ")

	z.Pause()
	reads("#verdict", 30*time.Second, "registry: ")
	reads("#registration", 30*time.Second, "disconnected")
	z.Cont()
	reads(".headline", 30*time.Second, "Listed, ")

	h.signal(t, syscall.SIGTERM)
	if code := h.wait(t, 20*time.Second); code != 0 {
		t.Errorf("exit code %d with a viewer", code)
	}
	reads("#live", 20*time.Second, "connection lost at ")
	h.serve(t)
	reads("#live", 20*time.Second, "live") // by itself
	reads("#server", 20*time.Second, "It has not ended")
	var loads int
	for _, r := range tab.Requests() {
		if r == url {
			loads++
		}
	}
	if loads != 1 {
		t.Errorf("the page was loaded %d times", loads)
	}
}

// watchPage opens the status page, and returns what waits until a part of it says all
// of this.
func watchPage(t *testing.T, h *host) (url string, tab *realtest.Tab, reads func(selector string, limit time.Duration, all ...string)) {
	t.Helper()
	url = "http://" + net.JoinHostPort(h.ip, fmt.Sprint(h.web)) + "/"
	tab = realtest.StartChromium(t).Open(t, realtest.Viewer{Width: 1280, Height: 900}, url)
	return url, tab, func(selector string, limit time.Duration, all ...string) {
		t.Helper()
		realtest.Eventually(t, limit, func() error {
			text := strings.ReplaceAll(tab.Text(selector), "\u00a0", " ")
			for _, want := range all {
				if !strings.Contains(text, want) {
					return fmt.Errorf("no %q in\n%s", want, text)
				}
			}
			return nil
		})
	}
}

// TestStatusPageOfGateway is the same for somebody who looks at a real gateway.
func TestStatusPageOfGateway(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	g := startGateway(t, []string{z.Addr()}, nil)
	_, _, reads := watchPage(t, &g.host)
	const soon = time.Minute
	reads("#verdict", soon, "No server to hand out", "no node is registered")
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{"node": "turn-1", "registry.region": "eu"}})
	h.serve(t)
	reads(".headline", soon, "1 of 1 server usable, ", "bit/s free")
	reads("#nodes", soon, "turn-1", "up", " of 1 Gbit/s", "eu", "ago")
	s := g.answers(t)
	reads("#answers", soon, "Credentials fetched from a node\n1")
	if out, code := h.ask(t, "maintenance", "on"); code != codeOK {
		t.Fatal(out)
	}
	reads("#verdict", soon, "No server to hand out", "1 server not used: 1 maintenance")
	reads("#nodes", soon, "its operator wants no new clients there")
	z.Pause()
	reads("#zookeeper", soon, "Age of this view")
	reads("#troubles", soon, "fleet", "ZooKeeper")
	z.Cont()
	if out, code := h.ask(t, "maintenance", "off"); code != codeOK {
		t.Fatal(out)
	}
	reads(".headline", soon, "1 of 1 server usable, ")
	if _, body, err := g.get("/"); err != nil || strings.Contains(body, s.Password) || strings.Contains(body, s.UserID) {
		t.Errorf("a secret on the page, or %v", err)
	}
}
