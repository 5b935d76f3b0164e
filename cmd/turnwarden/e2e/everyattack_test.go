package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestAttack is all that strangers can do to a node and a gateway over the network, at once:
// every honest caller is answered, a call goes on, memory and files are bounded, and no token
// is shown to who should not see it. It takes the whole machine, so that only make attack runs
// it, for TURNWARDEN_ATTACK; each case has a test of its own.
func TestAttack(t *testing.T) {
	text := os.Getenv("TURNWARDEN_ATTACK")
	if text == "" {
		t.Skip("make attack runs this")
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	const held, crowd = 5000, 20_000
	requireFiles(t, 2*held)
	s := besieged(t, crowd)
	h, g := s.h, s.g
	c := callsOf(t, h, 1)
	before := map[*host]uint64{}
	for _, p := range []*host{h, &g.host} {
		rss, _, err := p.holds()
		if err != nil {
			t.Fatal(err)
		}
		before[p] = rss
	}

	node := append(strangersOf(h), stranger{h.rest(), "GET /turncredential HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 50, ""})
	gateway := append(strangersOf(&g.host), stranger{s.agent, "", 300, ""})
	attackers := []attacker{
		startAttack(t, attack{Addr: h.rest(), Held: held, Strangers: node}),
		startAttack(t, attack{Addr: g.rest(), Held: held, Strangers: gateway, Token: s.wild, PerSecond: 10 * rate}),
	}
	callers := s.honestCallers(c)
	var rss, files atomic.Int64 // the most that either has grown by, and has open
	c.every(200*time.Millisecond, func() {
		for p, was := range before {
			now, open, err := p.holds()
			if err != nil {
				t.Error(err)
			}
			rss.Store(max(rss.Load(), int64(now)-int64(was)))
			files.Store(max(files.Load(), int64(open)))
		}
	})
	pace := realtest.NewPace()
	<-time.After(lasts)
	h.replies(t, map[[2]string]int{{h.ip, "evil.example"}: http.StatusMisdirectedRequest, {h.ip, h.ip}: http.StatusOK})
	c.leave()
	bound := pace.Stretch(2 * time.Second)
	var done []attacked
	for _, a := range attackers {
		done = append(done, a.end(t))
	}

	room := int64(200) << 20
	if detector {
		bound, room = 5*bound, 5*room
	}
	for _, a := range callers {
		t.Logf("%-22s %5d of %5d answered, p50 %v p99 %v max %v", a.name, len(a.took), len(a.took)+a.failed, a.took.at(.5), a.took.at(.99), a.took.at(1))
		if a.failed > 0 || len(a.took) == 0 || a.took.at(1) > bound {
			t.Errorf("%s: %d answered, %d not, the slowest after %v", a.name, len(a.took), a.failed, a.took.at(1))
		}
	}
	t.Logf("for %v %d + %d connections were held (%d + %d at most at a time); the wild caller: %v; a call had %d packets sent, %d came back; memory grew by %d MiB, %d files at most",
		lasts, held, held, done[0].Most, done[1].Most, done[1].Codes, c.sent.Load(), c.received.Load(), rss.Load()>>20, files.Load())
	if lost, dropped := c.sent.Load()-c.received.Load(), int64(c.dropped()); lost > dropped || c.received.Load() == 0 {
		t.Errorf("%d of %d packets of a call were lost, %d of them in full buffers", lost, c.sent.Load(), dropped)
	}
	if rss.Load() > room || files.Load() > 4096+1024+200 {
		t.Errorf("memory grew by %d MiB, %d files were open", rss.Load()>>20, files.Load())
	}
	if s.lied.Load() == 0 {
		t.Error("no rogue was ever asked: nothing was tested")
	}
	if n := s.betrayed.Load(); n > 0 {
		t.Errorf("the nodes' token was shown to a stranger %d times", n)
	}
	for _, p := range []*host{h, &g.host} {
		if n := strings.Count(p.log(t), "level=ERROR"); n > 20 { // a busy machine may bring some of its own
			t.Errorf("%s logged %d errors", p.ip, n)
		}
	}
}

// siege is a node and a gateway, which sees nodes that hang, lie and eavesdrop beside it,
// and a crowd of children that are none.
type siege struct {
	h                   *host
	g                   *gatewayProcess
	agent, honest, wild string
	lied                atomic.Int64 // answers of a node that are no use
	betrayed            atomic.Int64 // how often a stranger saw the nodes' token
}

func besieged(t *testing.T, crowd int) *siege {
	t.Helper()
	s := new(siege)
	h, z, c := registered(t, options{without: "lt-cred-mech", conf: []string{"use-auth-secret"}, set: map[string]string{
		"node": "turn-1", "credentials.mode": "secret", "credentials.userdb": "sqlite", "probe.allow_targets": "[192.0.2.1]",
	}})
	hung, err := net.Listen("tcp", net.JoinHostPort(realtest.Loopback(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hung.Close() })
	liar := serveAt(t, func(w http.ResponseWriter, _ *http.Request) {
		s.lied.Add(1)
		fmt.Fprint(w, `{"type":"result","code":"ok","userid":"1:x","password":"x","expired_time":1000}`)
	})
	eavesdropper := serveAt(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			s.betrayed.Add(1)
		}
	})
	for name, addr := range map[string]string{"hung": hung.Addr().String(), "liar": liar, "eavesdropper": eavesdropper} {
		r := directory.Record{
			RESTAddr: addr, RESTScheme: "http", V: 1, State: "up", FreeTraffic: 1000, CapacityMbps: 1000, Seq: 1,
			URIs: []string{"turn:203.0.113.9:3478"}, Mode: "secret",
		}
		if _, err := c.Create("/turn/servers/"+name, r.Encode(), zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < crowd; n += 500 {
		var ops []any
		for i := range 500 {
			ops = append(ops, &zk.CreateRequest{Path: fmt.Sprintf("/turn/servers/!%d", n+i), Acl: zk.WorldACL(zk.PermAll)})
		}
		if _, err := c.Multi(ops...); err != nil {
			t.Fatal(err)
		}
	}
	tokens, honest, wild := honestAndWild(t)
	secret := tokens + ".node"
	h.write(t, secret, honest+"\n")
	ip := realtest.Loopback(t)
	s.h, s.honest, s.wild, s.agent = h, honest, wild, net.JoinHostPort(ip, fmt.Sprint(realtest.FreePort(t, ip)))
	s.g = startGateway(t, []string{z.Addr()}, map[string]string{
		"api.tokens_file": tokens, "gateway.agent_listen": s.agent, "gateway.node.token_file": secret, "gateway.node.insecure_http": "true",
		"gateway.node.hosts": fmt.Sprintf("[%s, %s, %s]", h.ip, hostOf(t, hung.Addr().String()), hostOf(t, liar)),
	})
	realtest.Eventually(t, 20*time.Second, s.gatewayAnswers)
	return s
}

// gatewayAnswers says whether an honest caller gets a credential of the node, which works.
func (s *siege) gatewayAnswers() error {
	body, err := answered("http://"+s.g.rest()+"/turncredential", s.honest)
	if err != nil {
		return err
	}
	var f fleetSeed
	if err := json.Unmarshal([]byte(body), &f); err != nil {
		return err
	}
	if server, err := f.server(); err != nil || server != s.h.addr() || time.Until(f.expires()) <= 0 {
		return fmt.Errorf("%s", body)
	}
	return nil
}

func hostOf(t *testing.T, addr string) string {
	t.Helper()
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// serveAt answers on a loopback address of its own until the test ends.
func serveAt(t *testing.T, answer http.HandlerFunc) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(realtest.Loopback(t), "0"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answer)
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return l.Addr().String()
}

// strangersOf are those who come to both, a node and a gateway: bodies that never come,
// scrapes that are reset, targets that no parser should follow, and readers of events who do
// not read.
func strangersOf(h *host) []stranger {
	get := func(path string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
	}
	return []stranger{
		bodiless(h.rest()), bodiless(h.instance()),
		{h.instance(), get("/metrics"), 50, resets},
		{h.instance(), get("/probe?target=turns:%5B::%5D1:5349"), 50, ""},
		{h.instance(), get("/events"), 10, ignores},
		{h.rest(), get("/v1/events"), 10, ignores},
	}
}

// honestCaller is one who asks at a steady pace, and how long the answers took.
type honestCaller struct {
	name   string
	took   durations
	failed int
}

// honestCallers ask for all that there is until c ends.
func (s *siege) honestCallers(c *everybody) (all []*honestCaller) {
	steadily := func(name string, every time.Duration, ask func() error) {
		caller := &honestCaller{name: name}
		all = append(all, caller)
		c.every(every, func() {
			began := time.Now()
			if err := ask(); err != nil {
				caller.failed++
				c.t.Logf("%s: %v", name, err)
				return
			}
			caller.took = append(caller.took, time.Since(began))
		})
	}
	steadily("node, credential", 50*time.Millisecond, func() error {
		_, err := answered("http://"+s.h.rest()+"/turncredential", "")
		return err
	})
	steadily("gateway, credential", 50*time.Millisecond, s.gatewayAnswers)
	steadily("agent-check", 50*time.Millisecond, s.checked)
	// Readers of events are told apart by their network, and strangers come from another.
	client := freshFrom(s.h.ip)
	for name, h := range map[string]*host{"node": s.h, "gateway": &s.g.host} {
		for _, path := range []string{"/metrics", "/"} {
			steadily(name+", "+path, 200*time.Millisecond, func() error {
				code, _, err := h.get(path)
				if err == nil && code != http.StatusOK {
					err = fmt.Errorf("code %d", code)
				}
				return err
			})
		}
		steadily(name+", /events", 200*time.Millisecond, func() error { return subscribed(client, h.webURL()+"/events", "") })
	}
	steadily("node, /v1/events", 200*time.Millisecond, func() error { return subscribed(client, "http://"+s.h.rest()+"/v1/events", "") })
	steadily("gateway, /v1/events", 200*time.Millisecond, func() error { return subscribed(client, "http://"+s.g.rest()+"/v1/events", s.honest) })
	return all
}

// checked asks as a load balancer does.
func (s *siege) checked() error {
	conn, err := net.DialTimeout("tcp", s.agent, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintln(conn, "turn-1")
	// Where the machine is so busy that our name comes too late, a reset follows the answer.
	if b, err := io.ReadAll(conn); !strings.HasPrefix(string(b), "up ") {
		return fmt.Errorf("%q %v", b, err)
	}
	return nil
}

// subscribed asks for events and hears the first.
func subscribed(client *http.Client, url, token string) error {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("got %s", response.Status)
	}
	_, err = io.ReadFull(response.Body, make([]byte, 20))
	return err
}
