package credential

import (
	"context"
	"time"
)

// Saved is what the state file does not tell the next image of this process: the child is
// the same, so that what it has proved stands.
type Saved struct {
	Generations []SavedGeneration
	KeepUnknown time.Duration // how much longer users that are not on record are kept
	Failure     string
}

// SavedGeneration is what one image knows of a generation.
type SavedGeneration struct {
	ID      uint64
	State   State // a successor that waits to be published is not given up, as after a crash
	Proved  bool
	Stored  bool
	Fetched bool
	Left    time.Duration // validity left by the monotonic clock
}

// Pause returns once no step is under way, so that neither turnadmin nor sqlite3 runs, and
// keeps it so until resume is called.
func (r *Rotator) Pause(ctx context.Context) (resume func(), err error) {
	resumed := make(chan struct{})
	task := func(ctx context.Context) {
		select {
		case <-resumed:
		case <-ctx.Done():
		}
	}
	select {
	case r.tasks <- task:
		return func() { close(resumed) }, nil
	case <-r.ended:
		return nil, ErrStopping
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Save returns what a successor needs.
func (r *Rotator) Save() Saved {
	now := time.Now()
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Saved{KeepUnknown: r.book.keepUnknown.Sub(now), Failure: r.failure}
	for _, g := range r.book.gens {
		s.Generations = append(s.Generations, SavedGeneration{
			ID: g.ID, State: g.State, Proved: g.proved, Stored: g.stored, Fetched: g.fetched.Load(), Left: g.left - now.Sub(g.seen),
		})
	}
	return s
}

// Restore has the rotator go on where an earlier image stood. It is called before Run.
func (r *Rotator) Restore(s Saved) {
	now := time.Now()
	r.edit(func(b *book) {
		if !b.keepUnknown.IsZero() {
			b.keepUnknown = now.Add(s.KeepUnknown)
		}
		for _, saved := range s.Generations {
			if g := b.byID(saved.ID); g != nil {
				g.State, g.proved, g.stored = saved.State, saved.Proved, saved.Stored
				g.fetched.Store(saved.Fetched)
				g.seen, g.left = now, saved.Left
			}
		}
	})
	r.failure = s.Failure
}
