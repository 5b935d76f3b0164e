package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"golang.org/x/sync/singleflight"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// NodeClient asks a node for a credential. The node's record may have been written by
// anybody: whether its address may be asked is the client's to decide. measured is told
// how far the node's clock is ahead of ours, if it says.
type NodeClient interface {
	Credential(ctx context.Context, n service.Server, r service.CredentialRequest, measured func(ahead time.Duration)) (service.Credential, error)
	Allows(addr netip.Addr) bool
	Close()
}

// Config says which fleet to serve, and how. The zero value of what is not about
// ZooKeeper is what turnwarden's own gateway does without being told otherwise.
type Config struct {
	Fleet      fleet.Config
	Rules      fleet.Rules
	HedgeAfter time.Duration          // how long a node may take before another is asked, too
	Changed    func()                 // is told when the fleet is not what it was, and must not block; nil = nobody
	Logger     *slog.Logger           // nil = nothing is logged
	Metrics    service.GatewayMetrics // zero = nothing is counted
}

// withDefaults fills in what is not said.
func (c Config) withDefaults() Config {
	c.HedgeAfter = cmp.Or(c.HedgeAfter, 300*time.Millisecond)
	c.Fleet.Path = cmp.Or(c.Fleet.Path, "/turn/servers")
	c.Fleet.Directory.SessionTimeout = cmp.Or(c.Fleet.Directory.SessionTimeout, 10*time.Second)
	c.Fleet.Directory.ACL = cmp.Or(c.Fleet.Directory.ACL, directory.ACLOpen)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Metrics.Fetch == nil {
		c.Metrics.Fetch = discard.NewHistogram()
		c.Metrics.Fleet.Operations, c.Metrics.Fleet.Failures, c.Metrics.Fleet.Rejected = discard.NewCounter(), discard.NewCounter(), discard.NewCounter()
	}
	return c
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
	cfg     Config
	watcher watcher
	picker  *fleet.Picker
	client  NodeClient

	kept    kept
	flights singleflight.Group // questions whose answer is for everybody
	avoid   avoidance
	clocks  clocks
	asked   questions
	counts  counts

	stopping atomic.Bool
}

// counts are counted here and read at a scrape, for they are on the way of every
// request.
type counts struct {
	kept, fetched, none    atomic.Uint64
	slow, failed           atomic.Uint64
	fetches, fetchesFailed atomic.Uint64
}

// New returns a gateway that begins with Run.
func New(cfg Config, client NodeClient) *Gateway {
	cfg = cfg.withDefaults()
	cfg.Fleet.Allows = client.Allows
	g := &Gateway{cfg: cfg, picker: fleet.NewPicker(cfg.Rules), client: client}
	g.watcher = fleet.NewWatcher(cfg.Fleet, g.fleetChanged, cfg.Logger, cfg.Metrics.Fleet)
	return g
}

// Run follows the fleet until ctx ends.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.client.Close()
	return g.watcher.Run(ctx)
}

func (g *Gateway) fleetChanged(s *fleet.Snapshot) {
	g.picker.Update(s.Candidates())
	g.kept.prune(s)
	g.avoid.prune(s)
	g.clocks.prune(s)
	g.cfg.Changed()
}

// Fleet returns the fleet as it was last seen.
func (g *Gateway) Fleet() *fleet.Snapshot { return g.watcher.Snapshot() }

// Pick implements Picker.
func (g *Gateway) Pick(_ context.Context, r service.PickRequest) ([]service.Server, error) {
	s := g.watcher.Snapshot()
	var servers []service.Server
	for _, c := range g.picker.Pick(nil, fleet.Want{N: r.N, Region: r.Region, Zone: r.Zone, Client: r.Client, Avoid: g.avoid.check(time.Now())}) {
		if n := s.Find(c.Node); n != nil {
			servers = append(servers, service.ServerOf(n))
		}
	}
	if len(servers) == 0 {
		return nil, service.ErrNoServer
	}
	return servers, nil
}

// Credential implements Service: the credential of a node that is up and has room.
func (g *Gateway) Credential(ctx context.Context, r service.CredentialRequest) (service.Credential, error) {
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

// Status takes one view of the gateway. It waits for nothing and holds no secret.
func (g *Gateway) Status() service.GatewayStatus {
	now := time.Now()
	return service.GatewayStatus{
		At: now, Fleet: g.watcher.Snapshot(), Session: g.watcher.Session(), Avoided: g.avoid.reasons(now), Kept: g.kept.count(),
		Stopping: g.stopping.Load(), Clocks: g.clocks.status(),
		Counts: service.GatewayCounts{
			Kept: g.counts.kept.Load(), Fetched: g.counts.fetched.Load(), None: g.counts.none.Load(),
			Slow: g.counts.slow.Load(), Failed: g.counts.failed.Load(),
			Fetches: g.counts.fetches.Load(), FetchesFailed: g.counts.fetchesFailed.Load(),
		},
	}
}
