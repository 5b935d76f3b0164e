package service

import (
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Status is what is known of a node at one moment. Taking one waits for nothing:
// no disk, no turnserver, no ZooKeeper. It holds no secret.
type Status struct {
	At          time.Time
	Node        string
	Region      string
	Zone        string
	Version     string // of turnwarden
	Coturn      string // version of the installed coturn
	Child       supervisor.Child
	Sockets     supervisor.SocketSample
	RelayPorts  int // how many turnserver.conf gives
	Probe       probe.Result
	Credential  credential.Status
	RotateEvery time.Duration
	Traffic     traffic.Sample
	History     []Throughput // of the last HistorySpan, oldest first
	Sessions    SessionCounts
	Registry    *registry.Status // nil = standalone
	Journal     []Line           // the last warnings and errors, newest first
	Draining    bool
	Drain       DrainStatus
	Stopping    bool
	Maintenance time.Time // since when; zero = not
}
