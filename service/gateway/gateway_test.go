package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// madeUp is a fleet with its nodes: a watcher and a NodeClient.
type madeUp struct {
	mu      sync.Mutex
	changed func(*fleet.Snapshot)
	nodes   map[string]*fleet.Node
	answers map[string]answering
	asked   []string // node, and for whom
	running map[string]int
	most    map[string]int // of running
	silent  time.Time
}

// answering is what a node does when it is asked.
type answering struct {
	after time.Duration
	err   error
	ahead time.Duration // by which its clock is
	edit  func(*service.Credential)
}

// newMadeUp is a gateway and its fleet, of which a has nearly all the room and is picked
// first.
func newMadeUp(names ...string) (*madeUp, *Gateway) {
	m := &madeUp{nodes: map[string]*fleet.Node{}, answers: map[string]answering{}, running: map[string]int{}, most: map[string]int{}}
	g := &Gateway{
		cfg: Config{}.withDefaults(), watcher: m, picker: fleet.NewPicker(fleet.Rules{}), client: m,
	}
	m.changed = g.fleetChanged
	for _, name := range names {
		m.set(name, func(*fleet.Node) {})
	}
	return m, g
}

// set changes a node, or adds it.
func (m *madeUp) set(name string, change func(*fleet.Node)) {
	m.mu.Lock()
	n := fleet.Node{Name: name, Registration: 1, Record: directory.Record{
		Node: name, State: service.StateUp, FreeTraffic: .001, CapacityMbps: 1000, Generation: 1, URIs: []string{"turn:" + name},
	}}
	if name == "a" {
		n.Record.FreeTraffic, n.Record.CapacityMbps = 800_000, 800_000
	}
	if old := m.nodes[name]; old != nil {
		n = *old
	}
	change(&n)
	m.nodes[name] = &n
	m.mu.Unlock()
	m.changed(m.Snapshot())
}

func (m *madeUp) remove(name string) {
	m.mu.Lock()
	delete(m.nodes, name)
	m.mu.Unlock()
	m.changed(m.Snapshot())
}

func (m *madeUp) Run(context.Context) error { return nil }

func (m *madeUp) Allows(netip.Addr) bool { return true }

func (m *madeUp) Close() {}

func (m *madeUp) Session() directory.Status { return directory.Status{State: directory.Connected} }

func (m *madeUp) Snapshot() *fleet.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &fleet.Snapshot{Complete: true, Confirmed: time.Now()}
	if !m.silent.IsZero() {
		s.Confirmed = m.silent
	}
	for _, n := range m.nodes {
		s.Nodes = append(s.Nodes, n)
	}
	slices.SortFunc(s.Nodes, func(a, b *fleet.Node) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// Credential implements NodeClient. What is handed out is what the node has when it
// answers, and its record may show that only later.
func (m *madeUp) Credential(ctx context.Context, n service.Server, r service.CredentialRequest, measured func(time.Duration)) (service.Credential, error) {
	m.mu.Lock()
	a, ok := m.answers[n.Name]
	if !ok {
		a = m.answers["*"]
	}
	m.asked = append(m.asked, strings.TrimSpace(n.Name+" "+r.UserID+" "+r.TTL))
	issue := issueOf(m.nodes[n.Name])
	m.running[n.Name]++
	m.most[n.Name] = max(m.most[n.Name], m.running[n.Name])
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running[n.Name]--
	}()
	select {
	case <-ctx.Done():
		return service.Credential{}, ctx.Err()
	case <-time.After(a.after):
	}
	measured(a.ahead)
	c := service.Credential{
		Username: fmt.Sprintf("%s-%d-%d", n.Name, issue.registration, issue.generation), Password: "p", Expires: time.Now().Add(time.Hour),
	}
	if a.edit != nil {
		a.edit(&c)
	}
	return c, a.err
}

func (m *madeUp) answer(name string, a answering) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[name] = a
}

// questions returns what nodes were asked since the last call.
func (m *madeUp) questions() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := strings.Join(m.asked, ", ")
	m.asked = nil
	return asked
}

