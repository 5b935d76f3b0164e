package drain

import (
	"sync"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// drain is one drain, from the request to its end.
type drain struct {
	asked time.Time

	mu       sync.Mutex
	by       string
	request  service.DrainRequest
	phase    service.DrainPhase
	unlisted time.Time
	deadline time.Time // zero = none, or not yet
	before   []string  // whose turn it is
	turn     bool
	refusing int // pid of the child that takes no new call
	resumed  bool
	stopping bool // a signal ends turnwarden, which nothing undoes
	steps    []service.Step
	err      error
	news     chan struct{} // closed, and replaced, at every change
}

func newDrain(r service.DrainRequest, by string) *drain {
	return &drain{asked: time.Now(), by: by, request: r, phase: service.DrainQueued, turn: r.NoLock, news: make(chan struct{})}
}

// change edits the drain and wakes those who follow it.
func (d *drain) change(edit func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	edit()
	close(d.news)
	d.news = make(chan struct{})
}

func (d *drain) did(s service.Step) { d.change(func() { d.steps = append(d.steps, s) }) }

// join takes another request, unless the drain is over: the earlier deadline counts,
// and who came last says what follows.
func (d *drain) join(r service.DrainRequest, by string) (joined bool, err error) {
	d.change(func() {
		switch {
		case d.phase == service.DrainOver:
			return
		case r.Then != service.ThenStop && (d.stopping || d.phase == service.DrainStopping):
			err = errStopping
			return
		}
		joined = true
		d.by = by
		d.request.Then, d.request.Limit = r.Then, min(d.request.Limit, r.Limit)
		d.turn = d.turn || r.NoLock
		if d.phase == service.DrainHeld {
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
func (d *drain) resume(by string) (s service.Step, from int, err error) {
	d.change(func() {
		s.Name = "resume"
		from = len(d.steps)
		switch {
		case d.stopping || d.phase == service.DrainStopping:
			err = errStopping
		case d.phase == service.DrainEnding && d.refusing != 0:
			d.request.Then, d.deadline = service.ThenRestart, time.Time{}
			s.Detail = "no call is cut; but turnserver has been told to take no new one and cannot be told otherwise, so it is started anew when they have ended"
		default:
			d.resumed, d.err = true, nil
			s.Detail = "the drain by " + d.by + " ends; what has ended with it stays so"
		}
		d.by = by
	})
	return s, from, err
}

func (d *drain) status() service.DrainStatus {
	d.mu.Lock()
	defer d.mu.Unlock()
	return service.DrainStatus{Phase: d.phase, Then: d.request.Then, Since: d.unlisted, Deadline: d.deadline}
}

// since returns the steps from the given one on, what is closed when there are news,
// whether there will be none, and what came of it.
func (d *drain) since(from int) (steps []service.Step, news <-chan struct{}, over bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	over = d.phase == service.DrainOver || d.phase == service.DrainStopping || d.phase == service.DrainHeld && d.request.Then == service.ThenHold && !d.resumed
	return d.steps[from:], d.news, over, d.err
}
