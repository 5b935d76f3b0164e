package metrics

import (
	"github.com/turnwarden/turnwarden/service"
)

var (
	zkState     = desc("zookeeper_session_state", "State of the ZooKeeper session; 1 for the current state, 0 for every other.", "state")
	registered  = desc("zookeeper_registered", "Whether this node's ephemeral ZooKeeper node exists and is owned by this session.")
	conflict    = desc("zookeeper_conflict", "Whether another live host holds the ZooKeeper node of this name.")
	expirations = desc("zookeeper_session_expirations_total", "ZooKeeper sessions that expired.")
	published   = desc("zookeeper_last_publish_timestamp_seconds", "Unix time of the last successful publication.")
	advertised  = desc("advertised_free_bytes_per_second", "Headroom as last published in ZooKeeper.")
)

func (e emitter) session(s service.Session) {
	e.stateset(zkState, string(s.State), service.SessionStates()...)
	e.counter(expirations, s.Expirations)
}

func (e emitter) zookeeper(s service.Status) {
	r := s.Registry
	e.session(r.Session)
	e.bool(registered, r.Registered)
	e.bool(conflict, r.Conflict != "")
	e.time(published, r.LastPublish)
	e.gauge(advertised, r.LastRecord.FreeTraffic*1e6/8)
}