// want asks the gateway.
func want(t *testing.T, m *madeUp, g *Gateway, r service.CredentialRequest, username, asked string) {
	t.Helper()
	c, err := g.Credential(t.Context(), r)
	if err != nil || c.Username != username || len(c.URIs) != 1 || c.URIs[0] != "turn:"+username[:1] {
		t.Errorf("got %q of %q, %v; want %q", c.Username, c.URIs, err, username)
	}
	if got := m.questions(); got != asked {
		t.Errorf("asked %q, want %q", got, asked)
	}
}

func TestGatewayKeepsCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a")
		forAlice := service.CredentialRequest{UserID: "alice", TTL: "60"}
		want(t, m, g, forAlice, "a-1-1", "a") // a user that all share is asked for nobody in particular
		want(t, m, g, forAlice, "a-1-1", "")
		time.Sleep(59 * time.Minute)
		want(t, m, g, service.CredentialRequest{}, "a-1-1", "")
		time.Sleep(time.Minute)
		want(t, m, g, service.CredentialRequest{}, "a-1-1", "a") // it has expired
		m.set("a", func(n *fleet.Node) { n.Record.Generation = 2; n.Record.URIs = []string{"turn:a"} })
		want(t, m, g, service.CredentialRequest{}, "a-1-2", "a")
		m.set("a", func(n *fleet.Node) { n.Record.FreeTraffic = 700 }) // another write
		want(t, m, g, service.CredentialRequest{}, "a-1-2", "")
		m.set("a", func(n *fleet.Node) { n.Registration = 2 }) // which may have lost its state
		want(t, m, g, service.CredentialRequest{}, "a-2-2", "a")
		if s := g.Status(); s.Kept != 1 || s.Counts.Kept != 3 || s.Counts.Fetched != 4 || s.Counts.Fetches != 4 || len(s.Avoided) != 0 {
			t.Errorf("status %+v", s)
		}
		m.remove("a")
		if s := g.Status(); s.Kept != 0 || s.Usable() != 0 || s.Why() != "no node is registered" {
			t.Errorf("status %+v", s)
		}

		m.set("b", func(n *fleet.Node) { n.Record.Mode = "secret" })
		want(t, m, g, forAlice, "b-1-1", "b alice 60")
		want(t, m, g, forAlice, "b-1-1", "b alice 60")
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "b")
		if g.Status().Kept != 0 {
			t.Error("a credential of a client's own is kept")
		}
	})
}

// TestGatewayUnsure: what nobody can vouch for is kept for a second, since it was asked for.
func TestGatewayUnsure(t *testing.T) {
	for name, doubt := range map[string]func(*madeUp){
		"ZooKeeper does not answer": func(m *madeUp) { m.silent = time.Now().Add(-1100 * time.Millisecond) },
		"the record has vanished":   func(m *madeUp) { m.set("a", func(n *fleet.Node) { n.Held = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, g := newMadeUp("a")
				m.answer("a", answering{after: 200 * time.Millisecond})
				want(t, m, g, service.CredentialRequest{}, "a-1-1", "a")
				doubt(m)
				time.Sleep(800 * time.Millisecond)
				want(t, m, g, service.CredentialRequest{}, "a-1-1", "")
				time.Sleep(time.Millisecond)
				want(t, m, g, service.CredentialRequest{}, "a-1-1", "a")
			})
		})
	}
}

