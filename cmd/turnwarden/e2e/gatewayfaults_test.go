package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
)

// asking asks a gateway without a pause until stop, and shows each answer to see.
func asking(t *testing.T, g *gatewayProcess, query string, see func(asked, answered time.Time, s fleetSeed)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			asked := time.Now()
			s, err := g.fetch(query)
			if err != nil {
				t.Errorf("asked at %s, no answer: %v", asked.Format(time.StampMilli), err)
			}
			see(asked, time.Now(), s)
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

// TestGatewayRevocation: two seconds after a revocation no answer of a gateway holds what
// was revoked, and there is an answer at any time.
func TestGatewayRevocation(t *testing.T) {
	t.Parallel()
	for mode, set := range map[string]map[string]string{
		"user": {}, "secret": {"credentials.mode": "secret", "credentials.userdb": "sqlite"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			z := realtest.StartZooKeeper(t)
			o := options{zookeeper: []string{z.Addr()}, set: set}
			if mode == "secret" {
				o.without, o.conf = "lt-cred-mech", []string{"use-auth-secret"}
			}
			h := newHost(t, o)
			h.serve(t)
			g := startGateway(t, []string{z.Addr()}, nil)
			g.answers(t)
			var mu sync.Mutex
			answers := map[string][]time.Time{} // when, by password
			var last string
			stop := asking(t, g, "?userid=alice&ttl=3600", func(asked, answered time.Time, s fleetSeed) {
				if mode == "secret" && !strings.HasSuffix(s.UserID, ":alice") || mode == "user" && !strings.HasPrefix(s.UserID, "tw-") {
					t.Errorf("the username is %q", s.UserID)
				}
				mu.Lock()
				defer mu.Unlock()
				answers[s.Password] = append(answers[s.Password], answered)
				last = s.Password
			})
			worst, pace := time.Duration(0), realtest.NewPace()
			for range 3 {
				<-time.After(300 * time.Millisecond)
				server, err := g.answers(t).server()
				if err != nil {
					t.Fatal(err)
				}
				revoked := time.Now()
				if out, code := h.ask(t, "revoke", "--all"); code != codeOK {
					t.Fatalf("%d %s", code, out)
				}
				<-time.After(time.Until(revoked.Add(3 * time.Second)))
				s := g.answers(t)
				if err := probe.Relay(t.Context(), server, s.UserID, s.Password, 400); err != nil {
					t.Errorf("what was handed out after it does not work: %v", err)
				}
				mu.Lock()
				for password, times := range answers {
					if password == last || mode == "secret" && times[0].After(revoked) {
						continue
					}
					if late := times[len(times)-1].Sub(revoked); times[0].Before(revoked) && late > 0 {
						worst = max(worst, late)
					}
				}
				clear(answers)
				mu.Unlock()
			}
			stop()
			if worst > pace.Stretch(2*time.Second) {
				t.Errorf("a revoked credential was handed out %v after", worst)
			}
			t.Logf("the last answer with a revoked credential came %v after the command was begun", worst)
		})
	}
}

// watchFleet looks at /v1/fleet all the time and keeps what is seen too seldom to be
// waited for.
func watchFleet(t *testing.T, g *gatewayProcess, see func(nodes map[string]string)) (stop func()) {
	t.Helper()
	return asking(t, g, "", func(_, _ time.Time, _ fleetSeed) {
		_, body, err := get("http://" + g.rest() + "/v1/fleet")
		var fleet struct {
			Nodes []struct {
				Node, State string
				Held        bool
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(body), &fleet)
		}
		if err != nil {
			t.Errorf("/v1/fleet: %v", err)
			return
		}
		nodes := map[string]string{}
		for _, n := range fleet.Nodes {
			if n.Held {
				n.State += " held"
			}
			nodes[n.Node] = n.State
		}
		see(nodes)
	})
}

