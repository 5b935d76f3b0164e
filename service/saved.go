package service

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Saved is what the next image of this process needs of the node and its parts, beside
// what is in files.
type Saved struct {
	Supervisor  supervisor.Saved
	Probe       probe.Result
	Credentials credential.Saved
	Traffic     traffic.Saved
	Registry    registry.Saved
	Log         SavedLog
	Drain       *SavedDrain // nil: none is under way
	Present     bool        // the record may exist
	Draining    bool
	Emptying    bool
	Refusing    int64
	History     []Throughput
	Journal     []Line
}

// ErrBusy says that the node is at something that cannot be handed over.
var ErrBusy = errors.New("busy")

// SavedLog is what the child's log has told.
type SavedLog struct {
	Sessions            coturn.SavedSessions
	Suppressed, Dropped uint64
}

// Settle waits until what cannot be handed over is done, and tells of it.
func (n *Node) Settle(ctx context.Context, report func(Step)) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for ; ; <-tick.C {
		w := n.parts.Sweeper.first()
		if w == nil && n.parts.Supervisor.Child().State != supervisor.Starting {
			return nil
		}
		if w != nil {
			report(Step{Name: "quiet", Detail: "waits for the sweep after a revocation, until " + w.Until.Format(time.TimeOnly), Passing: true})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

const settleEvery = 100 * time.Millisecond

// Pause has no turnadmin and no probe run, no session swept, and no drain go on, until
// resume is called. It is ErrBusy while Settle would wait.
func (n *Node) Pause(ctx context.Context) (resume func(), err error) {
	var paused []func()
	resume = func() {
		for _, r := range slices.Backward(paused) {
			r()
		}
	}
	for _, pause := range []func(context.Context) (func(), error){n.parts.Credentials.Pause, n.parts.Prober.Pause, n.parts.Drainer.Pause} {
		r, err := pause(ctx)
		if err != nil {
			resume()
			return nil, err
		}
		paused = append(paused, r)
	}
	if n.parts.Sweeper.first() != nil || n.parts.Supervisor.Child().State == supervisor.Starting {
		resume()
		return nil, ErrBusy
	}
	return resume, nil
}

// Save returns what a successor needs.
func (n *Node) Save() Saved {
	s := Saved{
		Supervisor: n.parts.Supervisor.Save(), Probe: n.parts.Prober.Last(), Credentials: n.parts.Credentials.Save(),
		Traffic: n.parts.Meter.Save(), Log: n.parts.Log.save(), Drain: n.parts.Drainer.save(), Present: n.present.Load(),
		Draining: n.draining.Load(), Emptying: n.emptying.Load(), Refusing: n.refusing.Load(),
		History: n.history.all(), Journal: n.parts.Journal.Lines(),
	}
	if n.parts.Registrar != nil {
		s.Registry = n.parts.Registrar.Save()
	}
	return s
}

// Restore has the node and its parts go on where an earlier image stood, with the child
// that adopt returns. It is called before any of them runs.
func (n *Node) Restore(s Saved, adopt supervisor.Starter) {
	n.parts.Supervisor.Resume(s.Supervisor, adopt)
	n.parts.Prober.Resume(s.Probe)
	n.parts.Credentials.Resume(s.Credentials)
	n.parts.Meter.Resume(s.Traffic)
	if n.parts.Registrar != nil {
		n.parts.Registrar.Resume(s.Registry)
	}
	n.parts.Log.resume(s.Log)
	n.parts.Drainer.restore(s.Drain)
	n.done.probed(s.Probe.Answers) // whose failures were counted then
	n.serving.Store(s.Probe.Serving)
	n.present.Store(s.Present)
	n.draining.Store(s.Draining)
	n.emptying.Store(s.Emptying)
	n.refuses(int(s.Refusing))
	n.history.resume(s.History)
	n.parts.Journal.resume(s.Journal)
}

// first returns a sweep that is going on, nil without one.
func (s *Sweeper) first() *Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sweeps) == 0 {
		return nil
	}
	return s.sweeps[0]
}

// save returns what a successor needs, once the lines that are queued are written: a log
// that takes none must not keep it from that for long.
func (l *ChildLog) save() SavedLog {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); len(l.queue) > 0 && time.Since(began) < logFlush; {
		<-tick.C
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return SavedLog{Sessions: l.sessions.Save(), Suppressed: l.suppressed.Load(), Dropped: l.dropped.Load()}
}

const logFlush = 50 * time.Millisecond

func (l *ChildLog) resume(s SavedLog) {
	l.sessions.Resume(s.Sessions)
	l.suppressed.Store(s.Suppressed)
	l.dropped.Store(s.Dropped)
}

// resume begins with the points of an earlier image, of which the last is complete.
func (h *history) resume(points []Throughput) {
	if n := len(points); n > 0 {
		h.points, h.begun, h.taken = points, points[n-1].At.Add(-historyStep), 1
	}
}

func (j *Journal) resume(lines []Line) {
	if j != nil {
		j.kept.lines = lines
	}
}
