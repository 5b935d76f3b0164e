package node

import (
	"context"
	"errors"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// Saved is what the next image of this process needs of the node itself.
type Saved struct {
	Present  bool // the record may exist
	Draining bool
	Emptying bool
	Refusing int64
	History  []service.Throughput
}

// ErrBusy says that the node is at something that cannot be handed over.
var ErrBusy = errors.New("busy")

// Settle waits until what cannot be handed over is done, and tells of it.
func (n *Node) Settle(ctx context.Context, report func(service.Step)) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for ; ; <-tick.C {
		w := n.parts.Sweeper.First()
		if w == nil && n.parts.Child.Child().State != supervisor.Starting {
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

// Pause is ErrBusy while Settle would wait. What must not begin meanwhile is paused before.
func (n *Node) Pause(context.Context) (resume func(), err error) {
	if n.parts.Sweeper.First() != nil || n.parts.Child.Child().State == supervisor.Starting {
		return nil, ErrBusy
	}
	return func() {}, nil
}

// Save returns what a successor needs.
func (n *Node) Save() Saved {
	return Saved{
		Present: n.present.Load(), Draining: n.draining.Load(), Emptying: n.emptying.Load(), Refusing: n.refusing.Load(),
		History: n.history.all(),
	}
}

// Restore has the node go on where an earlier image stood. It is called before any part
// runs, and after the prober has its verdict back.
func (n *Node) Restore(s Saved) {
	last := n.parts.Prober.Last()
	n.done.probed(last.Answers) // whose failures were counted then
	n.serving.Store(last.Serving)
	n.present.Store(s.Present)
	n.draining.Store(s.Draining)
	n.emptying.Store(s.Emptying)
	n.refuses(int(s.Refusing))
	n.history.resume(s.History)
}
