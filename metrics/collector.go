package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/turnwarden/turnwarden/service"
)

// StatusFunc takes one consistent view of the node. It must not wait for a disk,
// a process or a network.
type StatusFunc func() service.Status

// collector turns a Status into series at scrape time.
type collector struct{ status StatusFunc }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

var (
	ready      = desc("ready", "Whether the node serves: child, probe and credential are good and it is not about to stop.")
	nodeState  = desc("state", "State that the record shows; 1 for the current state, 0 for every other.", "state")
	draining   = desc("draining", "Whether the node is draining.")
	drainEnds  = desc("drain_deadline_timestamp_seconds", "Unix time at which the drain under way cuts the calls that are left; 0 while there is none, or it has no deadline.")
	childUp    = desc("turnserver_up", "Whether the supervised TURN server process is running.")
	childState = desc("turnserver_state", "State of the supervised TURN server; 1 for the current state, 0 for every other.", "state")

	childInfo = desc("turnserver_info", "Version of the installed coturn; the value is 1.", "version")
	nodeInfo  = desc("node_info", "Where the node is and what runs on it; the value is 1. No series of a node has these labels itself.", "node", "region", "zone", "version")

	probeSuccess  = desc("probe_success", "Whether the last TURN probe succeeded.", "transport")
	probeStage    = desc("probe_stage_success", "Whether this stage of the last TURN probe succeeded. Stages that were not reached, or that the configuration does not allow, have no series.", "transport", "stage")
	probeFailures = desc("probe_consecutive_failures", "Probes that failed in a row, up to now, over the transport that decides whether the node serves.")
	certExpiry    = desc("probe_certificate_expiry_timestamp_seconds", "Unix time at which the first of the certificates that clients are shown expires.", "transport")
	certStart     = desc("probe_certificate_not_before_timestamp_seconds", "Unix time from which that certificate is valid.", "transport")
	misadvertised = desc("relayed_address_mismatch", "Whether clients are told another relayed address than external-ip or relay-ip say.")
	full          = desc("full", "Whether the TURN server answered the last Allocate with 486 or 508.")

	receiveBytes  = desc("network_receive_bytes_total", "Bytes received by the network device, from the kernel's counter.", "device")
	transmitBytes = desc("network_transmit_bytes_total", "Bytes sent by the network device, from the kernel's counter.", "device")
	receiveDrops  = desc("network_receive_drops_total", "Received packets that the network device dropped.", "device")
	receiveRate   = desc("network_receive_bytes_per_second", "Receive throughput that the last registration was computed from.", "device")
	transmitRate  = desc("network_transmit_bytes_per_second", "Transmit throughput that the last registration was computed from.", "device")
	capacity      = desc("network_capacity_bytes_per_second", "Capacity of the network device in each direction: the link speed, 0 where it reports none.", "device")
	nodeCapacity  = desc("capacity_bytes_per_second", "Capacity of the node in each direction: the configured limit, or else the sum of the link speeds.")
	interval      = desc("traffic_interval_seconds", "Configured time between readings of the network counters, and between writes of the record.")
	headroom      = desc("headroom_bytes_per_second", "Capacity that is not in use, in the direction that the configuration names.")

	rotated    = desc("credential_last_rotation_timestamp_seconds", "Unix time of the last successful credential rotation.")
	age        = desc("credential_age_seconds", "Age of the credential now handed out, at the time of the scrape.")
	expiry     = desc("credential_expiry_timestamp_seconds", "Unix time at which the credential now handed out stops being valid.")
	every      = desc("credential_rotation_interval_seconds", "Configured time between rotations.")
	valid      = desc("credential_valid", "Whether there is a verified credential to hand out.")
	generation = desc("credential_generations", "Generations on record, by state.", "state")
	handedOut  = desc("credential_active_generation", "Number of the generation that is handed out; 0 = there is none.")
	slotState  = desc("credential_slot_state", "State of the newest generation whose number modulo 4 is the slot; 1 for the current state, 0 for every other.", "slot", "state")
	pending    = desc("credential_deletes_pending", "Users that should be gone from the userdb and are not yet.")
)

// credentialSlots are the rows of a timeline in which generations that live at the same
// time stand side by side: three do, one of which is about to go, unless somebody rotates.
const credentialSlots = 4

