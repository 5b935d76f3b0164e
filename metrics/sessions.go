package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/turnwarden/turnwarden/service"
)

var (
	allocations  = desc("allocations", "Open TURN allocations without those of the probe, counted from the log of the TURN server and compared with its CLI.")
	created      = desc("allocations_created_total", "TURN allocations made, the probe's excepted, counted from the log of the TURN server.")
	lasted       = desc("allocation_duration_seconds", "Time from the opening to the end of the TURN allocations that ended, not with their TURN server.")
	relayed      = desc("allocation_relayed_bytes", "Payload, both ways, that was relayed for each TURN allocation that ended, not with its TURN server. Those at 0 were opened and never used.")
	refusals     = desc("refusals_total", "Requests that the TURN server answered with an error, by STUN error code; the challenge that every client gets first is not counted.", "code")
	authFailures = desc("auth_failures_total", "Logins that failed, by cause. unknown_user also stands for a userdb that cannot be read.", "cause")
	relayIn      = desc("relay_receive_bytes_total", "Payload received from peers, as the TURN server reports it: every 4096 packets of a session, and at its end.")
	relayOut     = desc("relay_transmit_bytes_total", "Payload sent to peers, as the TURN server reports it: every 4096 packets of a session, and at its end. From coturn 4.11 on it counts 4 bytes more for each ChannelData packet.")
	logLines     = desc("turnserver_log_lines_total", "Lines that the TURN server wrote to its log.")
	dropped      = desc("turnserver_log_lines_dropped_total", "Lines of the TURN server that were counted but not logged, because our own log was not taken fast enough.")
	suppressed   = desc("turnserver_log_lines_suppressed_total", "Lines of the TURN server that were counted but not logged, to keep a storm of them out of the log.")
)

// sessions writes what the log of the TURN server has told. Whatever its clients send,
// no name of a client, a peer or a session is in a label.
func (e emitter) sessions(s service.Status) {
	e.gauge(allocations, float64(s.Sessions.Open))
	e.counter(created, s.Sessions.Created)
	for code, n := range s.Sessions.Refused {
		label := "other"
		if code != 0 {
			label = strconv.Itoa(code)
		}
		e.counter(refusals, n, label)
	}
	e.counter(authFailures, s.Sessions.FailedLogins.Unknown, "unknown_user")
	e.counter(authFailures, s.Sessions.FailedLogins.Wrong, "wrong_password")
	e.counter(authFailures, s.Sessions.FailedLogins.Malformed, "wrong_username")
	e.histogram(lasted, s.Sessions.Duration)
	e.histogram(relayed, s.Sessions.Relayed)
	e.counter(relayIn, s.Sessions.Peer.ReceivedBytes)
	e.counter(relayOut, s.Sessions.Peer.SentBytes)
	var lines uint64
	for _, n := range s.Sessions.Lines {
		lines += n
	}
	e.counter(logLines, lines)
	e.counter(suppressed, s.Sessions.Suppressed)
	e.counter(dropped, s.Sessions.Dropped)
}

func (e emitter) histogram(d *prometheus.Desc, h service.Histogram) {
	buckets, n := make(map[float64]uint64, len(h.Bounds)), uint64(0)
	for i, bound := range h.Bounds {
		n += h.Counts[i]
		buckets[bound] = n
	}
	if len(h.Counts) > len(h.Bounds) {
		n += h.Counts[len(h.Bounds)]
	}
	e <- prometheus.MustNewConstHistogram(d, n, h.Sum, buckets)
}
