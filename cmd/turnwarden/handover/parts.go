package handover

import (
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Saver is a part that survives an upgrade: Save returns what the next image needs, and
// Restore goes on there, before any part runs.
type Saver[T any] interface {
	Save() T
	Restore(saved T)
}

// Savers are all of them. None knows of another; Node has what they save, by name.
type Savers struct {
	Supervisor  Saver[supervisor.Saved]
	Prober      Saver[probe.Result]
	Credentials Saver[credential.Saved]
	Meter       Saver[traffic.Saved]
	Registrar   Saver[registry.Saved] // nil = standalone
	Log         Saver[calls.Saved]
	Drainer     Saver[*drain.Saved]
	Node        Saver[node.Saved]
	Journal     Saver[[]service.Line]
}

// Node is what they save, as it is handed over.
type Node struct {
	Supervisor  supervisor.Saved
	Probe       probe.Result
	Credentials credential.Saved
	Traffic     traffic.Saved
	Registry    registry.Saved
	Log         calls.Saved
	Drain       *drain.Saved // nil: none is under way
	node.Saved
	Journal []service.Line
}

// Save returns what all of them save.
func (s Savers) Save() Node {
	saved := Node{
		Supervisor: s.Supervisor.Save(), Probe: s.Prober.Save(), Credentials: s.Credentials.Save(), Traffic: s.Meter.Save(),
		Log: s.Log.Save(), Drain: s.Drainer.Save(), Saved: s.Node.Save(), Journal: s.Journal.Save(),
	}
	if s.Registrar != nil {
		saved.Registry = s.Registrar.Save()
	}
	return saved
}

// Restore has all of them go on.
func (s Savers) Restore(saved Node) {
	s.Supervisor.Restore(saved.Supervisor)
	s.Prober.Restore(saved.Probe)
	s.Credentials.Restore(saved.Credentials)
	s.Meter.Restore(saved.Traffic)
	if s.Registrar != nil {
		s.Registrar.Restore(saved.Registry)
	}
	s.Log.Restore(saved.Log)
	s.Drainer.Restore(saved.Drain)
	s.Node.Restore(saved.Saved)
	s.Journal.Restore(saved.Journal)
}
