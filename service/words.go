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

// What a status is made of, and the words in it, for those who show one: they import no slice.
type (
	SocketSample     = supervisor.SocketSample
	GenerationStatus = credential.GenerationStatus
	GenerationState  = credential.State
	Histogram        = coturn.Histogram
	Fleet            = fleet.Snapshot
	FleetNode        = fleet.Node
	Session          = directory.Status // with ZooKeeper
	Registration     = registry.Status
	ProbeAnswer      = probe.Answer
	Imported         = credential.Imported
	User             = credential.User
)

// What the parts count.
type (
	SupervisorMetrics = supervisor.Metrics
	CredentialMetrics = credential.Metrics
	ProbeMetrics      = probe.Metrics
	DirectoryMetrics  = directory.Metrics
)

// What is asked of a TURN server on behalf of whoever comes, and what it answered.
type (
	ProbeAllow    = probe.Allow
	ProbeURI      = probe.URI
	ProbeQuestion = probe.Question
	ProbeReport   = probe.Report
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
