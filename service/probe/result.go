package probe

import (
	"errors"
	"reflect"
	"slices"
	"time"
)

// Result is the verdict on one run of the child; the zero value, no child. The
// first listener alone decides it, but for an open relay, which any can show.
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
	// Futile says that a restart would mend nothing: clients refuse the certificate, or
	// it is this process that is not run, and who cannot listen cannot tell.
	// FailAfter failures of which neither was so end that.
	Futile bool
	Others int // such failures, since the server was last seen to answer

	RTT time.Duration // of the last authenticated Allocate, 0 when that was told of 486 or 508

	// Answers are those of each listener, the deciding one first. They may not be changed.
	Answers []Answer
	// Misadvertised says how the relayed address that clients are told differs
	// from what the configuration says.
	Misadvertised string
}

// Answer is what one listener said in the last round that was judged.
type Answer struct {
	Transport Transport
	At        time.Time // zero: it has not been asked yet
	Outcomes  []Outcome // of the stages that were asked, in their order
	Failures  int       // rounds in a row in which a stage failed
	Failing   bool      // with the hysteresis of Serving
	Err       string    // why, kept after it is over

	Certificate Certificate // that TLS clients are shown
}

// Outcome is how a stage went.
type Outcome struct {
	Stage string
	OK    bool
}

// OK says whether every stage of the last round went well.
func (a Answer) OK() bool { return !a.At.IsZero() && a.Failures == 0 }

// newResult is the verdict on a run before its first round.
func newResult(t Target) Result {
	r := Result{PID: t.PID, Since: time.Now()}
	for _, l := range t.Listeners {
		r.Answers = append(r.Answers, Answer{Transport: l.Transport})
	}
	return r
}

// judge is the verdict after one more round.
func (r Result) judge(o round, failAfter int) Result {
	if o.foreign != nil {
		r.At, r.Foreign = o.at, o.foreign.Error()
		return r
	}
	r.Foreign = ""
	r.Answers = slices.Clone(r.Answers)
	for i, a := range r.Answers {
		if a.Transport == o.transport && !o.doubtful {
			r.Answers[i] = a.judge(o, failAfter)
		}
	}
	if errors.Is(o.err, ErrOpenRelay) {
		r.OpenRelay, r.Serving = true, false
	}
	if o.decides {
		r = r.decide(o, failAfter)
	}
	return r
}

func (r Result) decide(o round, failAfter int) Result {
	r.At = o.at
	if o.proved {
		r.Authenticated = true
		r.Full, r.FullCode = o.full != 0, o.full
		r.RTT = o.report.RTT
	}
	if o.report.Relayed.IsValid() {
		r.Misadvertised = text(o.misadvertised)
	}
	if o.err != nil {
		r.Failures++
		r.Serving = r.Serving && r.Failures < failAfter
		r.Err = o.err.Error()
		switch {
		case errors.Is(o.err, ErrUntrusted): // which is an answer
			r.Others = 0
		case !o.futile:
			r.Others++
		}
		r.Futile = o.futile || r.Futile && r.Others < failAfter
		if e, ok := errors.AsType[*Error](o.err); ok {
			r.Stage, r.Code = e.Stage, e.Code
		}
		return r
	}
	r.Failures, r.Others, r.Futile = 0, 0, false
	if o.partial { // it proves nothing new
		return r
	}
	r.Served = true
	r.Serving = !r.OpenRelay
	return r
}

func (a Answer) judge(o round, failAfter int) Answer {
	a.At = o.at
	a.Outcomes = nil
	if len(o.report.Steps) == 0 || o.report.Steps[0].Stage != StageResolve {
		a.Outcomes = []Outcome{{StageResolve, true}} // there was an address to ask
	}
	for _, s := range o.report.Steps {
		a.Outcomes = append(a.Outcomes, Outcome{s.Stage, s.Err == nil})
	}
	a.Certificate = o.report.Certificate()
	if err := o.report.Err(); err != nil {
		a.Failures++
		a.Failing = a.Failing || a.Failures >= failAfter
		a.Err = err.Error()
	} else {
		a.Failures, a.Failing = 0, false
	}
	return a
}

// news says whether next says something else than r, and not only later.
func (r Result) news(next Result) bool {
	return !reflect.DeepEqual(r.undated(), next.undated())
}

func (r Result) undated() Result {
	r.At, r.RTT = time.Time{}, 0
	r.Answers = slices.Clone(r.Answers)
	for i := range r.Answers {
		r.Answers[i].At = time.Time{}
	}
	return r
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