// TestGatewayEnsemble kills the leader of three ZooKeepers: no node is missed for a
// moment, and no request fails.
func TestGatewayEnsemble(t *testing.T) {
	t.Parallel()
	members := realtest.StartEnsemble(t)
	var servers []string
	for _, z := range members {
		servers = append(servers, z.Addr())
	}
	up := map[string]string{}
	for _, name := range []string{"turn-1", "turn-2"} {
		h := newHost(t, options{zookeeper: servers, set: map[string]string{"node": name, "registry.session_timeout": "10s"}})
		h.serve(t)
		up[name] = "up"
	}
	g := startGateway(t, servers, map[string]string{"registry.session_timeout": "10s"})
	g.sees(t, 30*time.Second, up)
	var looks atomic.Int64
	stop := watchFleet(t, g, func(nodes map[string]string) {
		looks.Add(1)
		if len(nodes) != 2 || nodes["turn-1"] != "up" || nodes["turn-2"] != "up" {
			t.Errorf("the fleet is %v", nodes)
		}
	})
	for _, z := range members {
		if z.Mode() == "leader" {
			z.Kill()
			break
		}
	}
	live := func() error {
		if got := g.metric(t, "turnwarden_gateway_view_live"); got != "1" {
			return errors.New("the view is not live")
		}
		return nil
	}
	realtest.Eventually(t, 20*time.Second, func() error {
		if live() == nil {
			return errors.New("the gateway has not noticed")
		}
		return nil
	})
	realtest.Eventually(t, 60*time.Second, live)
	before := g.metric(t, `turnwarden_zookeeper_operations_total{operation="get"}`)
	realtest.Eventually(t, 30*time.Second, func() error { // the nodes write again, and it reads
		if g.metric(t, `turnwarden_zookeeper_operations_total{operation="get"}`) == before {
			return errors.New("nothing is read")
		}
		return nil
	})
	stop()
	if looks.Load() == 0 {
		t.Error("nobody has looked")
	}
	t.Logf("looked %d times", looks.Load())
}

// TestGatewayMassLoss pauses ZooKeeper, and then keeps the nodes from it until each of
// their sessions has ended: the list is empty for everybody, and the gateway answers from
// what it saw last.
func TestGatewayMassLoss(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	l := newLink(t, z.Addr())
	up := map[string]string{}
	for _, name := range []string{"turn-1", "turn-2"} {
		newHost(t, options{zookeeper: []string{l.addr()}, set: map[string]string{"node": name}}).serve(t)
		up[name] = "up"
	}
	g := startGateway(t, []string{z.Addr()}, nil)
	g.sees(t, 20*time.Second, up)
	c := gather(t, g)
	z.Pause()
	<-time.After(7 * time.Second) // sessions live for 4 s
	if code, body, err := g.get("/-/ready"); err != nil || code != http.StatusOK || !strings.Contains(body, "serving the fleet as it was last seen") {
		t.Errorf("/-/ready: %d %q %v", code, body, err)
	}
	moment := time.Now()
	l.cut()
	z.Cont()
	plain := z.Client(t)
	children := func(want int) {
		t.Helper()
		realtest.Eventually(t, 30*time.Second, func() error {
			names, _, err := plain.Children("/turn/servers")
			if err != nil || len(names) != want {
				return fmt.Errorf("%q %v", names, err)
			}
			return nil
		})
	}
	children(0)
	realtest.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(g.tail(), "most of the fleet vanished") {
			return errors.New("the gateway has not noticed")
		}
		return nil
	})
	l.mend()
	children(2)
	g.sees(t, 20*time.Second, up)
	<-time.After(time.Second)
	c.stop()
	if n := c.since(moment); len(n) != 2 {
		t.Errorf("clients were sent to %v, want both", n)
	}
	if failed := c.blame(nil); failed > 0 || c.unanswered > 0 {
		t.Errorf("%d of %d calls failed, %d requests were not answered", failed, len(c.calls), c.unanswered)
	}
	t.Logf("%d calls, none failed", len(c.calls))
}

// TestGatewayPartition cuts a node off from ZooKeeper and heals it: gone and back within
// the bounds, and never there twice.
func TestGatewayPartition(t *testing.T) {
	r := realtest.NewRouter(t)
	z := realtest.StartZooKeeperAt(t, r.Ours, realtest.FreePort(t, r.Ours))
	zookeeper := []string{z.Addr()}
	newHost(t, options{zookeeper: zookeeper, set: map[string]string{"node": "near"}}).serve(t)
	newHost(t, options{zookeeper: zookeeper, far: r, set: map[string]string{"node": "far", "api.allow_cidrs": r.Ours}}).serve(t)
	g := startGateway(t, zookeeper, nil)
	both := map[string]string{"near": "up", "far": "up"}
	g.sees(t, 20*time.Second, both)
	stop := watchFleet(t, g, func(nodes map[string]string) {
		if nodes["near"] != "up" || len(nodes) > 2 {
			t.Errorf("the fleet is %v", nodes)
		}
	})
	const bound = 4*time.Second + 500*time.Millisecond + time.Second // session, tick, 1 s
	r.Forward(false)
	cut, pace := time.Now(), realtest.NewPace()
	g.sees(t, 20*time.Second, map[string]string{"near": "up"})
	pace.Within(t, bound+time.Second, "gone") // a second until the gateway is asked again
	<-time.After(time.Until(cut.Add(15 * time.Second)))
	r.Forward(true)
	pace = realtest.NewPace()
	g.sees(t, 20*time.Second, both)
	pace.Within(t, 3*time.Second+time.Second, "back")
	stop()
}