// Describe names nothing, so that the registry does not insist on series that
// depend on the devices and the state of the node.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.status()
	e := emitter(ch)
	reasons := service.Readiness(s)
	e.bool(ready, service.Ready(reasons))
	e.stateset(nodeState, service.State(reasons), service.NodeStates()...)
	e.bool(draining, s.Draining)
	e.time(drainEnds, s.Drain.Deadline)
	e.gauge(nodeInfo, 1, s.Node, s.Region, s.Zone, s.Version)
	e.child(s)
	e.probe(s)
	e.network(s)
	e.credential(s)
	e.sessions(s)
	if s.Registry != nil {
		e.zookeeper(s)
	}
}

// emitter writes const metrics.
type emitter chan<- prometheus.Metric

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) bool(d *prometheus.Desc, v bool, labels ...string) {
	n := 0.0
	if v {
		n = 1
	}
	e.gauge(d, n, labels...)
}

// time writes 0 for a time that has not come yet.
func (e emitter) time(d *prometheus.Desc, t time.Time, labels ...string) {
	n := 0.0
	if !t.IsZero() {
		n = float64(t.UnixMilli()) / 1000
	}
	e.gauge(d, n, labels...)
}

func (e emitter) stateset(d *prometheus.Desc, current string, states ...string) {
	for _, s := range states {
		e.bool(d, s == current, s)
	}
}

func (e emitter) child(s service.Status) {
	e.bool(childUp, s.Child.State == service.ChildRunning)
	e.stateset(childState, string(s.Child.State), service.ChildStates()...)
	e.gauge(childInfo, 1, s.Coturn)
	e.process(s.Child.PID, s.Child.StartedAt, s.Sockets)
	e.sockets(s)
}

func (e emitter) probe(s service.Status) {
	if len(s.Probe.Answers) == 0 {
		e.bool(probeSuccess, false, string(service.ProbeUDP)) // no child runs
	}
	for i, a := range s.Probe.Answers {
		transport := string(a.Transport)
		switch {
		case i == 0:
			e.bool(probeSuccess, a.OK() && s.Probe.Serving, transport)
		case !a.At.IsZero():
			e.bool(probeSuccess, a.OK(), transport)
		}
		for _, o := range a.Outcomes {
			e.bool(probeStage, o.OK, transport, o.Stage)
		}
		if c := a.Certificate; !c.NotAfter.IsZero() {
			e.time(certExpiry, c.NotAfter, transport)
			e.time(certStart, c.NotBefore, transport)
		}
	}
	e.gauge(probeFailures, float64(s.Probe.Failures))
	e.bool(misadvertised, s.Probe.Misadvertised != "")
	e.bool(full, s.Probe.Full)
}

func (e emitter) network(s service.Status) {
	for _, d := range s.Traffic.Devices {
		e.counter(receiveBytes, d.RxBytes, d.Name)
		e.counter(transmitBytes, d.TxBytes, d.Name)
		e.counter(receiveDrops, d.RxDrops, d.Name)
		e.gauge(receiveRate, d.RxBytesPerSecond, d.Name)
		e.gauge(transmitRate, d.TxBytesPerSecond, d.Name)
		e.gauge(capacity, d.CapacityBytesPerSecond, d.Name)
	}
	e.gauge(nodeCapacity, s.Traffic.CapacityBytesPerSecond)
	e.gauge(headroom, s.Traffic.FreeMbps*1e6/8)
	e.gauge(interval, s.Traffic.Interval.Seconds())
}

func (e emitter) credential(s service.Status) {
	e.bool(valid, s.Credential.Active != 0)
	e.time(rotated, s.Credential.Published)
	e.time(expiry, s.Credential.Expires)
	e.gauge(every, s.RotateEvery.Seconds())
	if !s.Credential.Published.IsZero() {
		e.gauge(age, max(0, s.At.Sub(s.Credential.Published).Seconds()))
	}
	e.gauge(handedOut, float64(s.Credential.Active))
	count := map[service.GenerationState]int{}
	var newest [credentialSlots]service.GenerationStatus
	for _, g := range s.Credential.Generations {
		count[g.State]++
		if slot := &newest[g.ID%credentialSlots]; g.ID >= slot.ID {
			*slot = g
		}
	}
	for _, state := range service.GenerationStates() {
		e.gauge(generation, float64(count[state]), string(state))
		for i, g := range newest {
			e.bool(slotState, g.State == state, strconv.Itoa(i), string(state))
		}
	}
	e.gauge(pending, float64(s.Credential.DeletesPending))
}
