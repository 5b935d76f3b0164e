package realtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Router is a network namespace between us and another namespace. Without forwarding
// it drops every packet and says nothing, as a broken network does.
type Router struct {
	Ours, Theirs string // our address as the far side sees it, and the other way round

	t         testing.TB
	near, far string // names of the namespaces
}

// NewRouter puts one between this namespace and another, until the test ends.
func NewRouter(t testing.TB) *Router {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "network namespaces need root")
	}
	Require(t, "ip", "sysctl")
	id := fmt.Sprintf("tw%d", os.Getpid()) // one at a time in a process
	net := fmt.Sprintf("10.213.%d", os.Getpid()%250)
	r := &Router{Ours: net + ".1", Theirs: net + ".6", t: t, near: id + "r", far: id + "f"}
	if out, err := exec.Command("ip", "netns", "add", r.near).CombinedOutput(); err != nil {
		Missing(t, fmt.Sprintf("no network namespaces here: %v: %s", err, out))
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
		"ip -n " + r.far + " link set dev lo up", // or an address of its own does not answer itself
		"ip -n " + r.far + " route add default via " + net + ".5",
	} {
		r.run(line)
	}
	// Namespaces go some time after their deletion, and links with them: too late for a next test.
	t.Cleanup(func() { r.run("ip link del " + id + "a") })
	r.Forward(true)
	return r
}

func (r *Router) run(line string) {
	r.t.Helper()
	words := strings.Fields(line)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		r.t.Errorf("%s: %v: %s", line, err, out)
	}
}

// Command is what runs a program on the far side.
func (r *Router) Command() []string { return []string{"ip", "netns", "exec", r.far} }

// Forward joins or cuts the two sides.
func (r *Router) Forward(on bool) {
	r.t.Helper()
	value := map[bool]string{true: "1", false: "0"}[on]
	r.run("ip netns exec " + r.near + " sysctl -qw net.ipv4.ip_forward=" + value)
}
