package drain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// queue waits for our turn and keeps it. A node that cannot be told from ZooKeeper
// who drains must not drain at all; one that goes on has been told.
func (r *run) queue(ctx context.Context, goesOn bool) {
	err := errors.New("no registry.zookeeper is set, so that nobody knows who else drains")
	var before []string
	if r.Lock != nil {
		before, err = r.Lock.Try()
	}
	if err != nil && (!goesOn || r.Lock == nil) {
		err = fmt.Errorf("not drained: %w; %s drains all the same", err, r.Node.Status().Commands.NoLock)
		r.d.change(func() { r.d.resumed, r.d.err = true, err })
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err == nil {
			r.wait(before)
		}
		select {
		case <-ctx.Done():
			if err := r.Lock.Release(); err != nil {
				r.logger.Warn("the turn to drain is given back with the ZooKeeper session only", "err", err)
			}
			return
		case <-tick.C:
			before, err = r.Lock.Try() // while ZooKeeper is away nothing changes
		}
	}
}

// wait keeps who has the turn, and says so when it is news.
func (r *run) wait(before []string) {
	r.d.mu.Lock()
	news := r.d.phase == service.DrainQueued && !r.d.turn && !slices.Equal(before, r.d.before)
	r.d.mu.Unlock()
	if news && len(before) > 0 {
		r.logger.Info("waits for its turn to drain", "node", and(before))
	}
	r.d.change(func() { r.d.before, r.d.turn = before, r.d.turn || len(before) == 0 })
}
