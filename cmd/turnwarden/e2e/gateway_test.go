package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// gatewayProcess is turnwarden gateway on a loopback address of its own. It is a host
// without a TURN server.
type gatewayProcess struct {
	host
	zookeeper []string
}

// startGateway runs one until the test ends, and returns when it answers at all.
func startGateway(t testing.TB, zookeeper []string, set map[string]string) *gatewayProcess {
	t.Helper()
	ip := realtest.Loopback(t)
	g := &gatewayProcess{host{command: "gateway", dir: t.TempDir(), ip: ip, api: realtest.FreePort(t, ip), web: realtest.FreePort(t, ip)}, zookeeper}
	g.yml = filepath.Join(g.dir, "gateway.yml")
	t.Cleanup(func() {
		if g.cmd != nil {
			g.end(t)
		}
		if t.Failed() {
			t.Logf("log of the gateway at %s:\n%s", g.ip, g.tail())
		}
	})
	g.serve(t, set)
	return g
}

// serve starts it with this configuration.
func (g *gatewayProcess) serve(t testing.TB, set map[string]string) {
	t.Helper()
	values := map[string]string{
		"registry.zookeeper": "[" + strings.Join(g.zookeeper, ", ") + "]", "registry.session_timeout": "4s",
		"gateway.reserve_mbps": "1", "api.listen": net.JoinHostPort(g.ip, fmt.Sprint(g.api)),
	}
	g.write(t, g.yml, yamlOf(values, set))
	g.start(t)
	realtest.Eventually(t, time.Minute, func() error {
		_, _, err := g.get("/-/healthy")
		return err
	})
}

// fleetSeed is the reply of a gateway's GET /turncredential.
type fleetSeed struct {
	seed
	URIs []string `json:"uris"`
}

// server is where the credential is good for.
func (f fleetSeed) server() (netip.AddrPort, error) {
	for _, u := range f.URIs {
		if address, ok := strings.CutSuffix(strings.TrimPrefix(u, "turn:"), "?transport=udp"); ok {
			return netip.ParseAddrPort(address)
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no UDP address in %q", f.URIs)
}

// fetch asks for a credential as a signalling server does.
func (g *gatewayProcess) fetch(query string) (fleetSeed, error) {
	code, body, err := get("http://" + g.rest() + "/turncredential" + query)
	if err != nil {
		return fleetSeed{}, err
	}
	var s fleetSeed
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK || s.Code != "ok" || s.UserID == "" || s.Password == "" {
		return fleetSeed{}, fmt.Errorf("%d %q", code, body)
	}
	return s, nil
}

// answers waits until the gateway has a server to hand out.
func (g *gatewayProcess) answers(t testing.TB) fleetSeed {
	t.Helper()
	var s fleetSeed
	realtest.Eventually(t, 20*time.Second, func() (err error) {
		s, err = g.fetch("")
		return err
	})
	return s
}

// sees waits until the gateway sees nodes in these states.
func (g *gatewayProcess) sees(t testing.TB, limit time.Duration, want map[string]string) {
	t.Helper()
	realtest.Eventually(t, limit, func() error {
		code, body, err := get("http://" + g.rest() + "/v1/fleet")
		if err != nil || code != http.StatusOK {
			return fmt.Errorf("%d %q %v", code, body, err)
		}
		var fleet struct {
			Nodes []struct{ Node, State string }
		}
		if err := json.Unmarshal([]byte(body), &fleet); err != nil {
			return err
		}
		for _, n := range fleet.Nodes {
			if want[n.Node] != n.State {
				return fmt.Errorf("%s is %s, want %q", n.Node, n.State, want[n.Node])
			}
		}
		if len(fleet.Nodes) != len(want) {
			return fmt.Errorf("%d nodes, want %d", len(fleet.Nodes), len(want))
		}
		return nil
	})
}

// TestGateway is the shortest way from a client to a relayed byte.
func TestGateway(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	g := startGateway(t, []string{z.Addr()}, nil)
	realtest.Eventually(t, 10*time.Second, func() error {
		if code, body, err := g.get("/-/ready"); err != nil || code != http.StatusServiceUnavailable || body != "not ready\nno node is registered\nzookeeper: connected\n" {
			return fmt.Errorf("%d %q %v", code, body, err)
		}
		return nil
	})
	code, body, err := get("http://" + g.rest() + "/turncredential")
	if err != nil || code != http.StatusServiceUnavailable || body != `{ "type" : "result", "code" : "error", "message" : "no valid credential now: no TURN server of the fleet is up" }` {
		t.Errorf("without a node: %d %s %v", code, body, err)
	}
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{"node": "turn-1", "registry.region": "eu", "registry.zone": "eu-a"}})
	h.serve(t)
	s := g.answers(t)
	server, err := s.server()
	if err != nil || server != h.addr() {
		t.Fatalf("%v, want %v (%v)", server, h.addr(), err)
	}
	if err := probe.Relay(t.Context(), server, s.UserID, s.Password, 1200); err != nil {
		t.Errorf("relay: %v", err)
	}
	if code, body, err := g.get("/-/ready"); err != nil || code != http.StatusOK || body != "ready\nzookeeper: connected\n" {
		t.Errorf("%d %q %v", code, body, err)
	}
	g.sees(t, 10*time.Second, map[string]string{"turn-1": "up"})
	g.signal(t, syscall.SIGHUP) // its file is read at the start alone
	for path, want := range map[string]string{
		"/v1/ice":               `{"iceServers":[{"urls":["turn:` + server.String() + `?transport=udp"`,
		"/v1/turn":              `{"username":"` + s.UserID + `"`,
		"/v1/pick?n=2":          `{"servers":[{"node":"turn-1","state":"up","region":"eu","zone":"eu-a"`,
		"/v1/pick?region=us":    `{"servers":[{"node":"turn-1"`, // better far away than not at all
		"/turncredential?ttl=x": `"code" : "ok"`,                // a user that all share has its own time
	} {
		if code, body, err := get("http://" + g.rest() + path); err != nil || code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s %v, want %s", path, code, body, err, want)
		}
	}
	for _, path := range []string{"/v1/pick?n=0", "/v1/pick?n=9", "/v1/pick?n=x", "/v1/pick?region=" + strings.Repeat("x", 65)} {
		if code, body, err := get("http://" + g.rest() + path); err != nil || code != http.StatusBadRequest || !strings.Contains(body, "accepted") {
			t.Errorf("%s: %d %s %v", path, code, body, err)
		}
	}
	if got := g.metric(t, "turnwarden_gateway_nodes_usable"); got != "1" {
		t.Errorf("%s usable nodes", got)
	}

	// Every surface says who is there, until the end.
	if code, body, err := g.get("/"); err != nil || code != http.StatusOK || !strings.Contains(body, "1 of 1 server usable") {
		t.Errorf("status page: %d %s %v", code, body, err)
	}
	g.signal(t, syscall.SIGTERM)
	if code := g.wait(t, 15*time.Second); code != codeOK {
		t.Errorf("exit code %d", code)
	}
}
