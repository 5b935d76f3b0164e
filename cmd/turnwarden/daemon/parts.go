package daemon

import (
	"context"
	"slices"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
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

// Settle waits until what cannot be handed over is done, and tells of it.
func (p *parts) Settle(ctx context.Context, report func(service.Step)) error {
	return p.node.Settle(ctx, report)
}

// Pause has no turnadmin and no probe run, no session swept, and no drain go on, until
// resume is called. It is node.ErrBusy while the node's Settle would wait.
func (p *parts) Pause(ctx context.Context) (resume func(), err error) {
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

// Save returns what the next image needs of them.
func (p *parts) Save() handover.Node { return p.savers().Save() }

func (p *parts) savers() handover.Savers {
	s := handover.Savers{
		Supervisor: p.supervisor, Prober: p.prober, Credentials: p.credentials, Meter: p.meter, Log: p.log,
		Drainer: p.drainer, Node: p.node, Journal: p.journal,
	}
	if p.registrar != nil {
		s.Registrar = p.registrar
	}
	return s
}
