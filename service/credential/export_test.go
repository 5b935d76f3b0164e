package credential

import "time"

// The names below let the tests of package credential_test look at time as the
// package does.

// ReconcileEvery and StepTimeout bound how long healing takes.
const (
	ReconcileEvery = reconcileEvery
	StepTimeout    = stepTimeout
)

// Skew is how much longer than promised a user is kept.
func Skew(lifetime time.Duration) time.Duration { return skew(lifetime) }

// WithoutJitter makes the schedule of r a function of its inputs, so that a
// failing one can be replayed from its seed.
func (r *Rotator) WithoutJitter() {
	r.retry.RandomizationFactor, r.cleanRetry.RandomizationFactor = 0, 0
}

// SetClock makes it look to r as if the wall clock had been set forward by d
// while the monotonic clock went on: the wall-clock times on record move back.
// Times inside a synctest bubble have no monotonic reading, so the field seen,
// which is left alone, takes its part.
func (r *Rotator) SetClock(d time.Duration) {
	r.edit(func(b *book) {
		for i := range b.gens {
			if g := &b.gens[i]; !g.Expires.IsZero() {
				g.Published, g.Expires = g.Published.Add(-d), g.Expires.Add(-d)
			}
		}
	})
}

// SetClock does the same to what is on disk.
func (f *File) SetClock(cfg Config, d time.Duration) error {
	s, err := f.load(cfg.Realm)
	if err != nil {
		return err
	}
	for i := range s.Generations {
		if g := &s.Generations[i]; g.ExpiresMS != 0 {
			g.PublishedMS, g.ExpiresMS = g.PublishedMS-d.Milliseconds(), g.ExpiresMS-d.Milliseconds()
		}
	}
	if s.KeepUntilMS != 0 {
		s.KeepUntilMS -= d.Milliseconds()
	}
	return f.save(s)
}

// Lead is how long before its time a rotation begins.
func Lead(rotateEvery time.Duration) time.Duration { return lead(rotateEvery) }