// TestGatewayChecksAnswers: what no client could use counts as no answer, and another node
// is asked.
func TestGatewayChecksAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		edit func(*service.Credential)
		good bool
	}{
		"expired":                 {func(c *service.Credential) { c.Expires = time.Now().Add(-5 * time.Second) }, false},
		"expired by our clock":    {func(c *service.Credential) { c.Expires = time.Now().Add(-4900 * time.Millisecond) }, true},
		"for ever":                {func(c *service.Credential) { c.Expires = time.Now().AddDate(11, 0, 0) }, false},
		"for years":               {func(c *service.Credential) { c.Expires = time.Now().AddDate(9, 0, 0) }, true},
		"a long username":         {func(c *service.Credential) { c.Username = strings.Repeat("a", 513) }, false},
		"a long password":         {func(c *service.Credential) { c.Password = service.Secret(strings.Repeat("a", 513)) }, false},
		"a username of controls":  {func(c *service.Credential) { c.Username = "a\x1b[2J" }, false},
		"a password of two words": {func(c *service.Credential) { c.Password = "a b" }, false},
		"no password":             {func(c *service.Credential) { c.Password = "" }, false},
	} {
		for _, mode := range []string{"user", "secret"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, g := newMadeUp("a", "b")
					m.set("a", func(n *fleet.Node) { n.Record.Mode = mode })
					m.answer("a", answering{edit: test.edit})
					if test.good {
						if c, err := g.Credential(t.Context(), service.CredentialRequest{}); err != nil || c.URIs[0] != "turn:a" {
							t.Errorf("%+v, %v", c, err)
						}
						return
					}
					want(t, m, g, service.CredentialRequest{}, "b-1-1", "a, b")
					want(t, m, g, service.CredentialRequest{}, "b-1-1", "")
					if s := g.Status(); s.Avoided["a"] == "" || strings.Contains(s.Avoided["a"], "aaaa") || s.Counts.FetchesFailed != 1 {
						t.Errorf("status %+v", s)
					}
				})
			})
		}
	}
}

// TestGatewayBoundsQuestions: a node that hangs takes a bounded number of questions, each
// ends when nobody waits for it, and one of them finds the node out.
func TestGatewayBoundsQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a", "b")
		for _, name := range []string{"a", "b"} {
			m.set(name, func(n *fleet.Node) { n.Record.Mode = "secret" })
		}
		m.answer("a", answering{after: time.Hour})
		var all sync.WaitGroup
		ask := func(n int) {
			for range n {
				all.Go(func() {
					if _, err := g.Credential(t.Context(), service.CredentialRequest{}); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
		}
		ask(300)
		if m.most["a"] != maxPerNode {
			t.Errorf("%d questions at a time, want %d", m.most["a"], maxPerNode)
		}
		time.Sleep(g.cfg.HedgeAfter + time.Millisecond)
		all.Wait()
		synctest.Wait()
		if m.running["a"] != 1 || len(g.Status().Avoided) != 0 {
			t.Errorf("%d questions that nobody waits for, avoided %v", m.running["a"], g.Status().Avoided)
		}
		time.Sleep(askTimeout)
		synctest.Wait()
		if m.running["a"] != 0 || g.Status().Avoided["a"] == "" || len(g.asked.nodes) != 0 || g.asked.all != 0 {
			t.Errorf("%d questions, avoided %v", m.running["a"], g.Status().Avoided)
		}
	})
}

// TestGatewayBlamesNobody: that this host has nothing left to ask with is no node's fault.
func TestGatewayBlamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a", "b")
		m.answer("a", answering{err: fmt.Errorf("dial: %w", &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)})})
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "a, b")
		if s := g.Status(); len(s.Avoided) != 0 || s.Counts.FetchesFailed != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestGatewayComparesClocks: with each answer, whatever else it says.
func TestGatewayComparesClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a", "b")
		m.answer("a", answering{ahead: -time.Hour, err: errors.New("no")})
		m.answer("b", answering{ahead: 4 * time.Second})
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "a, b")
		if c := g.Status().Clocks; c.Off != 1 || c.Worst != time.Hour {
			t.Errorf("%+v", c)
		}
		m.remove("a")
		if c := g.Status().Clocks; c.Off != 0 || c.Worst != 4*time.Second {
			t.Errorf("%+v", c)
		}
	})
}

