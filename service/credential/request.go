package credential

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStopping says that no request is taken any more.
var ErrStopping = errors.New("turnwarden is stopping")

// rotated is the outcome of one rotation, for all who asked for it.
type rotated struct {
	generation uint64
	err        error
}

// Rotate publishes a successor now and returns its number. Who asks while a requested
// rotation is under way joins it.
func (r *Rotator) Rotate(ctx context.Context, by string) (generation uint64, err error) {
	outcome := make(chan rotated, 1)
	r.mu.Lock()
	r.joined = append(r.joined, outcome)
	first := len(r.joined) == 1
	r.mu.Unlock()
	if first {
		// In a goroutine: those who join must not depend on this caller's patience.
		go r.run(func(ctx context.Context) {
			generation, err := r.succeed(ctx, Why{"request", by})
			r.leave(rotated{generation, err})
		})
	}
	select {
	case o := <-outcome:
		return o.generation, o.err
	case <-ctx.Done():
		return 0, fmt.Errorf("rotate: %w; it goes on", ctx.Err())
	}
}

// run has Run's goroutine, which alone takes steps, do the task.
func (r *Rotator) run(task func(context.Context)) {
	select {
	case r.tasks <- task:
	case <-r.ended:
		r.leave(rotated{err: ErrStopping})
	}
}

// leave tells the outcome to all who have joined.
func (r *Rotator) leave(o rotated) {
	r.mu.Lock()
	joined := r.joined
	r.joined = nil
	r.mu.Unlock()
	for _, j := range joined {
		j <- o
	}
}

// succeed makes and publishes a successor, whatever the age of the active one.
func (r *Rotator) succeed(ctx context.Context, why Why) (uint64, error) {
	g, err := r.prepare(ctx, why)
	if err == nil {
		err = r.publish(g, why)
	}
	if r.attempted(err); err != nil {
		return 0, err
	}
	return g.ID, nil
}

// Step is one thing that a revocation did, or could not do.
type Step struct {
	Name       string // successor, delete, refused
	Generation uint64
	Took       time.Duration
	Err        error
}

// Revoke takes the generation, or all for 0, out of use at once, whatever was promised
// to those who hold it. A successor is published first where the active one is
// concerned, so that nobody is left without. What was done is told to report, step by
// step; the error is the first that could not be. The usernames returned are those
// whose running sessions are still to be ended: coturn keeps the key of a session.
func (r *Rotator) Revoke(ctx context.Context, id uint64, by string, report func(Step)) (usernames []string, err error) {
	done := make(chan struct{})
	task := func(ctx context.Context) {
		defer close(done)
		usernames, err = r.revoke(ctx, id, Why{"revoke", by}, report)
	}
	select {
	case r.tasks <- task:
		<-done // half a revocation is none; each of its steps is bounded
		return usernames, err
	case <-r.ended:
		return nil, ErrStopping
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (r *Rotator) revoke(ctx context.Context, id uint64, why Why, report func(Step)) (usernames []string, err error) {
	step := func(name string, about uint64, start time.Time, stepErr error) {
		report(Step{name, about, time.Since(start), stepErr})
		if err == nil {
			err = stepErr
		}
	}
	compromised := func(g *generation) bool { return id == 0 || g.ID == id }
	var chosen []generation
	active := false
	for _, g := range r.snapshot().gens {
		if compromised(&g) {
			chosen = append(chosen, g)
			active = active || g.State == Active
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no generation %d is on record; turnwarden's status lists those that are", id)
	}
	if active {
		start := time.Now()
		// A successor that waits is as compromised as the rest of the record.
		if err := r.commit(func(b *book) {
			for i := range b.gens {
				if g := &b.gens[i]; compromised(g) && (g.State == Pending || g.State == Verified) {
					g.State = Revoked
				}
			}
		}); err != nil {
			return nil, err
		}
		successor, err := r.succeed(ctx, why)
		if step("successor", successor, start, err); err != nil {
			return nil, fmt.Errorf("nothing is revoked, for there is no successor to hand out: %w", err)
		}
	}
	start := time.Now()
	commitErr := r.commit(func(b *book) {
		for _, g := range chosen {
			b.byID(g.ID).State = Revoked
		}
	})
	for i := range chosen {
		r.audit(&chosen[i], Revoked, why, start, commitErr)
	}
	if commitErr != nil {
		return nil, commitErr
	}
	for i := range chosen {
		g := &chosen[i]
		usernames = append(usernames, g.Username)
		start := time.Now()
		step("delete", g.ID, start, r.delete(ctx, g, why))
		start = time.Now()
		step("refused", g.ID, start, r.refused(ctx, g))
	}
	return usernames, err
}

// refused proves that a generation is dead: by the server's word, not the store's.
func (r *Rotator) refused(ctx context.Context, g *generation) error {
	err := r.verify(ctx, g)
	switch {
	case errors.Is(err, ErrRefused):
		return nil
	case err == nil:
		return fmt.Errorf("generation %d is still accepted", g.ID)
	}
	return err
}
