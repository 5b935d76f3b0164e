package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-kit/kit/metrics"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// NodeClient asks a node for a credential. The node's record may have been written by
// anybody: whether its address may be asked is the client's to decide.
type NodeClient interface {
	Credential(ctx context.Context, n *fleet.Node, r CredentialRequest) (Credential, error)
}

// GatewayConfig says which fleet to serve, and how.
type GatewayConfig struct {
	Fleet      fleet.Config
	Rules      fleet.Rules
	HedgeAfter time.Duration // how long a node may take before another is asked, too
}

// GatewayMetrics are the events of a gateway.
type GatewayMetrics struct {
	Fleet fleet.Metrics
	Fetch metrics.Histogram // seconds that a node took to answer, or not to
}

// watcher is a fleet.Watcher.
type watcher interface {
	Run(ctx context.Context) error
	Snapshot() *fleet.Snapshot
	Session() directory.Status
}

// Gateway is the service of a whole fleet: it picks a node for each request and hands
// out that node's credential. Several of them need not know of one another.
type Gateway struct {
	cfg     GatewayConfig
	watcher watcher
	picker  *fleet.Picker
	client  NodeClient
	logger  *slog.Logger
	metrics GatewayMetrics
	changed func()

	kept    kept
	flights flights
	avoid   avoidance
	counts  gatewayCounts

	stopping atomic.Bool
}

// gatewayCounts are counted here and read at a scrape, for they are on the way of every
// request.
type gatewayCounts struct {
	kept, fetched, none    atomic.Uint64
	slow, failed           atomic.Uint64
	fetches, fetchesFailed atomic.Uint64
}

// NewGateway returns a gateway that begins with Run. changed is told when the fleet is
// not what it was; it must not block.
func NewGateway(cfg GatewayConfig, client NodeClient, changed func(), logger *slog.Logger, m GatewayMetrics) *Gateway {
	g := &Gateway{cfg: cfg, picker: fleet.NewPicker(cfg.Rules), client: client, logger: logger, metrics: m, changed: changed}
	g.watcher = fleet.NewWatcher(cfg.Fleet, g.fleetChanged, logger, m.Fleet)
	return g
}

// Run follows the fleet until ctx ends.
func (g *Gateway) Run(ctx context.Context) error { return g.watcher.Run(ctx) }

func (g *Gateway) fleetChanged(s *fleet.Snapshot) {
	g.picker.Update(s.Candidates())
	g.kept.prune(s)
	g.avoid.prune(s)
	g.changed()
}

// Fleet returns the fleet as it was last seen.
func (g *Gateway) Fleet() *fleet.Snapshot { return g.watcher.Snapshot() }

// Pick implements Picker.
func (g *Gateway) Pick(_ context.Context, r PickRequest) ([]*fleet.Node, error) {
	s := g.watcher.Snapshot()
	var nodes []*fleet.Node
	for _, c := range g.picker.Pick(nil, fleet.Want{N: r.N, Region: r.Region, Zone: r.Zone, Client: r.Client, Avoid: g.avoid.check(time.Now())}) {
		if n := s.Find(c.Node); n != nil {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		return nil, ErrNoServer
	}
	return nodes, nil
}

// Credential implements Service: the credential of a node that is up and has room.
func (g *Gateway) Credential(ctx context.Context, r CredentialRequest) (Credential, error) {
	now := time.Now()
	s := g.watcher.Snapshot()
	var buf [1]*fleet.Candidate
	picks := g.picker.Pick(buf[:0], fleet.Want{Region: r.Region, Zone: r.Zone, Avoid: g.avoid.check(now)})
	if len(picks) > 0 {
		if n := s.Find(picks[0].Node); n != nil {
			if c, ok := g.kept.get(n, s.Live(now), now); ok && len(n.Record.URIs) > 0 {
				g.counts.kept.Add(1)
				c.URIs = n.Record.URIs
				return c, nil
			}
		}
	}
	c, err := g.ask(ctx, r, picks)
	if err == nil {
		g.counts.fetched.Add(1)
	} else {
		g.counts.none.Add(1)
	}
	return c, err
}

// Stop has /-/ready say that no new request should come here. Those that come all the
// same are answered.
func (g *Gateway) Stop() { g.stopping.Store(true) }

// GatewayStatus is what is known of a gateway at one moment.
type GatewayStatus struct {
	At       time.Time
	Fleet    *fleet.Snapshot
	Session  directory.Status
	Avoided  map[string]string // why nodes could not be asked a short while ago, by name
	Kept     int               // credentials
	Counts   GatewayCounts
	Stopping bool
	Journal  []Line // the last warnings and errors; of the gateway that keeps one
}

// GatewayCounts are totals since the start.
type GatewayCounts struct {
	Kept, Fetched, None    uint64 // credentials handed out from memory, asked for at a node, and not had
	Slow, Failed           uint64 // second nodes that were asked, by what the first was
	Fetches, FetchesFailed uint64 // questions to nodes
}

// Status takes one view of the gateway. It waits for nothing and holds no secret.
func (g *Gateway) Status() GatewayStatus {
	now := time.Now()
	return GatewayStatus{
		At: now, Fleet: g.watcher.Snapshot(), Session: g.watcher.Session(), Avoided: g.avoid.reasons(now), Kept: g.kept.count(),
		Stopping: g.stopping.Load(),
		Counts: GatewayCounts{
			Kept: g.counts.kept.Load(), Fetched: g.counts.fetched.Load(), None: g.counts.none.Load(),
			Slow: g.counts.slow.Load(), Failed: g.counts.failed.Load(),
			Fetches: g.counts.fetches.Load(), FetchesFailed: g.counts.fetchesFailed.Load(),
		},
	}
}

// Usable counts the nodes that may be picked.
func (s GatewayStatus) Usable() int { return s.Fleet.Sum().Nodes }

// Why says in a line why nobody should come here for a server, or "".
func (s GatewayStatus) Why() string {
	switch {
	case s.Stopping:
		return "stopping"
	case s.Usable() > 0:
		return ""
	case !s.Fleet.Complete && s.Session.LastError != "":
		return fmt.Sprintf("ZooKeeper: %s: %s", s.Session.State, s.Session.LastError)
	case !s.Fleet.Complete:
		return fmt.Sprintf("ZooKeeper: %s, the fleet has not been read yet", s.Session.State)
	case len(s.Fleet.Nodes) == 0:
		return "no node is registered"
	}
	return "no node is up"
}
