package service

import (
	"sync"
	"time"
)

// drain is one drain, from the request to its end.
type drain struct {
	asked time.Time

	mu       sync.Mutex
	by       string
	request  DrainRequest
	phase    DrainPhase
	unlisted time.Time
	deadline time.Time // zero = none, or not yet
	before   []string  // whose turn it is
	turn     bool
	refusing int // pid of the child that takes no new call
	resumed  bool
	stopping bool // a signal ends turnwarden, which nothing undoes
	steps    []Step
	err      error
	news     chan struct{} // closed, and replaced, at every change
}

func newDrain(r DrainRequest, by string) *drain {
	return &drain{asked: time.Now(), by: by, request: r, phase: DrainQueued, turn: r.NoLock, news: make(chan struct{})}
}

// change edits the drain and wakes those who follow it.
func (d *drain) change(edit func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	edit()
	close(d.news)
	d.news = make(chan struct{})
}

func (d *drain) did(s Step) { d.change(func() { d.steps = append(d.steps, s) }) }

// join takes another request, unless the drain is over: the earlier deadline counts,
// and who came last says what follows.
func (d *drain) join(r DrainRequest, by string) (joined bool, err error) {
	d.change(func() {
		switch {
		case d.phase == drainOver:
			return
		case r.Then != ThenStop && (d.stopping || d.phase == drainStopping):
			err = errStopping
			return
		}
		joined = true
		d.by = by
		d.request.Then, d.request.Limit = r.Then, min(d.request.Limit, r.Limit)
		d.turn = d.turn || r.NoLock
		if d.phase == DrainHeld {
			d.err = nil // that is over, and was told
		} else if !d.unlisted.IsZero() {
			d.limit(time.Now().Add(r.Limit))
		}
	})
	return joined, err
}

// limit sets the deadline, unless there is an earlier one.
func (d *drain) limit(deadline time.Time) {
	if d.deadline.IsZero() || deadline.Before(d.deadline) {
		d.deadline = deadline
	}
}

// resume has the drain end without its consequence, and says what cannot be undone.
func (d *drain) resume(by string) (s Step, from int, err error) {
	d.change(func() {
		s.Name = "resume"
		from = len(d.steps)
		switch {
		case d.stopping || d.phase == drainStopping:
			err = errStopping
		case d.phase == DrainEnding && d.refusing != 0:
			d.request.Then, d.deadline = ThenRestart, time.Time{}
			s.Detail = "no call is cut; but turnserver has been told to take no new one and cannot be told otherwise, so it is started anew when they have ended"
		default:
			d.resumed, d.err = true, nil
			s.Detail = "the drain by " + d.by + " ends; what has ended with it stays so"
		}
		d.by = by
	})
	return s, from, err
}

func (d *drain) status() DrainStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return DrainStatus{Phase: d.phase, Then: d.request.Then, Since: d.unlisted, Deadline: d.deadline}
}

// since returns the steps from the given one on, what is closed when there are news,
// whether there will be none, and what came of it.
func (d *drain) since(from int) (steps []Step, news <-chan struct{}, over bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	over = d.phase == drainOver || d.phase == drainStopping || d.phase == DrainHeld && d.request.Then == ThenHold && !d.resumed
	return d.steps[from:], d.news, over, d.err
}
