package credential

import "time"

// The rules of time, pure. Each takes the wall clock's word (times) and the
// monotonic clock's word (durations), because only the first survives a restart
// and only the second survives an operator who sets the clock.

// expired says whether the promise made to holders is over. Both clocks must
// agree: a clock set forward must not cut a client off.
func expired(wallNow, expires time.Time, elapsed, left time.Duration) bool {
	return !wallNow.Before(expires) && elapsed >= left
}

// servable says whether a client may still be given the credential. Either
// clock may object: what is handed out must be good by both.
func servable(wallNow, expires time.Time, elapsed, left time.Duration) bool {
	return wallNow.Before(expires) && elapsed < left
}

// due says whether the successor of an active generation should be made now. A
// clock set back behind the publication makes it due, too: the expiry that
// clients are told would lie further ahead than a lifetime.
func due(wallNow, published time.Time, elapsed, after time.Duration) bool {
	return elapsed >= after || wallNow.Sub(published) >= after || wallNow.Before(published.Add(-clockTolerance))
}

// clockTolerance is how far the two clocks may drift apart before it is called a step.
const clockTolerance = 30 * time.Second

// A rotation begins lead before its time, with the successor proved and waiting, and
// the successor is published margin before it, so that what is handed out never has
// less than lifetime - rotate_every left, though a step is slow or has to be repeated.
func lead(rotateEvery time.Duration) time.Duration   { return min(rotateEvery/2, time.Minute) }
func margin(rotateEvery time.Duration) time.Duration { return min(rotateEvery/5, 5*time.Second) }

// skew is how much longer than promised a generation is kept, for clients whose
// clock is behind and requests that are under way.
func skew(lifetime time.Duration) time.Duration { return min(lifetime/10, time.Minute) }

// validity returns how long, from wallNow on, a generation read back from disk is
// good for. It is clamped, for a clock that was wrong when either was written.
func validity(wallNow, expires time.Time, lifetime time.Duration) time.Duration {
	return min(max(expires.Sub(wallNow), 0), lifetime)
}
