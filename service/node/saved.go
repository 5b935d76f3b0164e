package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Saved is what the next image of this process needs of the node and its parts, beside
// what is in files.
type Saved struct {
	Supervisor  supervisor.Saved
	Probe       probe.Result
	Credentials credential.Saved
	Traffic     traffic.Saved
	Registry    registry.Saved
	Log         calls.Saved
	Drain       *SavedDrain // nil: none is under way
	Present     bool        // the record may exist
	Draining    bool
	Emptying    bool
	Refusing    int64
	History     []service.Throughput
	Journal     []service.Line
}

// ErrBusy says that the node is at something that cannot be handed over.
var ErrBusy = errors.New("busy")

// Settle waits until what cannot be handed over is done, and tells of it.
func (n *Node) Settle(ctx context.Context, report func(service.Step)) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for ; ; <-tick.C {
		w := n.parts.Sweeper.First()
		if w == nil && n.parts.Supervisor.Child().State != supervisor.Starting {
			return nil
		}
		if w != nil {
			report(service.Step{Name: "quiet", Detail: "waits for the sweep after a revocation, until " + w.Until.Format(time.TimeOnly), Passing: true})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

const settleEvery = 100 * time.Millisecond

// Pause has no turnadmin and no probe run, no session swept, and no drain go on, until
// resume is called. It is ErrBusy while Settle would wait.
func (n *Node) Pause(ctx context.Context) (resume func(), err error) {
	var paused []func()
	resume = func() {
		for _, r := range slices.Backward(paused) {
			r()
		}
	}
	for _, pause := range []func(context.Context) (func(), error){n.parts.Credentials.Pause, n.parts.Prober.Pause, n.parts.Drainer.Pause} {
		r, err := pause(ctx)
		if err != nil {
			resume()
			return nil, err
		}
		paused = append(paused, r)
	}
	if n.parts.Sweeper.First() != nil || n.parts.Supervisor.Child().State == supervisor.Starting {
		resume()
		return nil, ErrBusy
	}
	return resume, nil
}

// Save returns what a successor needs.
func (n *Node) Save() Saved {
	s := Saved{
		Supervisor: n.parts.Supervisor.Save(), Probe: n.parts.Prober.Last(), Credentials: n.parts.Credentials.Save(),
		Traffic: n.parts.Meter.Save(), Log: n.parts.Log.Save(), Drain: n.parts.Drainer.save(), Present: n.present.Load(),
		Draining: n.draining.Load(), Emptying: n.emptying.Load(), Refusing: n.refusing.Load(),
		History: n.history.all(), Journal: n.parts.Journal.Lines(),
	}
	if n.parts.Registrar != nil {
		s.Registry = n.parts.Registrar.Save()
	}
	return s
}

// Restore has the node and its parts go on where an earlier image stood, with the child
// that adopt returns. It is called before any of them runs.
func (n *Node) Restore(s Saved, adopt supervisor.Starter) {
	n.parts.Supervisor.Resume(s.Supervisor, adopt)
	n.parts.Prober.Resume(s.Probe)
	n.parts.Credentials.Resume(s.Credentials)
	n.parts.Meter.Resume(s.Traffic)
	if n.parts.Registrar != nil {
		n.parts.Registrar.Resume(s.Registry)
	}
	n.parts.Log.Restore(s.Log)
	n.parts.Drainer.restore(s.Drain)
	n.done.probed(s.Probe.Answers) // whose failures were counted then
	n.serving.Store(s.Probe.Serving)
	n.present.Store(s.Present)
	n.draining.Store(s.Draining)
	n.emptying.Store(s.Emptying)
	n.refuses(int(s.Refusing))
	n.history.resume(s.History)
	n.parts.Journal.Restore(s.Journal)
}
