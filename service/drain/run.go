package drain

import (
	"context"
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// settle is how long no allocation may be seen until a node counts as empty: what
// turnserver has just logged is still on its way to us.
const settle = time.Second

// lookEvery is how often a drain is looked at.
const lookEvery = 200 * time.Millisecond

// drain runs one drain, and says whether turnwarden is to end.
func (dr *Drainer) drain(ctx context.Context, d *drain) (stop bool) {
	dr.mu.Lock()
	r := dr.run
	goesOn := r != nil && r.d == d // an earlier image has begun it
	if !goesOn {
		r = &run{Drainer: dr, d: d, quiet: time.Now()}
		dr.run = r
	}
	dr.mu.Unlock()
	d.mu.Lock()
	request, by := d.request, d.by
	d.mu.Unlock()
	if goesOn {
		dr.logger.Info("drain goes on", "by", by, "consequence", request.Then, "limit", request.Limit)
	} else {
		dr.logger.Info("drain asked for", "by", by, "consequence", request.Then, "limit", request.Limit)
	}
	queue, leave := context.WithCancel(context.WithoutCancel(ctx))
	left := make(chan struct{})
	defer func() {
		leave()
		select {
		case <-left:
		case <-dr.config().Hurry: // the turn goes with the ZooKeeper session
		}
	}()
	go func() {
		defer close(left)
		if !request.NoLock {
			r.queue(queue, goesOn)
		}
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		_, news, _, _ := d.since(0)
		switch r.look(ctx) {
		case service.DrainStopping:
			return true
		case service.DrainOver:
			dr.mu.Lock()
			defer dr.mu.Unlock()
			if dr.current == d { // none has been asked for meanwhile
				dr.current = nil
			}
			return false
		}
		stopping := ctx.Done()
		if r.stopping {
			stopping = nil
		}
		select {
		case <-tick.C:
		case <-news:
		case resumed := <-dr.pause:
			pauseUntil(ctx, resumed)
		case <-stopping:
		case <-dr.config().Hurry:
			<-tick.C // it is closed and stays so
		}
	}
}

// run is what only the goroutine of a drain knows.
type run struct {
	*Drainer
	d         *drain
	quiet     time.Time // since when there has been no call; before that, the begin
	open      int       // calls, when there was a child last
	published time.Time // when the record said first that the node is unlisted
	ended     bool      // the child was told to end, and nobody has asked for another
	replaced  int       // pid of the child that a restart is to replace
	stopping  bool
}

// look takes the drain as far as it can go now.
func (r *run) look(ctx context.Context) service.DrainPhase {
	if ctx.Err() != nil && !r.stopping {
		r.stopping = true
		r.d.change(func() {
			r.d.stopping = true
			r.d.request.Limit = min(r.d.request.Limit, r.config().Limit)
			if !r.d.unlisted.IsZero() {
				r.d.limit(time.Now().Add(r.config().Limit))
			}
		})
	}
	for {
		s := r.Node.Status()
		view := r.view(s)
		r.d.mu.Lock()
		phase := r.d.phase
		r.d.mu.Unlock()
		then := next(phase, view)
		if then == phase {
			return phase
		}
		r.leave(phase, view, s)
		r.enter(then, s)
		if then == service.DrainOver || then == service.DrainStopping {
			return then
		}
	}
}

// view is what there is to see now.
func (r *run) view(s service.Status) view {
	down := s.Child.State != supervisor.Running && s.Child.State != supervisor.Stopping
	switch {
	case down:
	case s.Sessions.Open > 0:
		r.quiet, r.open = s.At, s.Sessions.Open
	default:
		r.open = 0
	}
	d := r.d
	idle := s.At.Sub(r.quiet) >= settle && s.Sessions.Young == 0
	if phase := d.status().Phase; idle && !down && (phase == service.DrainTelling || phase == service.DrainEnding) {
		// By the log, in which anybody can have calls end that go on.
		var young int // who has come while they were counted
		if r.open, young = r.Node.Calls(r.config().Hurry); r.open > 0 {
			r.quiet, idle = time.Now(), false
		}
		idle = idle && young == 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return view{
		at: s.At, then: d.request.Then, turn: d.turn, told: r.told(s), deadline: d.deadline,
		idle: idle, down: down || r.ended,
		serves:  s.Child.PID != r.replaced && service.Serves(service.Readiness(s)),
		resumed: d.resumed, stopping: r.stopping, hurried: r.hurried(),
	}
}

func (r *run) hurried() bool {
	select {
	case <-r.config().Hurry:
		return true
	default:
		return false
	}
}

// told says by when readers of the record must have noticed that it is not to be used.
func (r *run) told(s service.Status) time.Time {
	since := r.d.unlisted
	if s.Registry == nil || since.IsZero() {
		return since
	}
	if last := s.Registry.LastRecord; r.published.IsZero() && !s.Registry.LastPublish.Before(since.Truncate(time.Millisecond)) && last.State != service.StateUp {
		r.published = s.Registry.LastPublish
	}
	if !r.published.IsZero() {
		return r.published.Add(r.config().Notice)
	}
	return since.Add(r.config().SessionTimeout + r.config().Notice) // by then it is gone with its session
}

// leave says how a phase has ended.
func (r *run) leave(phase service.DrainPhase, v view, seen service.Status) {
	s := service.Step{Name: string(phase), Took: time.Since(r.d.status().Since)}
	switch {
	case phase == service.DrainTelling && v.idle:
		s.Name, s.Detail = "readers", "not waited for: there is no call"
	case phase == service.DrainTelling && v.at.Before(v.told):
		s.Name, s.Detail = "readers", "not waited for to the end"
	case phase == service.DrainTelling && seen.Registry == nil:
		s.Name, s.Detail = "readers", "none: the node is in no registry"
	case phase == service.DrainTelling:
		s.Name, s.Detail = "readers", "must have noticed"
	case phase != service.DrainEnding || v.resumed && !v.stopping:
		return
	case v.down && r.open > 0:
		s.Name = "calls"
		s.Err = fmt.Errorf("turnserver ended (%s) with %s", seen.Child.LastExit, counted(r.open, "call"))
		r.d.change(func() { r.d.err = s.Err })
	case !v.down && v.late() && r.open > 0:
		cut := &service.CutError{Calls: r.open}
		s.Name, s.Detail = "calls", counted(r.open, "call")+" left at the deadline, and cut"
		r.d.change(func() { r.d.err = cut })
	default:
		s.Name, s.Detail = "calls", "all have ended"
	}
	log := r.logger.With("state", phase, "step", s.Name, "detail", s.Detail)
	if s.Err != nil {
		log.Error("drain", "err", s.Err)
	} else {
		log.Info("drain")
	}
	r.d.did(s)
}

// enter does what a phase begins with.
func (r *run) enter(phase service.DrainPhase, s service.Status) {
	var step service.Step
	switch d := r.d; phase {
	case service.DrainTelling:
		r.quiet = s.At // what was seen while others had their turn says nothing
		r.Node.Away(true)
		d.change(func() {
			d.unlisted = s.At
			d.limit(s.At.Add(d.request.Limit))
			step.Took = s.At.Sub(d.asked)
		})
		step.Name, step.Detail = "unlisted", callsNow(s.Sessions)+", until "+d.status().Deadline.Format(time.DateTime)+" at most"
	case service.DrainEnding:
		var pid int
		pid, step = r.Child.RefuseCalls()
		d.change(func() { d.refusing = pid })
	case service.DrainHeld:
		step = r.hold()
	case service.DrainRestarting:
		r.replaced = s.Child.PID
		r.ended = false
		r.Child.RenewChild()
		step = service.Step{Name: "restart", Detail: "turnserver is started anew"}
	case service.DrainStopping:
		step = service.Step{Name: "stop", Detail: "turnwarden ends"}
	case service.DrainOver:
		r.Node.Away(false)
		step = service.Step{Name: "over", Detail: "new clients are sent here again, unless something else is against it"}
		if d.status().Since.IsZero() {
			step.Detail = "before it began"
		}
	}
	r.logger.Info("drain", "state", phase, "step", step.Name, "detail", step.Detail)
	r.d.change(func() {
		r.d.phase = phase
		r.d.steps = append(r.d.steps, step)
		switch phase {
		case service.DrainHeld:
			r.d.deadline = time.Time{}
		case service.DrainRestarting:
			r.d.resumed, r.d.request.Then, r.d.refusing = false, service.ThenRestart, 0
		}
	})
}

// callsNow says how many calls there are, as far as that can be known at once.
func callsNow(s service.SessionCounts) string {
	text := counted(s.Open, "call")
	if s.Young > 0 {
		text += fmt.Sprintf(" and %d that may be a probe of our own", s.Young)
	}
	return text
}

// hold leaves the node empty. A child that was told to refuse calls is of no more use,
// and one that still has calls is to have none.
func (r *run) hold() service.Step {
	detail := "turnserver runs and has no call"
	r.d.mu.Lock()
	useless := r.d.refusing != 0 || r.d.err != nil
	r.d.mu.Unlock()
	if useless {
		r.ended = true
		r.Child.EndChild()
		detail = "turnserver is down"
	}
	return service.Step{Name: "held", Detail: detail + ", until " + r.Node.Status().Commands.Resume}
}
