package main

import (
	"context"
	"slices"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// parts are what is joined into a node. The registrar is nil on a standalone one.
type parts struct {
	node        *node.Node
	supervisor  *supervisor.Supervisor
	prober      *probe.Prober
	credentials *credential.Rotator
	meter       *traffic.Meter
	registrar   *registry.Registrar
	log         *calls.Log
	sweeper     *calls.Sweeper
	census      *calls.Census
	sockets     *supervisor.SocketMeter
	maintenance *node.Maintenance
	journal     *journal.Journal
	drainer     *drain.Drainer
}

// operated is what operators may ask for.
type operated struct {
	*node.Node
	*drain.Drainer
}

// join has the node know its parts.
func (p *parts) join(changed func()) {
	joined := node.Parts{
		Child: p.supervisor, Prober: p.prober, Credentials: p.credentials, Traffic: p.meter, Log: p.log, Sweeper: p.sweeper,
		Census: p.census, Sockets: p.sockets, Maintenance: p.maintenance, Journal: p.journal, Drain: p.drainer, Changed: changed,
	}
	if p.registrar != nil {
		joined.Record = p.registrar
	}
	p.node.Join(joined)
}

// pause has no turnadmin and no probe run, no session swept, and no drain go on, until
// resume is called. It is node.ErrBusy while the node's Settle would wait.
func (p *parts) pause(ctx context.Context) (resume func(), err error) {
	var paused []func()
	resume = func() {
		for _, r := range slices.Backward(paused) {
			r()
		}
	}
	for _, pause := range []func(context.Context) (func(), error){p.credentials.Pause, p.prober.Pause, p.drainer.Pause, p.node.Pause} {
		r, err := pause(ctx)
		if err != nil {
			resume()
			return nil, err
		}
		paused = append(paused, r)
	}
	return resume, nil
}

// saver is a part that survives an upgrade: Save returns what the next image needs, and
// Restore goes on there, before any part runs.
type saver[T any] interface {
	Save() T
	Restore(saved T)
}

// savers are all of them. None knows of another; savedNode has what they save, by name.
type savers struct {
	supervisor  saver[supervisor.Saved]
	prober      saver[probe.Result]
	credentials saver[credential.Saved]
	meter       saver[traffic.Saved]
	registrar   saver[registry.Saved] // nil = standalone
	log         saver[calls.Saved]
	drainer     saver[*drain.Saved]
	node        saver[node.Saved]
	journal     saver[[]service.Line]
}

// savedNode is what they save, as it is handed over.
type savedNode struct {
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

func (p *parts) savers() savers {
	s := savers{
		supervisor: p.supervisor, prober: p.prober, credentials: p.credentials, meter: p.meter, log: p.log,
		drainer: p.drainer, node: p.node, journal: p.journal,
	}
	if p.registrar != nil {
		s.registrar = p.registrar
	}
	return s
}

func (s savers) save() savedNode {
	saved := savedNode{
		Supervisor: s.supervisor.Save(), Probe: s.prober.Save(), Credentials: s.credentials.Save(), Traffic: s.meter.Save(),
		Log: s.log.Save(), Drain: s.drainer.Save(), Saved: s.node.Save(), Journal: s.journal.Save(),
	}
	if s.registrar != nil {
		saved.Registry = s.registrar.Save()
	}
	return saved
}

func (s savers) restore(saved savedNode) {
	s.supervisor.Restore(saved.Supervisor)
	s.prober.Restore(saved.Probe)
	s.credentials.Restore(saved.Credentials)
	s.meter.Restore(saved.Traffic)
	if s.registrar != nil {
		s.registrar.Restore(saved.Registry)
	}
	s.log.Restore(saved.Log)
	s.drainer.Restore(saved.Drain)
	s.node.Restore(saved.Saved)
	s.journal.Restore(saved.Journal)
}
