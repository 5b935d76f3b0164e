package node

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

// DrainConfig says how a node is drained.
type DrainConfig struct {
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

// Drainer empties the node, one drain at a time. What is asked of it goes on when
// whoever has asked is gone.
type Drainer struct {
	cfg      atomic.Pointer[DrainConfig]
	node     *Node
	lock     Lock // nil = the node has no fleet
	logger   *slog.Logger
	requests chan *drain
	pause    chan chan struct{}
	ended    chan struct{} // closed when Run has returned

	mu      sync.Mutex
	current *drain    // nil = none
	run     *drainRun // of the last drain that was begun; what is in it is the drain's goroutine's
}

// NewDrainer returns a drainer that begins with Run.
func NewDrainer(cfg DrainConfig, node *Node, lock Lock, logger *slog.Logger) *Drainer {
	dr := &Drainer{node: node, lock: lock, logger: logger, requests: make(chan *drain, 1), pause: make(chan chan struct{}), ended: make(chan struct{})}
	dr.cfg.Store(&cfg)
	return dr
}

// Configure changes how the node is drained, also by the drain under way.
func (dr *Drainer) Configure(c DrainConfig) { dr.cfg.Store(&c) }

func (dr *Drainer) config() *DrainConfig { return dr.cfg.Load() }

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

// Status returns where the drain stands. A nil Drainer has none.
func (dr *Drainer) Status() service.DrainStatus {
	if dr == nil {
		return service.DrainStatus{}
	}
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
func (n *Node) Drain(ctx context.Context, r service.DrainRequest, by string, report func(service.Step)) error {
	switch {
	case r.Then != service.ThenStop && r.Then != service.ThenRestart && r.Then != service.ThenHold:
		return &service.RefusedError{Err: fmt.Errorf("found then %q; accepted: %s", r.Then, strings.Join([]string{service.ThenStop, service.ThenRestart, service.ThenHold}, ", "))}
	case r.Limit < 0:
		return &service.RefusedError{Err: fmt.Errorf("found a deadline of %v; accepted: 0s and more", r.Limit)}
	}
	if r.Then == service.ThenRestart && n.parts.Stage != nil {
		if err := n.parts.Stage(ctx, report); err != nil {
			return &service.RefusedError{Err: err}
		}
	}
	d, joined, err := n.parts.Drainer.begin(r, by)
	if err != nil {
		return err
	}
	if joined {
		report(service.Step{Name: "joined", Detail: "a drain is under way; the earlier deadline counts, and what was asked for last follows"})
	}
	return n.follow(ctx, d, 0, report)
}

// Resume ends a drain, as far as that can be.
func (n *Node) Resume(ctx context.Context, by string, report func(service.Step)) error {
	dr := n.parts.Drainer
	dr.mu.Lock()
	d := dr.current
	dr.mu.Unlock()
	if d == nil {
		err := errors.New("no drain is under way")
		if !n.parts.Maintenance.Since().IsZero() {
			err = fmt.Errorf("%w; the node is in maintenance, which turnwarden maintenance off ends", err)
		}
		return err
	}
	step, from, err := d.resume(by)
	if err != nil {
		return err
	}
	report(step)
	return n.follow(ctx, d, from, report)
}
