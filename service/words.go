package service

import (
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// What a status is made of has names here, for those who show one: they import no slice.
type (
	// SocketSample is what the sockets of the child hold.
	SocketSample = supervisor.SocketSample
	// GenerationStatus is one that is on record.
	GenerationStatus = credential.GenerationStatus
	// GenerationState is how far one is.
	GenerationState = credential.State
	// Histogram counts by size.
	Histogram = coturn.Histogram
	// Fleet is a fleet as it was last seen.
	Fleet = fleet.Snapshot
	// FleetNode is a node in it.
	FleetNode = fleet.Node
	// Session is that with ZooKeeper.
	Session = directory.Status
	// Registration is where a node's record stands.
	Registration = registry.Status
	// ProbeAnswer is what was heard over one transport.
	ProbeAnswer = probe.Answer
	// Imported is a credential that another program has handed out.
	Imported = credential.Imported
	// User is one of the userdb.
	User = credential.User
)

// What the parts count.
type (
	// SupervisorMetrics are those of the child.
	SupervisorMetrics = supervisor.Metrics
	// CredentialMetrics are those of the rotation.
	CredentialMetrics = credential.Metrics
	// ProbeMetrics are those of the prober.
	ProbeMetrics = probe.Metrics
	// DirectoryMetrics are those of ZooKeeper.
	DirectoryMetrics = directory.Metrics
)

// What is asked of a TURN server on behalf of whoever comes, and what it answered.
type (
	// ProbeAllow is who may be asked.
	ProbeAllow = probe.Allow
	// ProbeURI says where and how.
	ProbeURI = probe.URI
	// ProbeQuestion is one that is asked.
	ProbeQuestion = probe.Question
	// ProbeReport is what came of it.
	ProbeReport = probe.Report
)

// ParseProbeURI reads a URI of RFC 7065.
func ParseProbeURI(s string) (ProbeURI, error) { return probe.ParseURI(s) }

// The words of the parts.
const (
	ChildRunning     = supervisor.Running
	SessionConnected = directory.Connected

	GenerationActive  = credential.Active
	GenerationRevoked = credential.Revoked

	NodeStale      = fleet.Stale
	NodeSuperseded = fleet.Superseded
	NodeForbidden  = fleet.Forbidden

	ProbeUDP          = probe.UDP
	StageResolve      = probe.StageResolve
	StageTLS          = probe.StageTLS
	StageBind         = probe.StageBind
	StageUnauthorized = probe.StageUnauthorized
	StageAllocate     = probe.StageAllocate
	StageRelay        = probe.StageRelay
	StageRefresh      = probe.StageRefresh
)

// NodeStates are the states of a record.
func NodeStates() []string {
	return []string{StateUp, StateWarming, StateFull, StateDown, StateDraining, StateMaintenance, StateForeignServer}
}

// ChildStates are the states of a child.
func ChildStates() []string {
	return words(supervisor.Starting, supervisor.Running, supervisor.Backoff, supervisor.Stopping, supervisor.Stopped)
}

// SessionStates are the states of a ZooKeeper session.
func SessionStates() []string {
	return words(directory.Connecting, directory.Connected, directory.Disconnected, directory.Expired)
}

// FleetStates are the states of a node of the fleet: those of its record, and why that
// is not believed.
func FleetStates() []string {
	return append(NodeStates(), words(fleet.Stale, fleet.Superseded, fleet.Forbidden)...)
}

// GenerationStates are the states of a generation, in the order of its life.
func GenerationStates() []GenerationState {
	return []GenerationState{credential.Pending, credential.Verified, credential.Active, credential.Retiring, credential.Revoked}
}

func words[S ~string](states ...S) []string {
	all := make([]string, len(states))
	for i, s := range states {
		all[i] = string(s)
	}
	return all
}
