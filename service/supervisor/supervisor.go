package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"syscall"

	"github.com/go-kit/kit/metrics"
)

// Starter starts one run of the child. The end of ctx ends the run gracefully,
// or at once where context.Cause(ctx) is ErrKill. It is called again for every
// run, so it is also where a run's configuration is rendered.
type Starter func(ctx context.Context) (Process, error)

// Process is one run of the child. Wait returns when it has been reaped: nil
// after exit code 0, an *ExitError after any other end. Signal never reaches another
// process, though that may have its pid by then.
type Process interface {
	PID() int
	Wait() error
	Signal(syscall.Signal) error
}

// ErrKill is the cause of a run's context that must end without grace.
var ErrKill = errors.New("kill the child at once")

// Metrics are the events of the child; what it is doing now is in Child.
type Metrics struct {
	Restarts metrics.Counter // label reason
}

// Supervisor is the one owner of the child: nothing else starts or ends it.
type Supervisor struct {
	start   Starter
	notify  func(Child)
	logger  *slog.Logger
	metrics Metrics

	adopt   Starter // goes on with the child of an earlier image; nil once it has
	resting bool    // Run begins by waiting for the next start

	wake chan struct{} // holds a token when orders has changed

	mu       sync.Mutex
	policy   Policy
	orders   orders
	child    Child
	short    int            // short runs in a row; only Run changes it, and what follows
	reason   string         // why the last run ended, empty before the first has
	restarts map[string]int // by reason
	process  Process        // of the child, while it runs
}

// New returns a supervisor that starts nothing before Run. Every change of
// state is told to notify, from the goroutine of Run: it must not block.
func New(start Starter, policy Policy, notify func(Child), logger *slog.Logger, m Metrics) *Supervisor {
	for _, reason := range []string{ReasonExit, ReasonSignal, ReasonProbe, ReasonRotation, ReasonRequested} {
		m.Restarts.With("reason", reason).Add(0) // increase() cannot see a series that begins at 1
	}
	return &Supervisor{
		start:   start,
		policy:  policy,
		notify:  notify,
		logger:  logger,
		metrics: m,
		wake:    make(chan struct{}, 1),
		child:   Child{State: Stopped},

		restarts: map[string]int{},
	}
}

// Configure changes how fast a child that has ended is started again, from its next end on.
func (s *Supervisor) Configure(p Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = p
}

// Child is the child as it is now.
func (s *Supervisor) Child() Child {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.child
}

// change edits the snapshot, and tells notify the result.
func (s *Supervisor) change(edit func(*Child)) {
	s.mu.Lock()
	edit(&s.child)
	now := s.child
	s.mu.Unlock()
	s.notify(now)
}
