package supervisor

import (
	"errors"
	"syscall"
)

// orders are what Run has been asked and has not done yet.
type orders struct {
	restart string // the reason, empty for none
	halt    string // the cause, empty for none; stays set while the child is down
	how     ending // how a halted child comes to its end
}

// ending says how much time a child gets that is not to be followed by another.
type ending int

const (
	byItself ending = iota + 1
	gently
	atOnce
)

// Restart ends the child gracefully and starts it again. Requests are
// coalesced: those made before the next start begins are all served by it.
//
// A probe and a rotation ask by themselves, so they neither cut a back-off short
// nor start a child again that was halted; any other reason is somebody's
// request, which does both.
func (s *Supervisor) Restart(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case reason != ReasonProbe && reason != ReasonRotation:
		s.orders.restart = ReasonRequested
	case s.orders.restart == "":
		s.orders.restart = reason
	}
	s.poke()
}

// Halt kills the child at once and leaves it down, until a restart is requested.
// A child that is being stopped already keeps its grace.
func (s *Supervisor) Halt(cause string) { s.last(cause, atOnce) }

// Stop ends the child gracefully and leaves it down like Halt.
func (s *Supervisor) Stop(cause string) { s.last(cause, gently) }

// Retire lets the child run, and leaves it down like Halt once it has ended, be it
// that it crashed. Recall takes it back.
func (s *Supervisor) Retire(cause string) { s.last(cause, byItself) }

// last makes the child the last one. Who is to end at once gets no grace from a later
// order that would give him some.
func (s *Supervisor) last(cause string, how ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how >= s.orders.how {
		s.orders = orders{halt: cause, how: how}
		s.poke()
	}
}

// Recall takes Retire back: a child that has ended meanwhile is started again. It
// changes nothing for one that was halted or stopped.
func (s *Supervisor) Recall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders.how == byItself {
		s.orders.halt, s.orders.how = "", 0
		s.poke()
	}
}

// ErrNotRunning says that there is no child to be told anything.
var ErrNotRunning = errors.New("turnserver is not running")

// Signal tells the running child something that does not end it, as far as the
// supervisor knows. One that an earlier image has started can be told once Run has it.
func (s *Supervisor) Signal(sig syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.child.State != Running || s.process == nil {
		return ErrNotRunning
	}
	return s.process.Signal(sig)
}

func (s *Supervisor) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // the token that is there already brings Run to look
	}
}

// serve forgets what the start that follows fulfils. A request that comes
// during that start is kept: what it wants read may have been read before.
func (s *Supervisor) serve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.orders.restart == ReasonRequested {
		s.orders.halt, s.orders.how = "", 0
	}
	s.orders.restart = ""
}

func (s *Supervisor) asked() orders {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders
}
