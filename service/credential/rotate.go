package credential

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// prepare takes a successor through its states until it is proved. It may be called
// again after a failure, and goes on where it stopped.
func (r *Rotator) prepare(ctx context.Context, why Why) (_ *generation, err error) {
	start := time.Now()
	g := r.inState(Verified)
	if g == nil {
		g = r.inState(Pending)
	}
	if g == nil {
		minted := mint(r.config().Node, r.snapshot().next)
		g = &minted
		err := r.commit(func(b *book) { b.next++; b.gens = append(b.gens, minted) })
		r.audit(g, Pending, why, start, err)
		if err != nil {
			return nil, err
		}
	}
	if g.State == Verified {
		return g, nil
	}
	err = r.prove(ctx, g)
	if err == nil {
		err = r.commit(func(b *book) { v := b.byID(g.ID); v.State, v.proved = Verified, true })
	}
	r.audit(g, Verified, why, start, err)
	return g, err
}

// prove stores a pending generation and has an Allocate with it succeed.
func (r *Rotator) prove(ctx context.Context, g *generation) error {
	if !g.stored {
		if err := r.put(ctx, g); err != nil {
			return err
		}
		r.edit(func(b *book) { b.byID(g.ID).stored = true })
	}
	err := r.verify(ctx, g)
	if errors.Is(err, ErrRefused) { // the row may not be where the server looks
		r.edit(func(b *book) { b.byID(g.ID).stored = false })
	}
	return err
}

// publish makes g the active generation and retires the one before it.
func (r *Rotator) publish(g *generation, why Why) error {
	now, lifetime := time.Now(), r.config().Lifetime
	old := r.active()
	err := r.commit(func(b *book) {
		if a := b.find(Active); a != nil {
			a.State = Retiring
		}
		v := b.byID(g.ID)
		v.State, v.seen, v.left = Active, now, lifetime
		v.Published = time.UnixMilli(now.UnixMilli())
		v.Expires = v.Published.Add(lifetime)
	})
	r.audit(g, Active, why, now, err)
	if err != nil {
		return err
	}
	if old != nil {
		r.audit(old, Retiring, why, now, nil)
	}
	r.changed()
	return nil
}

func (r *Rotator) put(ctx context.Context, g *generation) error {
	if err := bounded(ctx, func(ctx context.Context) error { return r.store.Put(ctx, g.Username, g.Password.Reveal()) }); err != nil {
		return fmt.Errorf("store generation %d: %w", g.ID, err)
	}
	return nil
}

func (r *Rotator) verify(ctx context.Context, g *generation) error {
	err := bounded(ctx, func(ctx context.Context) error { return r.verifier.Allocate(ctx, g.Username, g.Password.Reveal()) })
	if err != nil && !errors.Is(err, ErrFull) {
		return fmt.Errorf("prove generation %d: %w", g.ID, err)
	}
	return nil
}

// bounded makes one call of the store or the verifier. One that our own stop cut off
// has not failed: what it was for is on record and goes on at the next start.
func bounded(ctx context.Context, call func(context.Context) error) error {
	callCtx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := call(callCtx)
	if err != nil && ctx.Err() != nil {
		return ErrStopping
	}
	return err
}