func TestGatewayHedges(t *testing.T) {
	const hour = time.Hour
	down := errors.New("connection refused")
	for name, test := range map[string]struct {
		answers map[string]answering
		want    string // "" = none
		after   time.Duration
		asked   int
		counts  service.GatewayCounts
		avoided int
	}{
		"the first answers":                {nil, "a", 0, 1, service.GatewayCounts{Fetched: 1, Fetches: 1}, 0},
		"the first is slow":                {map[string]answering{"a": {after: 299 * time.Millisecond}}, "a", 299 * time.Millisecond, 1, service.GatewayCounts{Fetched: 1, Fetches: 1}, 0},
		"the first hangs":                  {map[string]answering{"a": {after: hour}}, "bc", 300 * time.Millisecond, 2, service.GatewayCounts{Fetched: 1, Slow: 1, Fetches: 2, FetchesFailed: 1}, 1},
		"the first is slower":              {map[string]answering{"a": {after: 400 * time.Millisecond}, "*": {after: 200 * time.Millisecond}}, "a", 400 * time.Millisecond, 2, service.GatewayCounts{Fetched: 1, Slow: 1, Fetches: 2}, 0},
		"the first is down":                {map[string]answering{"a": {err: down}}, "bc", 0, 2, service.GatewayCounts{Fetched: 1, Failed: 1, Fetches: 2, FetchesFailed: 1}, 1},
		"all are down":                     {map[string]answering{"*": {err: down}}, "", 0, 3, service.GatewayCounts{None: 1, Failed: 2, Fetches: 3, FetchesFailed: 3}, 3},
		"all hang":                         {map[string]answering{"*": {after: hour}}, "", 2100 * time.Millisecond, 3, service.GatewayCounts{None: 1, Slow: 2, Fetches: 3, FetchesFailed: 3}, 3},
		"one hangs, the next ones are off": {map[string]answering{"a": {after: hour}, "*": {err: down}}, "", 1500 * time.Millisecond, 3, service.GatewayCounts{None: 1, Slow: 1, Failed: 1, Fetches: 3, FetchesFailed: 3}, 3},
	} {
		for _, mode := range []string{"", "secret"} {
			t.Run(name+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m, g := newMadeUp("a", "b", "c")
					for _, node := range []string{"a", "b", "c"} {
						m.set(node, func(n *fleet.Node) { n.Record.Mode = mode })
					}
					for node, a := range test.answers {
						m.answer(node, a)
					}
					began := time.Now()
					c, err := g.Credential(t.Context(), service.CredentialRequest{})
					took := time.Since(began)
					switch test.want {
					case "":
						if !errors.Is(err, service.ErrNoCredential) {
							t.Errorf("got %+v, %v; want ErrNoCredential", c, err)
						}
					default:
						if err != nil || !strings.Contains(test.want, c.Username[:1]) {
							t.Errorf("got %q, %v, want one of %q", c.Username, err, test.want)
						}
					}
					if took != test.after {
						t.Errorf("took %v, want %v", took, test.after)
					}
					time.Sleep(askTimeout) // who hangs is found out by then
					synctest.Wait()
					s := g.Status()
					if s.Counts != test.counts {
						t.Errorf("counts %+v, want %+v", s.Counts, test.counts)
					}
					if got := len(g.avoid.all()); got != test.avoided {
						t.Errorf("%d nodes are avoided, want %d", got, test.avoided)
					}
					if asked := strings.Split(m.questions(), ", "); len(asked) != test.asked {
						t.Errorf("asked %q, want %d", asked, test.asked)
					}
				})
			})
		}
	}
}

