package drain

import (
	"context"
	"errors"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// Saved is what the next image of this process needs to go on with a drain.
type Saved struct {
	Asked, Unlisted, Deadline time.Time
	By                        string
	Request                   service.DrainRequest
	Phase                     service.DrainPhase
	Turn, Resumed             bool
	Refusing                  int
	Steps                     []SavedStep
	Err                       string
	Cut                       int // calls, where that is the error

	Quiet, Published time.Time
	Open             int
	Ended            bool
	Replaced         int
}

// SavedStep is a step that was told to those who follow the drain.
type SavedStep struct {
	Name, Detail string
	Took         time.Duration
	Err          string
}

// Pause returns once no drain is being looked at, and keeps it so until resume is called.
func (dr *Drainer) Pause(ctx context.Context) (resume func(), err error) {
	resumed := make(chan struct{})
	select {
	case dr.pause <- resumed:
		return func() { close(resumed) }, nil
	case <-dr.ended:
		return nil, errStopping
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pauseUntil is what those do who are asked to pause.
func pauseUntil(ctx context.Context, resumed <-chan struct{}) {
	select {
	case <-resumed:
	case <-ctx.Done():
	}
}

// Save returns the drain that is under way, nil for none. It is called in a pause.
func (dr *Drainer) Save() *Saved {
	dr.mu.Lock()
	d, r := dr.current, dr.run
	dr.mu.Unlock()
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &Saved{
		Asked: d.asked, Unlisted: d.unlisted, Deadline: d.deadline, By: d.by, Request: d.request, Phase: d.phase,
		Turn: d.turn, Resumed: d.resumed, Refusing: d.refusing, Err: message(d.err), Quiet: d.asked,
	}
	if cut, ok := errors.AsType[*service.CutError](d.err); ok {
		s.Cut = cut.Calls
	}
	for _, step := range d.steps {
		s.Steps = append(s.Steps, SavedStep{step.Name, step.Detail, step.Took, message(step.Err)})
	}
	if r != nil && r.d == d {
		s.Quiet, s.Published, s.Open, s.Ended, s.Replaced = r.quiet, r.published, r.open, r.ended, r.replaced
	}
	return s
}

// Restore has Run go on with a drain.
func (dr *Drainer) Restore(s *Saved) {
	if s == nil {
		return
	}
	d := newDrain(s.Request, s.By)
	d.asked, d.unlisted, d.deadline, d.phase = s.Asked, s.Unlisted, s.Deadline, s.Phase
	d.turn, d.resumed, d.refusing, d.err = s.Turn, s.Resumed, s.Refusing, failure(s.Err)
	if s.Cut > 0 {
		d.err = &service.CutError{Calls: s.Cut}
	}
	for _, step := range s.Steps {
		d.steps = append(d.steps, service.Step{Name: step.Name, Detail: step.Detail, Took: step.Took, Err: failure(step.Err)})
	}
	dr.run = &run{
		Drainer: dr, d: d, quiet: s.Quiet, published: s.Published, open: s.Open, ended: s.Ended, replaced: s.Replaced,
	}
	dr.current = d
	dr.requests <- d
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func failure(message string) error {
	if message == "" {
		return nil
	}
	return errors.New(message)
}
