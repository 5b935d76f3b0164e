package drain

import (
	"context"
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// follow reports a drain's steps, from the given one on, until it is over, and how it
// goes meanwhile.
func (dr *Drainer) follow(ctx context.Context, d *drain, from int, report func(service.Step)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		steps, news, over, err := d.since(from)
		for _, s := range steps {
			report(s)
		}
		from += len(steps)
		if over {
			if d.status().Phase == service.DrainStopping {
				dr.awaitEnd(ctx)
			}
			return err
		}
		select {
		case <-news:
		case <-tick.C:
			report(dr.progress(d))
		case <-dr.ended:
			if _, _, over, _ := d.since(from); !over {
				return errStopping
			}
		case <-ctx.Done():
			return fmt.Errorf("%w; the drain goes on", context.Cause(ctx))
		}
	}
}

// awaitEnd returns when the child has been stopped along with everything else.
func (dr *Drainer) awaitEnd(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for dr.Node.Status().Child.State != supervisor.Stopped {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// progress is how a drain goes, for those who wait for it.
func (dr *Drainer) progress(d *drain) service.Step {
	s := dr.Node.Status()
	d.mu.Lock()
	phase, before, unlisted, deadline := d.phase, d.before, d.unlisted, d.deadline
	d.mu.Unlock()
	step := service.Step{Name: string(phase), Passing: true}
	if !unlisted.IsZero() {
		step.Took = s.At.Sub(unlisted)
	}
	switch phase {
	case service.DrainQueued:
		step.Detail = fmt.Sprintf("waiting for %s to be done draining (registry.max_draining)", and(before))
	case service.DrainTelling, service.DrainEnding:
		step.Detail = fmt.Sprintf("%s left, %s in, %s out", counted(s.Sessions.Open, "call"), throughput(s.Traffic.RxBytesPerSecond), throughput(s.Traffic.TxBytesPerSecond))
		if !deadline.IsZero() {
			step.Detail += fmt.Sprintf(", %v to the deadline", deadline.Sub(s.At).Round(time.Second))
		}
	case service.DrainRestarting:
		if reasons := service.Readiness(s); len(reasons) > 1 { // the first is this drain
			step.Detail = reasons[1].Text
		}
	}
	return step
}