// TestGatewayRogueRecord: whoever can write to ZooKeeper can write a record. Where it
// leads outside the list nobody connects, and within it no token is sent in the clear.
func TestGatewayRogueRecord(t *testing.T) {
	t.Parallel()
	z := realtest.StartZooKeeper(t)
	secret, line, err := transport.NewToken("gateway")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tokens, token := filepath.Join(dir, "tokens"), filepath.Join(dir, "token")
	cert, key := realtest.Certificate(t, "localhost", time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	port := fmt.Sprint(realtest.FreePort(t, "127.0.0.1"))
	h := newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
		"node": "honest", "api.listen": "127.0.0.1:" + port, "registry.advertise": "localhost:" + port,
		"api.tls.cert_file": cert, "api.tls.key_file": key, "api.tokens_file": tokens,
	}})
	h.write(t, tokens, line+"\n")
	h.write(t, token, secret+"\n")
	h.serve(t)

	var foreign, requests, tokensSeen atomic.Int64
	outside, err := net.Listen("tcp", realtest.Loopback(t)+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outside.Close() })
	go func() {
		for {
			c, err := outside.Accept()
			if err != nil {
				return
			}
			foreign.Add(1)
			_ = c.Close()
		}
	}()
	eavesdrop := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Authorization") != "" {
			tokensSeen.Add(1)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	plain, impostor := httptest.NewServer(eavesdrop), httptest.NewUnstartedServer(eavesdrop)
	t.Cleanup(plain.Close)
	impostor.Config.ErrorLog = log.New(io.Discard, "", 0)
	impostor.StartTLS() // with a certificate that nobody trusts
	t.Cleanup(impostor.Close)
	c := z.Client(t)
	listed(t, c, 10*time.Second)
	rogues := map[string]directory.Record{
		"outside":  {RESTAddr: outside.Addr().String(), RESTScheme: "https"},
		"plain":    {RESTAddr: plain.Listener.Addr().String(), RESTScheme: "http"},
		"impostor": {RESTAddr: impostor.Listener.Addr().String(), RESTScheme: "https"},
	}
	for name, r := range rogues {
		r.V, r.State, r.FreeTraffic, r.CapacityMbps, r.URIs = 1, "up", 1e5, 1e5, []string{"turn:203.0.113.9:3478"}
		if _, err := c.Create("/turn/servers/"+name, r.Encode(), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
		rogues[name] = r
	}
	ctx, stop := context.WithCancel(t.Context())
	var written sync.WaitGroup
	written.Go(func() { // a record that is not written any more is not picked
		everySecond(ctx, 1, func() {
			for name, r := range rogues {
				r.Seq++
				rogues[name] = r
				_, _ = c.Set("/turn/servers/"+name, r.Encode(), -1)
			}
		})
	})
	t.Cleanup(func() {
		stop()
		written.Wait()
	})
	g := startGateway(t, []string{z.Addr()}, map[string]string{
		"gateway.node.allow_cidrs": "[127.0.0.1, '::1']", "gateway.node.token_file": token, "gateway.node.hosts": "[localhost, 127.0.0.1]", "gateway.node.ca_file": cert,
	})
	g.sees(t, 20*time.Second, map[string]string{"honest": "up", "outside": "forbidden", "plain": "up", "impostor": "up"})
	for range 20 {
		s, err := g.fetch("")
		if err != nil {
			t.Fatal(err)
		}
		if server, err := s.server(); err != nil || server != h.addr() {
			t.Fatalf("sent to %v (%v), want %v", server, err, h.addr())
		}
		// Otherwise the credential is kept, and nobody is asked.
		if out, code := h.ask(t, "rotate"); code != codeOK {
			t.Fatalf("%d %s", code, out)
		}
	}
	for range 20 {
		code, body, err := get("http://" + g.rest() + "/v1/pick?n=8")
		if err != nil || code != http.StatusOK || strings.Contains(body, `"outside"`) || !strings.Contains(body, `"impostor"`) {
			t.Fatalf("%d %s %v", code, body, err)
		}
	}
	if !strings.Contains(g.tail(), "outside gateway.node.allow_cidrs: its node is never picked") || g.metric(t, `turnwarden_gateway_nodes{state="forbidden"}`) != "1" {
		t.Error("nobody is told that a record is outside the list")
	}
	if n := foreign.Load(); n > 0 {
		t.Errorf("%d connections to an address outside the list", n)
	}
	if n := tokensSeen.Load(); n > 0 {
		t.Errorf("the token was shown to a stranger %d times", n)
	}
	if requests.Load() == 0 {
		t.Error("no rogue was ever picked: nothing was tested")
	}
	if strings.Contains(g.tail(), secret) {
		t.Error("the token is in the log")
	}
}
