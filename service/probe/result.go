package probe

import (
	"errors"
	"time"
)

// Result is the verdict on one run of the child; the zero value, no child.
type Result struct {
	PID   int
	Since time.Time // when the probing of this run began
	At    time.Time // the last round that was judged

	Serving       bool // with hysteresis: only FailAfter failures in a row end it
	Served        bool // has been serving at least once; false = still starting
	Authenticated bool // a credential has been proved at least once
	OpenRelay     bool // a stranger was served; sticks for the run

	Full     bool // what the last Allocate was told: 486 or 508
	FullCode int

	// Foreign says who else owns the listening port. While it does, nobody knows
	// who answers, so that the rest of the verdict stands still.
	Foreign string

	Failures int    // in a row, up to now
	Stage    string // of the last failure, kept after it is over
	Code     int
	Err      string

	RTT time.Duration // of the last authenticated Allocate, 0 when that was told of 486 or 508
}

// judge is the verdict after one more round.
func (r Result) judge(o round, failAfter int) Result {
	r.At = o.at
	r.Foreign = ""
	if o.foreign != nil {
		r.Foreign = o.foreign.Error()
		return r
	}
	if o.proved {
		r.Authenticated = true
		r.Full, r.FullCode = o.full != 0, o.full
		r.RTT = o.rtt
	}
	if o.err != nil {
		r.Failures++
		r.OpenRelay = r.OpenRelay || errors.Is(o.err, ErrOpenRelay)
		r.Serving = r.Serving && r.Failures < failAfter && !r.OpenRelay
		r.Err = o.err.Error()
		if e, ok := errors.AsType[*Error](o.err); ok {
			r.Stage, r.Code = e.Stage, e.Code
		}
		return r
	}
	r.Failures = 0
	r.Served = true
	r.Serving = !r.OpenRelay
	return r
}
