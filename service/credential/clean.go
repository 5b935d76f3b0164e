package credential

import (
	"context"
	"slices"
	"time"
)

// reconcileEvery is how often the store is compared with the book when nothing
// hints at a difference.
const reconcileEvery = time.Minute

// clean takes away what nobody has a claim on and puts back what is missing. It
// returns when to look again.
func (r *Rotator) clean(ctx context.Context, now time.Time) time.Duration {
	urgent := r.repair.Swap(false)
	if urgent {
		r.cleanAt, r.reconcileAt = time.Time{}, time.Time{}
	}
	if wait := r.cleanAt.Sub(now); wait > 0 {
		return wait
	}
	var err error
	if !now.Before(r.reconcileAt) && (urgent || r.untilPublication() == 0) {
		if err = r.reconcile(ctx); err == nil {
			r.reconcileAt = now.Add(reconcileEvery)
		} else if ctx.Err() == nil {
			r.logger.Error("the userdb could not be compared with the record; users that are missing stay so, and users that should be gone still work", "err", err)
		}
	}
	// Neither waits for the other: a user that cannot be deleted must not keep
	// a client's user from being added again.
	if deleteErr := r.deleteUnclaimed(ctx); err == nil {
		err = deleteErr
	}
	if err == nil {
		r.cleanRetry.Reset()
		if wait := r.untilPublication(); wait > 0 {
			return wait
		}
		return min(time.Until(r.reconcileAt), r.untilDeletable())
	}
	if ctx.Err() != nil {
		return time.Hour
	}
	wait := r.cleanRetry.NextBackOff()
	r.cleanAt = time.Now().Add(wait)
	return wait
}

// deleteUnclaimed deletes one generation after the other and goes on after one that
// cannot be.
func (r *Rotator) deleteUnclaimed(ctx context.Context) (err error) {
	for _, g := range r.snapshot().gens {
		if g.State == Retiring && r.untilPublication() > 0 || !g.deletable(time.Now(), skew(r.config().Lifetime)) {
			continue
		}
		why := Why{"expired", us}
		if g.State == Revoked {
			why.Reason = "revoke"
		}
		if deleteErr := r.delete(ctx, &g, why); err == nil {
			err = deleteErr
		}
	}
	return err
}

// untilPublication returns how long a proved successor still waits to be published, 0 if
// that is not near: what takes its time, and can wait, comes after it. One that cannot be
// published is waited for by nobody.
func (r *Rotator) untilPublication() time.Duration {
	every := r.config().RotateEvery
	if r.held.Load() || r.inState(Verified) == nil {
		return 0
	}
	wait := r.until(time.Now(), every-margin(every))
	if wait > stepTimeout {
		return 0
	}
	return wait
}

// delete takes the user away first, and the record of it after: a crash between the
// two repeats the harmless half.
func (r *Rotator) delete(ctx context.Context, g *generation, why Why) error {
	start := time.Now()
	err := r.remove(ctx, g.Username)
	if err == nil {
		err = r.commit(func(b *book) { b.remove(g.ID) })
	}
	r.audit(g, Deleted, why, start, err)
	return err
}

func (r *Rotator) remove(ctx context.Context, username string) error {
	return bounded(ctx, func(ctx context.Context) error { return r.store.Delete(ctx, username) })
}

// untilDeletable returns how long the next retiring generation still has.
func (r *Rotator) untilDeletable() time.Duration {
	wait := reconcileEvery
	now := time.Now()
	for _, g := range r.snapshot().gens {
		if g.State == Retiring {
			keep := skew(r.config().Lifetime)
			left := max(g.Expires.Add(keep).Sub(now.Round(0)), g.left+keep-now.Sub(g.seen))
			// A clock that was set back must not make this loop spin, nor one
			// set forward make it sleep past the other clock.
			wait = min(wait, max(left, 10*time.Millisecond))
		}
	}
	return wait
}

// reconcile makes the store hold what the book says. It is how a userdb that was
// replaced, or lost a row, heals, and how users of a crashed run are found.
func (r *Rotator) reconcile(ctx context.Context) error {
	users, err := r.list(ctx)
	if err != nil {
		return err
	}
	b := r.snapshot()
	for _, g := range b.gens {
		if slices.Contains(users, g.Username) || g.State == Pending ||
			g.deletable(time.Now(), skew(r.config().Lifetime)) {
			continue
		}
		start := time.Now()
		if err := r.put(ctx, &g); err != nil {
			return err
		}
		r.logger.Warn("a live user was missing from the userdb; added again", "generation", g.ID, "duration", time.Since(start))
	}
	var unowned []string
	for _, u := range users {
		owned := slices.ContainsFunc(b.gens, func(g generation) bool { return g.Username == u })
		if owns(r.config().Node, u) && !owned {
			unowned = append(unowned, u)
		}
	}
	if time.Now().Before(b.keepUnknown) {
		return nil // and is not pending: clients may hold them
	}
	r.setUnowned(len(unowned))
	for i, u := range unowned {
		if err := r.remove(ctx, u); err != nil {
			return err
		}
		r.setUnowned(len(unowned) - i - 1)
		r.logger.Info("deleted a user of this node that no generation owns", "reason", "reconcile")
	}
	return nil
}

func (r *Rotator) setUnowned(n int) {
	r.mu.Lock()
	r.unowned = n
	r.mu.Unlock()
}

// watchClock says once when the wall clock has been set: expiry times that
// clients were told are then off by as much, while nothing is deleted early.
func (r *Rotator) watchClock(now time.Time) {
	if !r.clockSeen.IsZero() {
		step := now.Round(0).Sub(r.clockSeen.Round(0)) - now.Sub(r.clockSeen)
		if step.Abs() > clockTolerance {
			r.logger.Warn("the wall clock was set; expiry times already handed out are off by as much, and no user is deleted before both clocks agree", "offset", step)
		}
	}
	r.clockSeen = now
}
