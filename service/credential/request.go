package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrStopping says that no request is taken any more.
var ErrStopping = errors.New("turnwarden is stopping")

// Rotation is what a rotation did: it proved a successor, and published it.
type Rotation struct {
	Generation uint64
	Steps      []Step
}

// rotated is the outcome of one rotation, for all who asked for it.
type rotated struct {
	Rotation
	err error
}

// Rotate publishes a successor now. Who asks while a requested rotation is under way
// joins it.
func (r *Rotator) Rotate(ctx context.Context, by string) (Rotation, error) {
	outcome := make(chan rotated, 1)
	r.mu.Lock()
	r.joined = append(r.joined, outcome)
	first := len(r.joined) == 1
	r.mu.Unlock()
	if first {
		// In a goroutine: those who join must not depend on this caller's patience.
		go r.run(func(ctx context.Context) {
			done, err := r.succeed(ctx, Why{"request", by})
			r.leave(rotated{done, err})
		})
	}
	select {
	case o := <-outcome:
		return o.Rotation, o.err
	case <-ctx.Done():
		return Rotation{}, fmt.Errorf("rotate: %w; it goes on", context.Cause(ctx))
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
func (r *Rotator) succeed(ctx context.Context, why Why) (done Rotation, err error) {
	start := time.Now()
	g, err := r.prepare(ctx, why)
	done.Steps = append(done.Steps, Step{Name: "prove", Generation: id(g), Took: time.Since(start), Err: err})
	if err == nil {
		start = time.Now()
		err = r.publish(g, why)
		done.Steps = append(done.Steps, Step{Name: "publish", Generation: g.ID, Took: time.Since(start), Err: err})
	}
	if r.attempted(err); err == nil {
		done.Generation = g.ID
	}
	return done, err
}

// id is the number of a generation, 0 if it did not come about.
func id(g *generation) uint64 {
	if g == nil {
		return 0
	}
	return g.ID
}

// Step is one thing that was done, or could not be.
type Step struct {
	Name       string // prove, publish; of a revocation successor, delete, refused; of an import record, store
	Generation uint64 // 0 for a user that is none of ours
	User       string // that one
	Took       time.Duration
	Err        error
}

// Revoke takes the generation, or all for 0, out of use at once, whatever was promised
// to those who hold it. A successor is published first where the active one is
// concerned, so that nobody is left without. What was done is told to report, step by
// step and from the goroutine that rotates; the error is the first that could not be. The usernames returned are those
// whose running sessions are still to be ended: coturn keeps the key of a session.
func (r *Rotator) Revoke(ctx context.Context, id uint64, by string, report func(Step)) (usernames []string, err error) {
	if doErr := r.do(ctx, func(ctx context.Context) {
		usernames, err = r.revoke(ctx, id, Why{"revoke", by}, report)
	}); doErr != nil {
		return nil, doErr
	}
	return usernames, err
}

// do has Run's goroutine do the task, and waits for all of it: half a revocation is
// none, and each step is bounded.
func (r *Rotator) do(ctx context.Context, task func(context.Context)) error {
	done := make(chan struct{})
	select {
	case r.tasks <- func(ctx context.Context) { defer close(done); task(ctx) }:
		<-done
		return nil
	case <-r.ended:
		return ErrStopping
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Rotator) revoke(ctx context.Context, id uint64, why Why, report func(Step)) (usernames []string, err error) {
	step := func(name string, about uint64, start time.Time, stepErr error) {
		report(Step{Name: name, Generation: about, Took: time.Since(start), Err: stepErr})
		if err == nil {
			err = stepErr
		}
	}
	var waiting, given []generation
	active := false
	for _, g := range r.snapshot().gens {
		switch {
		case id != 0 && g.ID != id:
		case g.State == Pending, g.State == Verified:
			waiting = append(waiting, g)
		default:
			given = append(given, g)
			active = active || g.State == Active
		}
	}
	if len(waiting)+len(given) == 0 {
		return nil, fmt.Errorf("no generation %d is on record; turnwarden's status lists those that are", id)
	}
	// First, for a successor that waits is as compromised as the rest of the record.
	if err := r.mark(waiting, why); err != nil {
		return nil, err
	}
	if active {
		start := time.Now()
		successor, err := r.succeed(ctx, why)
		if step("successor", successor.Generation, start, err); err != nil {
			return nil, fmt.Errorf("nothing that was handed out is revoked, for there is no successor: %w", err)
		}
	}
	if err := r.mark(given, why); err != nil {
		return nil, err
	}
	chosen := slices.Concat(given, waiting)
	for i := range chosen {
		start := time.Now()
		usernames = append(usernames, chosen[i].Username)
		step("delete", chosen[i].ID, start, r.delete(ctx, &chosen[i], why))
	}
	// After the last delete, for a server that hangs takes its time with each proof.
	for i := range chosen {
		start := time.Now()
		step("refused", chosen[i].ID, start, r.refused(ctx, &chosen[i]))
	}
	return usernames, err
}

// mark puts on record that generations are compromised, before anything is taken away.
func (r *Rotator) mark(gens []generation, why Why) error {
	if len(gens) == 0 {
		return nil
	}
	start := time.Now()
	err := r.commit(func(b *book) {
		for _, g := range gens {
			b.byID(g.ID).State = Revoked
		}
	})
	for i := range gens {
		r.audit(&gens[i], Revoked, why, start, err)
	}
	return err
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
