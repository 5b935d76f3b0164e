package calls

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-kit/kit/metrics"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Sessions are the running calls of the TURN server.
type Sessions interface {
	List(ctx context.Context, username string) ([]coturn.Session, error)
	Cancel(ctx context.Context, ids ...string) error
}

// SweepFor is how long sessions of a revoked user are looked for. coturn keeps the
// key of a 5-tuple that has authenticated without allocating for 60 s, and does not
// list it: it allocated again up to 58 s after its user was gone (4.6.1).
const (
	SweepFor   = 65 * time.Second
	sweepEvery = time.Second
	lookAgain  = 10 * time.Millisecond
)

// Sweeper ends the sessions of revoked users, and those that they open after.
type Sweeper struct {
	sessions  Sessions
	logger    *slog.Logger
	cancelled metrics.Counter
	wake      chan struct{}

	mu     sync.Mutex
	sweeps []*Sweep

	counted map[string]bool // by id, for a session may be in several sweeps; Run's alone
}

// Sweep is the hunt for the sessions of some users.
type Sweep struct {
	Until time.Time
	Clean <-chan struct{} // closed once a look has found none
	Blind <-chan struct{} // closed once there was no CLI to look with
	Done  <-chan struct{} // closed at Until

	match              func(username string) bool
	clean, blind, done chan struct{}

	mu    sync.Mutex
	ended map[string]bool // by id; coturn lists a session for a moment after it was told to end it
	err   error
}

// Ended returns how many sessions were ended so far, and why the last look failed.
func (s *Sweep) Ended() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.ended), s.err
}

// NewSweeper returns a sweeper that begins with Run.
func NewSweeper(sessions Sessions, logger *slog.Logger, cancelled metrics.Counter) *Sweeper {
	return &Sweeper{sessions: sessions, logger: logger, cancelled: cancelled, wake: make(chan struct{}, 1), counted: map[string]bool{}}
}

// Begin starts to end the sessions of the users that match.
func (s *Sweeper) Begin(match func(username string) bool) *Sweep {
	w := &Sweep{Until: time.Now().Add(SweepFor), match: match, clean: make(chan struct{}), blind: make(chan struct{}), done: make(chan struct{}), ended: map[string]bool{}}
	w.Clean, w.Blind, w.Done = w.clean, w.blind, w.done
	s.mu.Lock()
	s.sweeps = append(s.sweeps, w)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return w
}

// Run sweeps until ctx ends.
func (s *Sweeper) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
		// What was cancelled is gone a moment later: look again soon.
		for s.look(ctx) {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(lookAgain):
			}
		}
	}
}

// look does one round, and says whether it ended anything.
func (s *Sweeper) look(ctx context.Context) bool {
	s.mu.Lock()
	sweeps := s.sweeps
	s.mu.Unlock()
	if len(sweeps) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	open, err := s.sessions.List(ctx, "")
	found := false
	for _, w := range sweeps {
		if s.cancel(ctx, w, open, err) {
			found = true
		}
	}
	s.forget(time.Now())
	return found
}

func (s *Sweeper) cancel(ctx context.Context, w *Sweep, open []coturn.Session, err error) (found bool) {
	var ids []string
	for _, o := range open {
		if w.match(o.Username) {
			ids = append(ids, o.ID)
		}
	}
	if err == nil && len(ids) > 0 {
		err = s.sessions.Cancel(ctx, ids...)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.err == nil {
			s.logger.Error("sessions of a revoked user may go on; trying again every second", "err", err)
		}
		w.err = err
		if errors.Is(err, coturn.ErrNoCLI) {
			closeOnce(w.blind)
		}
		return false
	}
	w.err = nil
	if len(ids) == 0 {
		closeOnce(w.clean)
		return false
	}
	n := 0
	for _, id := range ids {
		w.ended[id] = true
		if !s.counted[id] {
			s.counted[id] = true
			n++
		}
	}
	if n > 0 {
		s.cancelled.Add(float64(n))
		s.logger.Warn("ended sessions of a revoked user", "allocations", n)
	}
	return true
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// forget ends the sweeps whose time is over.
func (s *Sweeper) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []*Sweep
	for _, w := range s.sweeps {
		if now.Before(w.Until) {
			kept = append(kept, w)
			continue
		}
		if _, err := w.Ended(); err != nil {
			s.logger.Error("sessions of a revoked user may go on, and nobody looks for them any more; a restart of turnserver ends them, with all others", "err", err)
		}
		close(w.done)
	}
	s.sweeps = kept
	if len(kept) == 0 {
		clear(s.counted)
	}
}

// First returns a sweep that is going on, nil without one.
func (s *Sweeper) First() *Sweep {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sweeps) == 0 {
		return nil
	}
	return s.sweeps[0]
}
