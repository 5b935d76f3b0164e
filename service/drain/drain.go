package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

// Config says how a node is drained.
type Config struct {
	Limit          time.Duration // of a drain at SIGTERM; 0 = none
	Notice         time.Duration // how long readers of the record may take to notice
	SessionTimeout time.Duration // after which a record that cannot be written is gone
	Hurry          <-chan struct{}
}

// Lock is the turn to drain, of which the fleet has few. Try names those who have it
// while we have not.
type Lock interface {
	Try() (before []string, err error)
	Release() error
}

// Stage reads what turnserver is to be started with from its next start on, and says why
// that cannot be: all stays as it was then.
type Stage func(ctx context.Context, report func(service.Step)) error

// Node is what is emptied.
type Node interface {
	Status() service.Status
	Away(away bool) // has new calls kept away, or ends that
	// Calls counts the calls, and those that may be a probe's own, by all there is to ask.
	// It is to be quick once hurry is closed.
	Calls(hurry <-chan struct{}) (open, young int)
}

// Child is the turnserver of the node.
type Child interface {
	// RefuseCalls has it take no new call, and returns its pid, 0 where it cannot be told.
	RefuseCalls() (pid int, s service.Step)
	EndChild()   // until RenewChild, or until calls are not kept away any more
	RenewChild() // has it started anew, and replaced if it does not serve
}

// Parts are what a drain has to do with.
type Parts struct {
	Node  Node
	Child Child
	Lock  Lock  // nil = the node has no fleet
	Stage Stage // nil = whatever a child is started with stays the same
}

// Drainer empties the node, one drain at a time. What is asked of it goes on when
// whoever has asked is gone.
type Drainer struct {
	Parts
	cfg      atomic.Pointer[Config]
	logger   *slog.Logger
	requests chan *drain
	pause    chan chan struct{}
	ended    chan struct{} // closed when Run has returned

	mu      sync.Mutex
	current *drain // nil = none
	run     *run   // of the last drain that was begun; what is in it is the drain's goroutine's
}

// New returns a drainer that begins with Run.
func New(cfg Config, p Parts, logger *slog.Logger) *Drainer {
	dr := &Drainer{Parts: p, logger: logger, requests: make(chan *drain, 1), pause: make(chan chan struct{}), ended: make(chan struct{})}
	dr.cfg.Store(&cfg)
	return dr
}

// Configure changes how the node is drained, also by the drain under way.
func (dr *Drainer) Configure(c Config) { dr.cfg.Store(&c) }

func (dr *Drainer) config() *Config { return dr.cfg.Load() }

// Run drains when it is asked to. It returns when a drain was the last thing that
// turnwarden had to do, and when ctx ends: by then the node is empty, or its time is up.
func (dr *Drainer) Run(ctx context.Context) error {
	defer close(dr.ended)
	for {
		select {
		case d := <-dr.requests:
			if dr.drain(ctx, d) {
				return nil
			}
		case resumed := <-dr.pause:
			pauseUntil(ctx, resumed)
		case <-ctx.Done():
			if dr.config().Limit == 0 {
				return nil
			}
			d, _, err := dr.begin(service.DrainRequest{Limit: dr.config().Limit, Then: service.ThenStop, NoLock: true}, "a signal")
			if err == nil {
				dr.drain(ctx, d)
			}
			return err
		}
	}
}

// begin makes a drain, or has the one under way take the request.
func (dr *Drainer) begin(r service.DrainRequest, by string) (d *drain, joined bool, err error) {
	select {
	case <-dr.ended:
		return nil, false, errStopping
	default:
	}
	dr.mu.Lock()
	defer dr.mu.Unlock()
	if dr.current != nil {
		if joined, err := dr.current.join(r, by); joined || err != nil {
			return dr.current, joined, err
		}
	}
	dr.current = newDrain(r, by)
	dr.requests <- dr.current // it holds one, and there is but one
	return dr.current, false, nil
}

var errStopping = errors.New("turnwarden is stopping")

// Status returns where the drain stands.
func (dr *Drainer) Status() service.DrainStatus {
	dr.mu.Lock()
	d := dr.current
	dr.mu.Unlock()
	if d == nil {
		return service.DrainStatus{}
	}
	s := d.status()
	if s.Phase == service.DrainOver {
		return service.DrainStatus{}
	}
	return s
}

// Drain empties the node and does what is to follow. It returns when that is done.
func (dr *Drainer) Drain(ctx context.Context, r service.DrainRequest, by string, report func(service.Step)) error {
	switch {
	case r.Then != service.ThenStop && r.Then != service.ThenRestart && r.Then != service.ThenHold:
		return &service.RefusedError{Err: fmt.Errorf("found then %q; accepted: %s", r.Then, strings.Join([]string{service.ThenStop, service.ThenRestart, service.ThenHold}, ", "))}
	case r.Limit < 0:
		return &service.RefusedError{Err: fmt.Errorf("found a deadline of %v; accepted: 0s and more", r.Limit)}
	}
	if r.Then == service.ThenRestart && dr.Stage != nil {
		if err := dr.Stage(ctx, report); err != nil {
			return &service.RefusedError{Err: err}
		}
	}
	d, joined, err := dr.begin(r, by)
	if err != nil {
		return err
	}
	if joined {
		report(service.Step{Name: "joined", Detail: "a drain is under way; the earlier deadline counts, and what was asked for last follows"})
	}
	return dr.follow(ctx, d, 0, report)
}

// Resume ends a drain, as far as that can be.
func (dr *Drainer) Resume(ctx context.Context, by string, report func(service.Step)) error {
	dr.mu.Lock()
	d := dr.current
	dr.mu.Unlock()
	if d == nil {
		err := errors.New("no drain is under way")
		if s := dr.Node.Status(); !s.Maintenance.IsZero() {
			err = fmt.Errorf("%w; the node is in maintenance, which %s ends", err, s.Commands.MaintenanceOff)
		}
		return err
	}
	step, from, err := d.resume(by)
	if err != nil {
		return err
	}
	report(step)
	return dr.follow(ctx, d, from, report)
}
