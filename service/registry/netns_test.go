package registry_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// router is a network namespace between us and another namespace. Without forwarding
// it drops every packet and says nothing, as a broken network does.
type router struct {
	t         *testing.T
	ours      string // our address, as the far side sees it
	near, far string // names of the namespaces
}

func newRouter(t *testing.T) *router {
	t.Helper()
	if os.Geteuid() != 0 {
		realtest.Missing(t, "network namespaces need root")
	}
	realtest.Require(t, "ip", "sysctl")
	id := fmt.Sprintf("tw%d", os.Getpid())
	net := fmt.Sprintf("10.213.%d", os.Getpid()%250)
	r := &router{t: t, ours: net + ".1", near: id + "r", far: id + "f"}
	if out, err := exec.Command("ip", "netns", "add", r.near).CombinedOutput(); err != nil {
		realtest.Missing(t, fmt.Sprintf("no network namespaces here: %v: %s", err, out))
	}
	t.Cleanup(func() { r.run("ip netns del " + r.near) })
	r.run("ip netns add " + r.far)
	t.Cleanup(func() { r.run("ip netns del " + r.far) })
	for _, line := range []string{
		"ip link add " + id + "a type veth peer name b netns " + r.near,
		"ip addr add " + net + ".1/30 dev " + id + "a",
		"ip link set dev " + id + "a up",
		"ip route add " + net + ".4/30 via " + net + ".2",
		"ip -n " + r.near + " addr add " + net + ".2/30 dev b",
		"ip -n " + r.near + " link set dev b up",
		"ip -n " + r.near + " link add c type veth peer name d netns " + r.far,
		"ip -n " + r.near + " addr add " + net + ".5/30 dev c",
		"ip -n " + r.near + " link set dev c up",
		"ip -n " + r.far + " addr add " + net + ".6/30 dev d",
		"ip -n " + r.far + " link set dev d up",
		"ip -n " + r.far + " route add default via " + net + ".5",
	} {
		r.run(line)
	}
	// Namespaces go some time after their deletion, and links with them: too late for a next test.
	t.Cleanup(func() { r.run("ip link del " + id + "a") })
	r.forward(true)
	return r
}

func (r *router) run(line string) {
	r.t.Helper()
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		r.t.Errorf("%s: %v: %s", line, err, out)
	}
}

// forward joins or cuts the two sides.
func (r *router) forward(on bool) {
	r.t.Helper()
	value := map[bool]string{true: "1", false: "0"}[on]
	r.run("ip netns exec " + r.near + " sysctl -qw net.ipv4.ip_forward=" + value)
}

// TestPacketLoss cuts a host off from ZooKeeper, for half a session timeout and for two.
func TestPacketLoss(t *testing.T) {
	t.Parallel()
	const timeout, tick = 3 * time.Second, 500 * time.Millisecond
	r := newRouter(t)
	z := realtest.StartZooKeeperAt(t, r.ours, realtest.FreePort(t, r.ours))
	c := hostConfig{Server: z.Addr(), Path: "/servers", RESTAddr: "10.0.0.1:1", Timeout: timeout}
	startProcess(t, z, c, "ip", "netns", "exec", r.far)
	o := look(t, z, "/servers/turn-1")

	end := o.follow()
	r.forward(false)
	<-time.After(timeout / 2)
	r.forward(true)
	o.written(2)
	if s := end(); s.absent > 0 || len(s.owners) != 1 {
		t.Errorf("cut for half a timeout: absent %d times, owners %x, want neither a gap nor a new session", s.absent, s.owners)
	}

	r.forward(false)
	cut := time.Now()
	o.gone(soon)
	if took := time.Since(cut); took > timeout+tick+time.Second {
		t.Errorf("gone %v after the cut, want the session timeout, a tick and a second at most", took)
	}
	<-time.After(time.Until(cut.Add(2 * timeout)))
	r.forward(true)
	healed := time.Now()
	o.until("is back", func(directory.Record, *zk.Stat) bool { return true })
	if took := time.Since(healed); took > 3*time.Second {
		t.Errorf("back %v after the network, want 3 s at most", took)
	} else {
		t.Logf("back %v after the network", took)
	}
	if nodes, _, err := o.c.Children("/servers"); err != nil || len(nodes) != 1 {
		t.Errorf("nodes %q (%v), want exactly one", nodes, err)
	}
}
