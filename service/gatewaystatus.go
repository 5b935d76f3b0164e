package service

import (
	"fmt"
	"time"

	"github.com/go-kit/kit/metrics"

	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// GatewayStatus is what is known of a gateway at one moment.
type GatewayStatus struct {
	At       time.Time
	Fleet    *fleet.Snapshot
	Session  directory.Status
	Avoided  map[string]string // why nodes could not be asked a short while ago, by name
	Kept     int               // credentials
	Clocks   ClockStatus
	Counts   GatewayCounts
	Stopping bool
	Journal  []Line // the last warnings and errors; of the gateway that keeps one
}

// ClockStatus is how the clocks of the nodes compare with the gateway's own.
type ClockStatus struct {
	Off   int           // nodes that are off by more than honest hosts are
	Worst time.Duration // the greatest difference
}

// GatewayCounts are totals since the start.
type GatewayCounts struct {
	Kept, Fetched, None    uint64 // credentials handed out from memory, asked for at a node, and not had
	Slow, Failed           uint64 // second nodes that were asked, by what the first was
	Fetches, FetchesFailed uint64 // questions to nodes
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

// GatewayMetrics are the events of a gateway.
type GatewayMetrics struct {
	Fleet fleet.Metrics
	Fetch metrics.Histogram // seconds that a node took to answer, or not to
}

// Server is a node of the fleet as it was last read.
type Server struct {
	Name, State, Region, Zone              string
	URIs                                   []string // not to be changed by who gets them
	RESTAddr, RESTScheme                   string
	FreeMbps, CapacityMbps, RxMbps, TxMbps float64
	Allocations                            int
	Generation                             uint64
	Written                                time.Time // when we last saw that it was written, by our own clock
	Held                                   bool      // its record vanished with most of the fleet
	Version                                string
}

// ServerOf tells of a node.
func ServerOf(n *fleet.Node) Server {
	r := &n.Record
	return Server{
		Name: n.Name, State: n.State(), Region: r.Region, Zone: r.Zone, URIs: r.URIs, RESTAddr: r.RESTAddr, RESTScheme: r.RESTScheme,
		FreeMbps: r.FreeTraffic, CapacityMbps: r.CapacityMbps, RxMbps: r.RxMbps, TxMbps: r.TxMbps, Allocations: r.Allocations,
		Generation: r.Generation, Written: n.Written, Held: n.Held, Version: r.Version,
	}
}
