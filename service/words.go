package service

import (
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// What a status is made of, and the words in it, for those who show one: they import no slice.
type (
	Fleet        = fleet.Snapshot
	FleetNode    = fleet.Node
	Session      = directory.Status // with ZooKeeper
	Registration = registry.Status
	ProbeAnswer  = probe.Answer
	Imported     = credential.Imported
	User         = credential.User
)

// The words of the parts.
const (
	ChildRunning     = supervisor.Running
	SessionConnected = directory.Connected

	GenerationActive  = credential.Active
	GenerationRevoked = credential.Revoked

	NodeStale      = fleet.Stale
	NodeSuperseded = fleet.Superseded
	NodeForbidden  = fleet.Forbidden

	StageResolve      = probe.StageResolve
	StageTLS          = probe.StageTLS
	StageBind         = probe.StageBind
	StageUnauthorized = probe.StageUnauthorized
	StageAllocate     = probe.StageAllocate
	StageRelay        = probe.StageRelay
	StageRefresh      = probe.StageRefresh
)
