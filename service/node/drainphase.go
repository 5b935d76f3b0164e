package node

import (
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// drainView is what decides how a drain goes on.
type drainView struct {
	at       time.Time
	then     string
	turn     bool      // nobody of the fleet is to go first
	told     time.Time // when readers must have noticed
	deadline time.Time // zero = none
	idle     bool      // there is no call
	down     bool      // there is no child
	serves   bool      // a new one does
	resumed  bool
	stopping bool // turnwarden is to end, whatever was to follow
	hurried  bool // and to wait for nobody
}

func (v drainView) late() bool {
	return v.hurried || !v.deadline.IsZero() && !v.at.Before(v.deadline)
}

// next is the one rule of a drain.
func next(p service.DrainPhase, v drainView) service.DrainPhase {
	empty := v.idle || v.down || v.late()
	switch {
	case v.resumed && !v.stopping && (p != service.DrainHeld || !v.down):
		return service.DrainOver
	case p == service.DrainQueued && (v.turn || v.stopping):
		return service.DrainTelling
	case p == service.DrainTelling && (empty || !v.at.Before(v.told)):
		return service.DrainEnding
	case p == service.DrainEnding && !empty:
		return p
	case p == service.DrainEnding || p == service.DrainHeld, p == service.DrainRestarting && (v.stopping || v.then == service.ThenStop || v.then == service.ThenHold && v.serves):
		switch {
		case v.stopping || v.then == service.ThenStop:
			return service.DrainStopping
		case v.resumed || v.then == service.ThenRestart:
			return service.DrainRestarting
		}
		return service.DrainHeld
	case p == service.DrainRestarting && v.serves:
		return service.DrainOver
	}
	return p
}
