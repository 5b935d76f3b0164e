package fleet

import "time"

// silence is how long ZooKeeper may not have answered us before what a node has
// written meanwhile may be news to come, and its age says nothing.
const silence = 2 * time.Second

// age is how long a record has gone unchanged while we could have seen a change: on our
// own clock, which stands still while we hear nothing from ZooKeeper, and for one
// interval after, in which a node that was cut off as we were will write again.
type age struct {
	passed time.Duration
	grace  time.Duration
}

// advance passes the time between two answers of ZooKeeper, as far as it is after the
// last write.
func (a *age) advance(dt, written, interval time.Duration) {
	if dt > silence {
		a.grace = interval
		return
	}
	dt = min(dt, written)
	excused := min(a.grace, dt)
	a.grace -= excused
	a.passed += dt - excused
}

// overdue says whether three intervals have passed without a word.
func (a *age) overdue(interval time.Duration) bool { return a.passed >= 3*interval }
