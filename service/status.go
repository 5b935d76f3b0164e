package service

import (
	"log/slog"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
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
	Untried     bool   // turnserver is newer than the newest release that we know
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
	Commands    Commands  // that its reasons name
}

// SessionCounts is what the child's log has told since turnwarden started.
type SessionCounts struct {
	coturn.SessionTotals
	Suppressed uint64 // lines that were counted but not logged, as too many
	Dropped    uint64 // lines that were counted but not logged, as our own log took no more
}

// HistorySpan is how much of the traffic is kept.
const HistorySpan = time.Hour

// Throughput is the mean of some seconds, of which At is the last.
type Throughput struct {
	At                                 time.Time
	RxBytesPerSecond, TxBytesPerSecond float64
}

// Line is a warning or an error that was logged.
type Line struct {
	At     time.Time
	Level  slog.Level
	Part   string
	Text   string // the message
	Detail string // what came with it
}

// DrainStatus is where the drain of a node stands.
type DrainStatus struct {
	Phase    DrainPhase
	Then     string
	Since    time.Time // of the unlisting
	Deadline time.Time // zero = none
}

// text is why the node is not listed, in words.
func (s DrainStatus) text(c Commands) string {
	switch text := "draining"; {
	case s.Phase == DrainHeld:
		return text + ": empty, until " + c.Resume
	case s.Phase == "":
		return text
	case s.Deadline.IsZero():
		return text + ", then " + s.Then
	default:
		return text + ", then " + s.Then + ", until " + s.Deadline.Format(time.RFC3339) + " at most"
	}
}

// DrainPhase is how far a drain is. Empty is none.
type DrainPhase string

// The phases of a drain, in their order; a resume leads from each of them to the end.
const (
	DrainQueued     DrainPhase = "queued"     // still listed: others of the fleet have their turn
	DrainTelling    DrainPhase = "unlisted"   // readers of the record are given time to notice
	DrainEnding     DrainPhase = "ending"     // new calls are refused where coturn can, the others end
	DrainHeld       DrainPhase = "held"       // empty, until somebody wants something
	DrainRestarting DrainPhase = "restarting" // empty, until a new child serves
	DrainStopping   DrainPhase = "stopping"   // empty, and turnwarden is to end
	DrainOver       DrainPhase = "over"       // listed again, if nothing else is against it
)

// Why a child stays down.
const (
	CauseDrain = "drain"      // its node was drained
	OpenRelay  = "open_relay" // it relayed without a credential
)