// TestGatewayBadRequests: a client is told what it said wrong, and nothing that it says
// tells against a node. A node that refuses a request that says nothing is to blame itself.
func TestGatewayBadRequests(t *testing.T) {
	for name, test := range map[string]struct {
		mode     string
		request  service.CredentialRequest
		username string // "" = the client is told
		asked    string
		avoided  int
	}{
		"what a node refuses":             {"secret", service.CredentialRequest{UserID: "alice"}, "", "a alice", 0},
		"what no node takes":              {"secret", service.CredentialRequest{UserID: strings.Repeat("\xff", 12<<10)}, "", "", 0},
		"nor as a time":                   {"secret", service.CredentialRequest{TTL: strings.Repeat("9", 12<<10)}, "", "", 0},
		"nothing was said":                {"secret", service.CredentialRequest{Region: "eu"}, "b-1-1", "a, b", 1},
		"nothing was passed on":           {"", service.CredentialRequest{UserID: "alice", TTL: "60"}, "b-1-1", "a, b", 1},
		"what nobody reads in mode user":  {"", service.CredentialRequest{UserID: "\n"}, "b-1-1", "a, b", 1},
		"what nobody reads, as of a time": {"", service.CredentialRequest{TTL: "-"}, "b-1-1", "a, b", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, g := newMadeUp("a", "b")
				for _, node := range []string{"a", "b"} {
					m.set(node, func(n *fleet.Node) { n.Record.Mode = test.mode })
				}
				m.answer("a", answering{err: fmt.Errorf("%w: ttl", service.ErrBadRequest)})
				c, err := g.Credential(t.Context(), test.request)
				switch {
				case test.username == "" && !errors.Is(err, service.ErrBadRequest), test.username != "" && (err != nil || c.Username != test.username):
					t.Errorf("got %q, %v; want %q", c.Username, err, test.username)
				}
				if asked := m.questions(); asked != test.asked {
					t.Errorf("asked %q, want %q", asked, test.asked)
				}
				if n := len(g.avoid.all()); n != test.avoided {
					t.Errorf("%d nodes are avoided, want %d", n, test.avoided)
				}
			})
		})
	}
}

// TestGatewayAmongSeeds: nodes of the seed's kind, which name no address, are no reason not
// to find the one that does.
func TestGatewayAmongSeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a")
		for i := range 200 {
			m.set(fmt.Sprintf("seed-%d", i), func(n *fleet.Node) {
				n.Record = directory.Record{Node: n.Name, RESTAddr: "10.0.0.1:80", FreeTraffic: 800_000}
			})
		}
		m.set("a", func(n *fleet.Node) { n.Record.FreeTraffic = 100 })
		m.set("z", func(n *fleet.Node) { n.Record.FreeTraffic = 100 })
		for range 100 {
			if c, err := g.Credential(t.Context(), service.CredentialRequest{}); err != nil || len(c.URIs) == 0 {
				t.Fatalf("got %+v, %v", c, err)
			}
		}
		m.answer("a", answering{err: errors.New("connection refused")})
		m.set("a", func(n *fleet.Node) { n.Registration = 2 })
		for range 100 {
			if c, err := g.Credential(t.Context(), service.CredentialRequest{}); err != nil || c.Username != "z-1-1" && c.Username != "a-1-1" {
				t.Fatalf("got %+v, %v", c, err)
			}
		}
	})
}

// TestGatewayAvoids a node that could not be asked, for twice as long each time.
func TestGatewayAvoids(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a", "b")
		m.set("a", func(n *fleet.Node) { n.Record.Mode = "secret" }) // each request goes to the node
		m.answer("a", answering{err: errors.New("connection refused")})
		for _, wait := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second} {
			g.kept.prune(&fleet.Snapshot{})
			want(t, m, g, service.CredentialRequest{}, "b-1-1", "a, b")
			if n, err := g.Pick(t.Context(), service.PickRequest{}); err != nil || len(n) != 1 || n[0].Name != "b" {
				t.Errorf("picked %v", n)
			}
			if n, err := g.Pick(t.Context(), service.PickRequest{N: 3}); err != nil || len(n) != 2 || n[0].Name != "b" || n[1].Name != "a" {
				t.Errorf("picked %v, want b, and a as the last resort", n)
			}
			time.Sleep(wait - time.Millisecond)
			want(t, m, g, service.CredentialRequest{}, "b-1-1", "")
			time.Sleep(time.Millisecond)
		}
		m.answer("a", answering{})
		want(t, m, g, service.CredentialRequest{}, "a-1-1", "a")
		if len(g.avoid.all()) > 0 {
			t.Error("a node that answers is still avoided")
		}

		m.answer("a", answering{err: errors.New("connection refused")})
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "a")
		m.answer("a", answering{})
		m.set("a", func(n *fleet.Node) { n.Registration = 2 }) // it has been restarted
		want(t, m, g, service.CredentialRequest{}, "a-2-1", "a")

		// The only one is asked all the same.
		m.answer("a", answering{err: errors.New("connection refused")})
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "a")
		m.remove("b")
		if _, err := g.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
			t.Errorf("got %v", err)
		}
		m.answer("a", answering{})
		m.questions()
		want(t, m, g, service.CredentialRequest{}, "a-2-1", "a")
	})
}

