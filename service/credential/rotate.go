package credential

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// prepare takes a successor through its states until it is proved. It may be called
// again after a failure, and goes on where it stopped.
func (r *Rotator) prepare(ctx context.Context) (*generation, error) {
	start := time.Now()
	g := r.inState(Verified)
	if g == nil {
		g = r.inState(Pending)
	}
	if g == nil {
		minted := mint(r.cfg.Node, r.snapshot().next)
		if err := r.commit(func(b *book) { b.next++; b.gens = append(b.gens, minted) }); err != nil {
			return nil, err
		}
		g = &minted
		r.audit(g, "rotation", Pending, start)
	}
	if g.State == Pending {
		if !g.stored {
			if err := r.put(ctx, g); err != nil {
				return nil, err
			}
			r.edit(func(b *book) { b.byID(g.ID).stored = true })
		}
		if err := r.verify(ctx, g); err != nil {
			// A refusal may mean that the row is not where the server looks.
			r.edit(func(b *book) { b.byID(g.ID).stored = !errors.Is(err, ErrRefused) })
			return nil, err
		}
		if err := r.commit(func(b *book) { v := b.byID(g.ID); v.State, v.proved = Verified, true }); err != nil {
			return nil, err
		}
		r.audit(g, "rotation", Verified, start)
	}
	return g, nil
}

// publish makes g the active generation and retires the one before it.
func (r *Rotator) publish(g *generation) error {
	now := time.Now()
	old := r.active()
	err := r.commit(func(b *book) {
		if a := b.find(Active); a != nil {
			a.State = Retiring
		}
		v := b.byID(g.ID)
		v.State, v.seen, v.left = Active, now, r.cfg.Lifetime
		v.Published = time.UnixMilli(now.UnixMilli())
		v.Expires = v.Published.Add(r.cfg.Lifetime)
	})
	if err != nil {
		return err
	}
	r.audit(g, "rotation", Active, now)
	if old != nil {
		r.audit(old, "rotation", Retiring, now)
	}
	r.changed()
	return nil
}

func (r *Rotator) put(ctx context.Context, g *generation) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	if err := r.store.Put(ctx, g.Username, g.Password.Reveal()); err != nil {
		return fmt.Errorf("store generation %d: %w", g.ID, err)
	}
	return nil
}

func (r *Rotator) verify(ctx context.Context, g *generation) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := r.verifier.Allocate(ctx, g.Username, g.Password.Reveal())
	if err != nil && !errors.Is(err, ErrFull) {
		return fmt.Errorf("prove generation %d: %w", g.ID, err)
	}
	return nil
}
