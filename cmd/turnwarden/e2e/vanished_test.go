package e2e

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestVanishedInterface: where turnserver listens on every address of the host, one that
// vanishes, such as a tunnel's, is no reason to cut the calls of the others.
func TestVanishedInterface(t *testing.T) {
	if !alone(t) {
		return
	}
	ip := func(line string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	for name, address := range map[string]string{"eth0": "192.0.2.10/24", "tun0": "10.8.0.1/24"} {
		ip("link add " + name + " type veth peer name " + name + "-far")
		ip("addr add " + address + " dev " + name)
		ip("link set " + name + " up")
		ip("link set " + name + "-far up")
	}
	ip("route add default via 192.0.2.1")
	h := newHost(t, options{without: "listening-ip="})
	h.serve(t)
	child := h.child(t)
	ip("link del tun0")
	const good = `turnwarden_probe_duration_seconds_count{transport="udp"}`
	rounds := func() float64 {
		n, err := strconv.ParseFloat(h.metric(t, good), 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := rounds()
	realtest.Eventually(t, time.Minute, func() error {
		if rounds() < before+5 {
			return errors.New("not probed")
		}
		return nil
	})
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d was restarted: it is %d", child, now)
	}
}
