package service

import "time"

// DrainPhase is how far a drain is. Empty is none.
type DrainPhase string

// The phases of a drain, in their order; a resume leads from each of them to the end.
const (
	DrainQueued     DrainPhase = "queued"     // still listed: others of the fleet have their turn
	DrainTelling    DrainPhase = "unlisted"   // readers of the record are given time to notice
	DrainEnding     DrainPhase = "ending"     // new calls are refused where coturn can, the others end
	DrainHeld       DrainPhase = "held"       // empty, until somebody wants something
	DrainRestarting DrainPhase = "restarting" // empty, until a new child serves
	drainStopping   DrainPhase = "stopping"   // empty, and turnwarden is to end
	drainOver       DrainPhase = "over"       // listed again, if nothing else is against it
)

// What is to follow when a node is empty.
const (
	ThenStop    = "stop"    // turnwarden ends
	ThenRestart = "restart" // the child is started anew and the node listed again
	ThenHold    = "hold"    // nothing, until a resume
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
func (p DrainPhase) next(v drainView) DrainPhase {
	empty := v.idle || v.down || v.late()
	switch {
	case v.resumed && !v.stopping && (p != DrainHeld || !v.down):
		return drainOver
	case p == DrainQueued && (v.turn || v.stopping):
		return DrainTelling
	case p == DrainTelling && (empty || !v.at.Before(v.told)):
		return DrainEnding
	case p == DrainEnding && !empty:
		return p
	case p == DrainEnding || p == DrainHeld, p == DrainRestarting && (v.stopping || v.then == ThenStop || v.then == ThenHold && v.serves):
		switch {
		case v.stopping || v.then == ThenStop:
			return drainStopping
		case v.resumed || v.then == ThenRestart:
			return DrainRestarting
		}
		return DrainHeld
	case p == DrainRestarting && v.serves:
		return drainOver
	}
	return p
}
