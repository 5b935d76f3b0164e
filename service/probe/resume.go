package probe

import (
	"context"
	"slices"
)

// Pause returns once no round is under way, whose allocation would outlive us, and keeps
// it so until resume is called.
func (p *Prober) Pause(ctx context.Context) (resume func(), err error) {
	resumed := make(chan struct{})
	select {
	case p.pause <- resumed:
		return func() { close(resumed) }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Save returns what a successor needs.
func (p *Prober) Save() Result { return p.Last() }

// Restore has Run begin with the verdict of an earlier image of this process, if it is on
// the child that runs. It is called before Run.
func (p *Prober) Restore(r Result) { p.last, p.misadvertised = r, r.Misadvertised }

// align gives the verdict an answer for each listener: another version of us may probe
// others.
func (p *Prober) align(t Target) {
	r, now := p.Last(), newResult(t)
	if slices.EqualFunc(r.Answers, now.Answers, func(a, b Answer) bool { return a.Transport == b.Transport }) {
		return
	}
	for i, a := range now.Answers {
		if j := slices.IndexFunc(r.Answers, func(b Answer) bool { return a.Transport == b.Transport }); j >= 0 {
			now.Answers[i] = r.Answers[j]
		}
	}
	r.Answers = now.Answers
	p.set(r)
}
