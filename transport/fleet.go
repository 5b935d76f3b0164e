package transport

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
)

// FleetConfig says which fleet is served. The zero value of what is not about ZooKeeper
// is what turnwarden gateway does without being told otherwise.
type FleetConfig struct {
	service.GatewayConfig
	Node    NodeAccess
	Changed func()                 // is told when the fleet is not what it was, and must not block; nil = nobody
	Logger  *slog.Logger           // nil = nothing is logged
	Metrics service.GatewayMetrics // zero = nothing is counted
}

// Fleet picks TURN servers and hands out their credentials: what turnwarden gateway
// serves over HTTP, for a signalling server that is written in Go. It is a
// service.Service.
type Fleet struct {
	*service.Gateway
	nodes *NodeClient
}

// NewFleet returns a fleet that is followed from Run on.
func NewFleet(c FleetConfig) *Fleet {
	c.HedgeAfter = cmp.Or(c.HedgeAfter, 300*time.Millisecond)
	c.Fleet.Path = cmp.Or(c.Fleet.Path, "/turn/servers")
	c.Fleet.Directory.SessionTimeout = cmp.Or(c.Fleet.Directory.SessionTimeout, 10*time.Second)
	c.Fleet.Directory.ACL = cmp.Or(c.Fleet.Directory.ACL, directory.ACLOpen)
	c.Fleet.Allows = c.Node.Allows
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Changed == nil {
		c.Changed = func() {}
	}
	if c.Metrics.Fetch == nil {
		c.Metrics.Fetch = discard.NewHistogram()
		c.Metrics.Fleet.Operations, c.Metrics.Fleet.Failures, c.Metrics.Fleet.Rejected = discard.NewCounter(), discard.NewCounter(), discard.NewCounter()
	}
	nodes := NewNodeClient(c.Node)
	return &Fleet{Gateway: service.NewGateway(c.GatewayConfig, nodes, c.Changed, c.Logger, c.Metrics), nodes: nodes}
}

// Run follows the fleet until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	defer f.nodes.Close()
	return f.Gateway.Run(ctx)
}

// SetNodeToken is what nodes are shown from now on.
func (f *Fleet) SetNodeToken(token service.Secret) { f.nodes.SetToken(token) }
