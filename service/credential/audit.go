package credential

import (
	"errors"
	"time"
)

// Why says what a step is taken for, and who asked for it.
type Why struct{ Reason, By string }

// us is who asks for what nobody asked for.
const us = "turnwarden"

var scheduled = Why{"schedule", us}

// audit writes the one line that each transition leaves, done or failed, and counts
// it. A server that cannot be asked yet, or a stop of our own, is neither.
func (r *Rotator) audit(g *generation, to State, why Why, start time.Time, err error) {
	log := r.logger.With("generation", g.ID, "to", to, "reason", why.Reason, "by", why.By, "duration", time.Since(start).Round(time.Microsecond))
	switch {
	case err == nil:
		log.Info("credential transition", "result", "ok")
	case errors.Is(err, ErrDown), errors.Is(err, ErrStopping):
		log.Debug("credential transition waits", "err", err)
		return
	default:
		log.Error("credential transition", "result", "failed", "err", err, "consequence", r.consequence(to, time.Now()))
		r.metrics.TransitionFailures.With("to", string(to)).Add(1)
	}
	r.metrics.Transitions.With("to", string(to)).Add(1)
}
