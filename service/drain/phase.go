package drain

import (
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// view is what decides how a drain goes on.
type view struct {
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

func (v view) late() bool {
	return v.hurried || !v.deadline.IsZero() && !v.at.Before(v.deadline)
}

func (v view) empty() bool   { return v.idle || v.down || v.late() }
func (v view) allowed() bool { return v.turn || v.stopping }
func (v view) noticed() bool { return v.empty() || !v.at.Before(v.told) }
func (v view) resume() bool  { return v.resumed && !v.stopping }
func (v view) stop() bool    { return v.stopping || v.then == service.ThenStop }

// transitions are a drain as docs/architecture.md draws it. Of those that lead on from a
// phase the first counts whose condition is met.
var transitions = []struct {
	from, to service.DrainPhase
	when     func(v view) bool
}{
	{service.DrainQueued, service.DrainOver, view.resume},
	{service.DrainQueued, service.DrainTelling, view.allowed},
	{service.DrainTelling, service.DrainOver, view.resume},
	{service.DrainTelling, service.DrainEnding, view.noticed},
	{service.DrainEnding, service.DrainOver, view.resume},
	{service.DrainEnding, service.DrainStopping, func(v view) bool { return v.empty() && v.stop() }},
	{service.DrainEnding, service.DrainRestarting, func(v view) bool { return v.empty() && v.then == service.ThenRestart }},
	{service.DrainEnding, service.DrainHeld, view.empty},
	{service.DrainHeld, service.DrainOver, func(v view) bool { return v.resume() && !v.down }},
	{service.DrainHeld, service.DrainStopping, view.stop},
	{service.DrainHeld, service.DrainRestarting, func(v view) bool { return v.resumed || v.then == service.ThenRestart }},
	{service.DrainRestarting, service.DrainOver, view.resume},
	{service.DrainRestarting, service.DrainStopping, view.stop},
	{service.DrainRestarting, service.DrainHeld, func(v view) bool { return v.serves && v.then == service.ThenHold }},
	{service.DrainRestarting, service.DrainOver, func(v view) bool { return v.serves }},
}

// next is the one rule of a drain.
func next(p service.DrainPhase, v view) service.DrainPhase {
	for _, t := range transitions {
		if t.from == p && t.when(v) {
			return t.to
		}
	}
	return p
}
