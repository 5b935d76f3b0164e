package supervisor

import (
	"context"
	"maps"
	"syscall"
	"time"
)

// Saved is what the next image of this process needs to go on where Run stands.
type Saved struct {
	Child    Child
	Restarts map[string]int // by reason
	Short    int            // short runs in a row
	Reason   string         // why the last run ended

	Restart, Halt string // what has been asked for and not been done
	How           ending
}

// Save returns what a successor needs. It is of use only while the child can neither be
// started nor reaped.
func (s *Supervisor) Save() Saved {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Saved{
		Child: s.child, Restarts: maps.Clone(s.restarts), Short: s.short, Reason: s.reason,
		Restart: s.orders.restart, Halt: s.orders.halt, How: s.orders.how,
	}
}

// Adopt says how Restore's child is taken over. It is called before Restore.
func (s *Supervisor) Adopt(adopt Starter) { s.adopt = adopt }

// Restore has Run go on, with the child that Adopt takes over if there was one. It is
// called before Run.
func (s *Supervisor) Restore(saved Saved) {
	s.child, s.short, s.reason = saved.Child, saved.Short, saved.Reason
	s.orders = orders{restart: saved.Restart, halt: saved.Halt, how: saved.How}
	for _, t := range []*time.Time{&s.child.StartedAt, &s.child.NextStart, &s.child.LastExit.At} {
		*t = live(*t)
	}
	for reason, n := range saved.Restarts {
		s.restarts[reason] = n
		s.metrics.Restarts.With("reason", reason).Add(float64(n))
	}
	if s.child.PID == 0 {
		s.adopt, s.resting = nil, true
	}
	s.poke()
}

// live gives a time the reading of the monotonic clock that it lost on the way, so that
// no step of the wall clock changes how long ago it was.
func live(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(time.Until(t))
}

// goOn goes on with the child that was there before us. One that is ours no more has
// ended, and there is no telling how.
func (s *Supervisor) goOn(ctx context.Context) Process {
	p, err := s.adopt(ctx)
	if err != nil {
		s.logger.Error("turnserver is gone since the upgrade", "err", err)
		p = lost{s.child.PID}
	} else {
		s.logger.Info("turnserver goes on", "pid", p.PID())
	}
	s.adopt = nil
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	return p
}

// lost is a child that ended in a way that nobody saw.
type lost struct{ pid int }

func (l lost) PID() int { return l.pid }

func (lost) Wait() error { return &ExitError{Code: -1} }

func (lost) Signal(syscall.Signal) error { return ErrNotRunning }
