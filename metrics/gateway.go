package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/turnwarden/turnwarden/service"
)

var (
	gatewayReady    = desc("gateway_ready", "Whether there is a server to hand out and the gateway is not about to stop.")
	gatewayNodes    = desc("gateway_nodes", "Nodes of the fleet, by the state of their record; other states than turnwarden's own count as other.", "state")
	gatewayUsable   = desc("gateway_nodes_usable", "Nodes that may be picked, full ones as the last resort among them.")
	gatewayHeld     = desc("gateway_nodes_held", "Nodes whose record vanished together with most of the fleet's, and that are served if they answer.")
	gatewayAvoided  = desc("gateway_nodes_avoided", "Nodes that could not be asked for a credential a short while ago.")
	gatewayRejected = desc("gateway_records_rejected", "Children of registry.path that are there and cannot be understood, or are too many.")
	gatewayCapacity = desc("gateway_capacity_bytes_per_second", "Capacity of the nodes that may be picked.")
	gatewayHeadroom = desc("gateway_headroom_bytes_per_second", "Headroom that the nodes that may be picked advertise.")
	gatewayLive     = desc("gateway_view_live", "Whether the fleet is seen as it is now, rather than as it was when ZooKeeper last answered.")
	gatewaySeen     = desc("gateway_view_confirmed_timestamp_seconds", "Unix time of ZooKeeper's last answer.")
	gatewayAnswers  = desc("gateway_credentials_total", "Credentials handed out, by where they came from.", "source")
	gatewayNone     = desc("gateway_credential_failures_total", "Requests for a credential for which no node had one.")
	gatewaySecond   = desc("gateway_hedges_total", "Times another node was asked for a request, by what the one before was.", "reason")
	gatewayFailed   = desc("gateway_fetch_failures_total", "Requests to nodes that did not yield a credential.")
	gatewayOff      = desc("gateway_nodes_clock_off", "Nodes whose clock differs from the gateway's by more than 5 seconds, as they said with their last answer.")
	gatewayClock    = desc("gateway_clock_difference_seconds", "Greatest difference between the clock of a node and the gateway's own, by whole seconds.")
	gatewayKept     = desc("gateway_credentials_kept", "Credentials of nodes in memory.")
)

// gatewayCollector turns a GatewayStatus into series at scrape time.
type gatewayCollector struct{ status func() service.GatewayStatus }

// Describe names nothing, as collector's.
func (c *gatewayCollector) Describe(chan<- *prometheus.Desc) {}

func (c *gatewayCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	e := emitter(ch)
	e.bool(gatewayReady, s.Why() == "")
	e.fleet(s.Fleet)
	e.gauge(gatewayAvoided, float64(len(s.Avoided)))
	e.bool(gatewayLive, s.Fleet.Live(s.At))
	e.time(gatewaySeen, s.Fleet.Confirmed)
	e.counter(gatewayAnswers, s.Counts.Kept, "memory")
	e.counter(gatewayAnswers, s.Counts.Fetched, "node")
	e.counter(gatewayNone, s.Counts.None)
	e.counter(gatewaySecond, s.Counts.Slow, "slow")
	e.counter(gatewaySecond, s.Counts.Failed, "failed")
	e.counter(gatewayFailed, s.Counts.FetchesFailed)
	e.gauge(gatewayKept, float64(s.Kept))
	e.gauge(gatewayOff, float64(s.Clocks.Off))
	e.gauge(gatewayClock, s.Clocks.Worst.Seconds())
	e.session(s.Session)
}

func (e emitter) fleet(s *service.Fleet) {
	states := service.FleetStates()
	count := make(map[string]int)
	for _, n := range s.Nodes {
		state := n.State()
		if !slices.Contains(states, state) { // which anybody can write
			state = "other"
		}
		count[state]++
	}
	for _, state := range append(states, "other") {
		e.gauge(gatewayNodes, float64(count[state]), state)
	}
	sum := s.Sum()
	e.gauge(gatewayUsable, float64(sum.Nodes))
	e.gauge(gatewayHeld, float64(s.Held))
	e.gauge(gatewayRejected, float64(s.Rejected))
	e.gauge(gatewayCapacity, sum.CapacityMbps*1e6/8)
	e.gauge(gatewayHeadroom, sum.FreeMbps*1e6/8)
}
