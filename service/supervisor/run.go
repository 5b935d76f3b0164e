package supervisor

import (
	"context"
	"math/rand/v2"
	"time"
)

// Run keeps a child running until ctx ends, and returns when the last one has
// been reaped. It never gives up: whoever repairs the cause of a crash loop must
// not also have to find out that nobody was trying any more.
func (s *Supervisor) Run(ctx context.Context) error {
	if s.resting {
		s.rest(ctx, time.Until(s.Child().NextStart))
	}
	for ctx.Err() == nil {
		exit, err := s.once(ctx)
		if ctx.Err() != nil {
			break
		}
		s.rest(ctx, s.settle(exit, err))
	}
	s.change(func(c *Child) { c.State, c.NextStart = Stopped, time.Time{} })
	return nil //nolint:nilerr // a start that failed because ctx has ended is no failure
}

// once starts the child and returns when it has been reaped. The error is that
// of a failed start.
func (s *Supervisor) once(ctx context.Context) (Exit, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	process, err := s.begin(ctx)
	if err != nil {
		return Exit{}, err
	}
	started := s.Child().StartedAt

	exited := make(chan error, 1)
	go func() { exited <- process.Wait() }()
	asked, err := s.watch(ctx, stop, exited)

	exit := newExit(err)
	exit.At, exit.Ran = time.Now(), time.Since(started)
	if asked == "" && exit.Code == 0 {
		asked = s.asked().halt // a retired child that went of its own accord
	}
	if asked != "" {
		exit.Cause = asked
		s.logger.Info("turnserver ended as asked", "reason", asked, "end", exit.String(), "duration", exit.Ran.Round(time.Millisecond))
	}
	s.change(func(c *Child) {
		c.PID, c.StartedAt, c.LastExit = 0, time.Time{}, exit
		c.Exits = append([]Exit{exit}, c.Exits[:min(len(c.Exits), keptExits-1)]...)
		if c.State == Running { // so it died, and whoever lists us must know at once
			c.State = Backoff
		}
	})
	return exit, nil
}

// begin starts the child, or goes on with the one that an earlier image has started.
func (s *Supervisor) begin(ctx context.Context) (Process, error) {
	if s.adopt != nil {
		return s.goOn(ctx), nil
	}
	s.serve()
	s.change(func(c *Child) { c.State, c.NextStart, c.HaltCause = Starting, time.Time{}, "" })
	process, err := s.start(ctx)
	if err != nil {
		return nil, err
	}
	s.change(func(c *Child) {
		s.process = process
		c.State, c.PID, c.StartedAt, c.StartError = Running, process.PID(), time.Now(), ""
		if s.reason != "" {
			c.Restarts++
			s.restarts[s.reason]++
		}
	})
	if s.reason != "" {
		s.metrics.Restarts.With("reason", s.reason).Add(1)
	}
	s.logger.Info("turnserver started", "pid", process.PID())
	return process, nil
}

// watch returns when the child has been reaped, and why it was stopped if it
// was: a Reason, the cause of a Halt, or "shutdown".
func (s *Supervisor) watch(ctx context.Context, stop context.CancelCauseFunc, exited <-chan error) (asked string, err error) {
	for asked == "" {
		select {
		case err := <-exited:
			return "", err
		case <-ctx.Done():
			asked = causeShutdown
		case <-s.wake:
			switch o := s.asked(); {
			case o.how == atOnce:
				asked = o.halt
				stop(ErrKill)
			case o.how == gently:
				asked = o.halt
				stop(nil)
			case o.restart == ReasonRequested, o.restart != "" && o.how != byItself:
				asked = o.restart
				stop(nil)
			}
		}
	}
	s.logger.Info("stopping turnserver", "reason", asked)
	s.change(func(c *Child) { c.State, c.StopReason = Stopping, asked })
	return asked, <-exited
}

// settle draws the consequences of a run's end, and returns the delay before
// the next start.
func (s *Supervisor) settle(exit Exit, startError error) time.Duration {
	s.mu.Lock()
	policy := s.policy
	s.mu.Unlock()
	delay, short := policy.next(s.short, exit.Ran, rand.Float64())
	reason := s.reason
	if startError == nil {
		reason = exit.reason()
	}
	// Not the child's fault: no delay, and no mark against it. A restart that the probe
	// asked for does count, for a child that hangs after every start is no better than
	// one that dies.
	innocent := startError == nil && (reason == ReasonRotation || reason == ReasonRequested)
	if innocent {
		short = min(s.short, short)
	}
	s.mu.Lock()
	s.short, s.reason = short, reason
	s.mu.Unlock()
	if innocent {
		return 0
	}
	next := time.Now().Add(delay)
	logger := s.logger.With("next_in", delay.Round(time.Millisecond))
	if startError == nil {
		logger.Warn("turnserver is gone and its calls with it, nobody is served until the next start",
			"reason", exit.Cause, "end", exit.String(), "duration", exit.Ran.Round(time.Millisecond))
	} else {
		logger.Error("turnserver cannot be started, nobody is served until it can be", "err", startError)
	}
	s.change(func(c *Child) {
		c.State, c.NextStart = Backoff, next
		if startError != nil {
			c.StartError = startError.Error()
		}
	})
	return delay
}

// rest waits for the next start: for delay, or for less if a restart is
// requested, or until one is requested or the halt taken back if the child has been
// halted.
func (s *Supervisor) rest(ctx context.Context, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	due := timer.C
	for {
		o := s.asked()
		switch {
		case o.restart == ReasonRequested, o.halt == "" && due == nil:
			return
		case o.halt != "" && due != nil:
			due = nil
			s.change(func(c *Child) { c.State, c.NextStart, c.HaltCause = Stopped, time.Time{}, o.halt })
			s.logger.Warn("turnserver stays down until a restart is requested", "reason", o.halt)
		}
		select {
		case <-ctx.Done():
			return
		case <-due:
			return
		case <-s.wake:
		}
	}
}