// TestGatewayRevocation: the credential that a node handed out just before it was
// revoked is on its way while the record says so.
func TestGatewayRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a")
		m.answer("a", answering{after: 100 * time.Millisecond})
		go func() {
			time.Sleep(50 * time.Millisecond)
			m.set("a", func(n *fleet.Node) { n.Record.Generation = 2 })
		}()
		want(t, m, g, service.CredentialRequest{}, "a-1-2", "a, a")
		want(t, m, g, service.CredentialRequest{}, "a-1-2", "")
	})
}

func TestGatewayHerd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp("a")
		m.answer("a", answering{after: 100 * time.Millisecond})
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if c, err := g.Credential(t.Context(), service.CredentialRequest{}); err != nil || c.Username != "a-1-1" {
					t.Errorf("got %q, %v", c.Username, err)
				}
			})
		}
		all.Wait()
		if asked := m.questions(); asked != "a" {
			t.Errorf("asked %d times", strings.Count(asked, "a"))
		}
	})
}

func TestGatewayNothingToPick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp()
		none := func(why string) {
			t.Helper()
			if _, err := g.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
				t.Errorf("got %v, want ErrNoCredential", err)
			}
			if asked := m.questions(); asked != "" {
				t.Errorf("asked %q", asked)
			}
			if got := g.Status().Why(); got != why {
				t.Errorf("why: %q, want %q", got, why)
			}
		}
		none("no node is registered")
		if n, err := g.Pick(t.Context(), service.PickRequest{}); !errors.Is(err, service.ErrNoServer) {
			t.Errorf("picked %v, %v", n, err)
		}
		m.set("a", func(n *fleet.Node) { n.Record.State = service.StateDown })
		none("no node is up")
		m.set("a", func(n *fleet.Node) { n.Record.State, n.Doubt = service.StateUp, fleet.Stale })
		none("no node is up")
		m.set("a", func(n *fleet.Node) { n.Doubt, n.Record.URIs = "", nil }) // where would a client go?
		none("")
		m.set("b", func(*fleet.Node) {})
		want(t, m, g, service.CredentialRequest{}, "b-1-1", "b")

		m.answer("b", answering{after: time.Second})
		m.set("b", func(n *fleet.Node) { n.Registration = 2 })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, err := g.Credential(ctx, service.CredentialRequest{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that has gone got %v", err)
		}
		time.Sleep(askTimeout) // the node is heard to the end
	})
}

// TestGatewayRegion: where clients would like their server.
func TestGatewayRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, g := newMadeUp()
		for name, region := range map[string]string{"b": "eu", "c": "us"} {
			m.set(name, func(n *fleet.Node) { n.Record.Region, n.Record.FreeTraffic = region, 900 })
		}
		for range 20 {
			for region, node := range map[string]string{"eu": "b", "us": "c"} {
				if c, err := g.Credential(t.Context(), service.CredentialRequest{Region: region}); err != nil || c.Username[:1] != node {
					t.Errorf("%s: got %q, %v", region, c.Username, err)
				}
				if n, err := g.Pick(t.Context(), service.PickRequest{Region: region, N: 2}); err != nil || len(n) != 2 || n[0].Name != node {
					t.Errorf("%s: picked %v", region, n)
				}
			}
		}
	})
}

// TestNew: what is not said has a default, and a fleet that does not run has nothing
// to hand out.
func TestNew(t *testing.T) {
	f := New(Config{Fleet: fleet.Config{Directory: directory.Config{Servers: []string{"127.0.0.1:1"}}}}, &madeUp{})
	if _, err := f.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
		t.Errorf("got %v", err)
	}
	if _, err := f.Pick(t.Context(), service.PickRequest{}); !errors.Is(err, service.ErrNoServer) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}
