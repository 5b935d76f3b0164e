package supervisor

// orders are what Run has been asked and has not done yet.
type orders struct {
	restart string // the reason, empty for none
	halt    string // the cause, empty for none; stays set while the child is down
}

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
func (s *Supervisor) Halt(cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = orders{halt: cause}
	s.poke()
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
		s.orders.halt = ""
	}
	s.orders.restart = ""
}

func (s *Supervisor) asked() orders {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.orders
}
