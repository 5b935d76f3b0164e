package credential_test

import (
	"fmt"
	"slices"

	"github.com/turnwarden/turnwarden/service/credential"
)

// rotation is a request for one, and its answer once answered is closed.
type rotation struct {
	answered   chan struct{}
	generation uint64
	err        error
}

func (a *rotation) open() bool {
	select {
	case <-a.answered:
		return false
	default:
		return true
	}
}

// broke notes the first thing that went wrong.
func (w *world) broke(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken == nil {
		w.broken = err
	}
}

// askRotate is an operator who asks for a rotation, and looks at the answer: the
// same as that of the request that was under way.
func (w *world) askRotate() {
	r, alive, first := w.rotator(), w.alive, w.rotation
	a := &rotation{answered: make(chan struct{})}
	if first == nil || !first.open() {
		w.rotation, first = a, a
	}
	var before uint64
	for _, g := range r.Status().Generations {
		if g.State == credential.Active {
			before = g.ID
		}
	}
	go func() {
		var done credential.Rotation
		done, a.err = r.Rotate(alive, "operator")
		a.generation = done.Generation
		close(a.answered)
		<-first.answered
		switch {
		case w.rotator() != r || alive.Err() != nil: // there is nobody to answer
		case a.generation != first.generation || (a.err == nil) != (first.err == nil):
			w.broke(fmt.Errorf("invariant 7: who joined got generation %d (%v), the first %d (%v)", a.generation, a.err, first.generation, first.err))
		case a.err == nil && a.generation <= before:
			w.broke(fmt.Errorf("invariant 7: a rotation from generation %d gave %d", before, a.generation))
		}
	}()
}

// askRevoke is an operator who revokes a generation in the state, or "all", or one
// that is not on record, and looks at the answer.
func (w *world) askRevoke(state credential.State) {
	r, alive, id := w.rotator(), w.alive, uint64(0)
	if state != "all" {
		id = 1 << 40
		for _, g := range r.Status().Generations {
			if g.State == state {
				id = g.ID
			}
		}
	}
	w.mu.Lock()
	w.asked[id] = true
	w.mu.Unlock()
	go func() {
		var steps []credential.Step
		usernames, err := r.Revoke(alive, id, "operator", func(s credential.Step) { steps = append(steps, s) })
		if w.rotator() == r {
			w.broke(w.judge(usernames, steps, err))
		}
	}()
}

// judge says what is wrong with an answer to a request to revoke.
func (w *world) judge(usernames []string, steps []credential.Step, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	failed := slices.ContainsFunc(steps, func(s credential.Step) bool { return s.Err != nil })
	if err == nil && (failed || len(usernames) == 0) {
		return fmt.Errorf("invariant 10: a revocation of %d users is called done after %v", len(usernames), steps)
	}
	for _, user := range usernames {
		if !w.revoked[user] {
			return fmt.Errorf("invariant 10: %s is called revoked and was not", user)
		}
		if err == nil && w.users[user] != "" {
			return fmt.Errorf("invariant 10: %s is called revoked and is still there", user)
		}
	}
	return nil
}
