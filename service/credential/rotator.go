package credential

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-kit/kit/metrics"
)

// Store is where the TURN server looks its users up. A nil error means that the
// change was read back, for turnadmin exits 0 on most failures.
type Store interface {
	Put(ctx context.Context, username, password string) error
	Delete(ctx context.Context, username string) error
	List(ctx context.Context) ([]string, error)
}

// Verifier proves what a user can do, by an Allocate on the running server. It
// answers ErrDown, ErrNoAnswer, ErrRefused, ErrFull or nil.
type Verifier interface {
	Allocate(ctx context.Context, username, password string) error
}

// What a Verifier may answer.
var (
	ErrDown     = errors.New("no TURN server is serving yet")
	ErrNoAnswer = errors.New("the TURN server did not answer")
	ErrRefused  = errors.New("the TURN server refused the credential")
	// ErrFull is a proof, too: a server without room has authenticated the user.
	ErrFull = errors.New("the TURN server is full")
)

// Config says how long credentials live. All fields are required.
type Config struct {
	Node, Realm           string
	Lifetime, RotateEvery time.Duration
}

// Metrics counts rotations, and every transition by the state it leads to.
type Metrics struct {
	Rotations, Failures             metrics.Counter
	Transitions, TransitionFailures metrics.Counter // label to
}

// stepTimeout bounds one call of the store or the verifier; a turnadmin that
// hangs is given up after it.
const stepTimeout = 10 * time.Second

// Rotator owns the credentials of one node.
type Rotator struct {
	cfg      atomic.Pointer[Config]
	store    Store
	verifier Verifier
	file     *File
	changed  func()
	logger   *slog.Logger
	metrics  Metrics

	kick   chan struct{}
	repair atomic.Bool
	held   atomic.Bool
	tasks  chan func(context.Context) // run by Run, between its own steps
	ended  chan struct{}              // closed when Run has returned

	mu      sync.RWMutex // guards what follows, never held over I/O
	book    book
	failure string // of the last rotation attempt; "" after a success
	unowned int    // users of ours that no generation owns and that are still there
	joined  []chan<- rotated

	// Only Run's goroutine touches these.
	retry, cleanRetry *backoff.ExponentialBackOff
	retryAt, cleanAt  time.Time
	reconcileAt       time.Time
	clockSeen         time.Time
}

// New opens the state file and returns a rotator that continues from it. changed
// is called, from Run, whenever what is handed out has changed; it must not block.
func New(cfg Config, store Store, verifier Verifier, file *File, changed func(), logger *slog.Logger, m Metrics) *Rotator {
	r := &Rotator{
		store: store, verifier: verifier, file: file, changed: changed, logger: logger, metrics: m,
		kick: make(chan struct{}, 1), tasks: make(chan func(context.Context)), ended: make(chan struct{}),
		retry: retryPolicy(), cleanRetry: retryPolicy(),
	}
	r.cfg.Store(&cfg)
	for _, s := range []State{Pending, Verified, Active, Retiring, Revoked, Deleted} {
		m.Transitions.With("to", string(s)).Add(0) // a series that appears with its first event has no increase
		m.TransitionFailures.With("to", string(s)).Add(0)
	}
	now := time.Now()
	state, err := file.load(cfg.Realm)
	unknown := now.Add(cfg.Lifetime + skew(cfg.Lifetime))
	if err == nil && state.Node != cfg.Node {
		logger.Warn("this node had another name: what it handed out under that works until its expiry, and is deleted then", "before", state.Node)
		state = state.renamed(cfg.Node)
		state.KeepUntilMS = millis(unknown) // who has had this name is not on record
	}
	r.book = openBook(state, now, cfg.Lifetime)
	if err != nil {
		// Clients may hold credentials that only the lost file named.
		r.book = book{next: 1, keepUnknown: unknown}
		if !errors.Is(err, errNoState) {
			logger.Error("credential state lost: a new generation is minted, and old users are kept until clients' claims have ended",
				"err", err, "until", r.book.keepUnknown.Format(time.RFC3339))
		}
	}
	return r
}

// Configure changes how long credentials live, and how often there is a new one, from
// the next one on: what clients were promised stays so.
func (r *Rotator) Configure(c Config) {
	r.cfg.Store(&c)
	r.Kick()
}

func (r *Rotator) config() Config { return *r.cfg.Load() }

func retryPolicy() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = 200*time.Millisecond, 30*time.Second, 2
	b.Reset()
	return b
}

// Kick makes Run look at once, as when the TURN server has come back.
func (r *Rotator) Kick() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Repair makes Run compare the store with the book at once, as when the TURN
// server refuses a user that it should know (coturn#701: users vanish).
func (r *Rotator) Repair() {
	r.repair.Store(true)
	r.Kick()
}

// Hold keeps Run from making a successor, while the TURN server takes no new call and
// so can prove none. What is handed out stays so until its expiry.
func (r *Rotator) Hold(hold bool) {
	r.held.Store(hold)
	r.Kick()
}

// Run rotates until ctx ends. It fails never: what cannot be done now is tried
// again, and the last good generation is served meanwhile.
func (r *Rotator) Run(ctx context.Context) error {
	defer close(r.ended)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case task := <-r.tasks:
			task(ctx)
		case <-r.kick:
			r.retryAt = time.Time{}
			r.retry.Reset()
		case <-timer.C:
		}
		now := time.Now()
		r.watchClock(now)
		renewAt := time.Now().Add(r.renew(ctx, now))
		wait := r.clean(ctx, now)
		timer.Reset(max(min(time.Until(renewAt), wait), 0)) // the cleaning took its time, too
	}
}

// renew makes sure that an active generation is served and young enough, and
// returns when to look again.
func (r *Rotator) renew(ctx context.Context, now time.Time) time.Duration {
	if r.held.Load() {
		return time.Hour
	}
	if wait := r.retryAt.Sub(now); wait > 0 {
		return wait
	}
	err := r.proveRestored(ctx)
	if wait := r.until(now, r.config().RotateEvery-lead(r.config().RotateEvery)); wait > 0 && err == nil {
		r.succeeded() // a restored generation that was proved at last ends its failures
		return wait
	}
	if err == nil || errors.Is(err, ErrRefused) {
		var g *generation
		if g, err = r.prepare(ctx, scheduled); err == nil {
			if wait := r.until(time.Now(), r.config().RotateEvery-margin(r.config().RotateEvery)); wait > 0 {
				r.succeeded()
				return wait
			}
			err = r.publish(g, scheduled)
		}
	}
	if ctx.Err() != nil {
		return time.Hour // stopping; the outcome is on record as far as it got
	}
	if r.attempted(err); err == nil {
		return 0 // to see when to look again
	}
	return r.backOff()
}

// attempted counts a rotation that was tried. With no server to ask, or cut off by our
// own stop, it was not.
func (r *Rotator) attempted(err error) {
	switch {
	case errors.Is(err, ErrDown), errors.Is(err, ErrStopping):
	case err == nil:
		r.metrics.Rotations.Add(1)
		r.succeeded()
	default:
		r.metrics.Rotations.Add(1)
		r.metrics.Failures.Add(1)
		r.setFailure(err.Error())
	}
}

func (r *Rotator) succeeded() {
	r.retry.Reset()
	r.setFailure("")
}

func (r *Rotator) backOff() time.Duration {
	wait := r.retry.NextBackOff()
	r.retryAt = time.Now().Add(wait)
	return wait
}

// until returns how long it takes until the active generation has the age, 0 if it
// has, or if there is none. One that was published for another lifetime is old enough
// as soon as no more is left of it than would be of one of that age now.
func (r *Rotator) until(now time.Time, age time.Duration) time.Duration {
	g := r.active()
	if g == nil || !g.proved {
		return 0
	}
	// By the monotonic clock its age is known since this process saw it; before
	// that, by the wall clock alone.
	elapsed := now.Sub(g.seen) + max(0, g.seen.Round(0).Sub(g.Published))
	if due(now.Round(0), g.Published, elapsed, age) {
		return 0
	}
	left := g.validFor(now) - (r.config().Lifetime - age)
	return max(0, min(age-elapsed, left))
}

// proveRestored proves, once, the generation that a restart brought back, and
// only then it is handed out: the userdb may not be the one it was.
func (r *Rotator) proveRestored(ctx context.Context) error {
	g := r.active()
	if g == nil || g.proved || g.validFor(time.Now()) == 0 {
		return nil
	}
	start := time.Now()
	err := r.verify(ctx, g)
	if errors.Is(err, ErrRefused) {
		if err = r.put(ctx, g); err == nil {
			err = r.verify(ctx, g)
		}
	}
	if err == nil {
		r.edit(func(b *book) { b.byID(g.ID).proved = true })
	}
	r.audit(g, Active, Why{"restored", us}, start, err)
	if err != nil {
		return err
	}
	r.changed()
	return nil
}

// commit saves an edited copy of the book, and only then makes it the book.
func (r *Rotator) commit(change func(*book)) error {
	b := r.snapshot().clone()
	change(&b)
	if err := r.file.save(b.file(r.config().Node, r.config().Realm)); err != nil {
		return err
	}
	r.mu.Lock()
	r.book = b
	r.mu.Unlock()
	return nil
}

// edit changes what only this process knows, which needs no saving.
func (r *Rotator) edit(change func(*book)) {
	b := r.snapshot().clone()
	change(&b)
	r.mu.Lock()
	r.book = b
	r.mu.Unlock()
}

func (r *Rotator) snapshot() book {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.book
}

func (r *Rotator) active() *generation { return r.inState(Active) }

func (r *Rotator) inState(s State) *generation {
	b := r.snapshot()
	return b.find(s)
}

func (r *Rotator) setFailure(text string) {
	r.mu.Lock()
	r.failure = text
	r.mu.Unlock()
}

// consequence says in words what a failed transition means for clients.
func (r *Rotator) consequence(to State, now time.Time) string {
	if to == Deleted {
		return "a user that should be gone still works"
	}
	g := r.active()
	if g == nil || !g.servable(now) {
		return "nothing is handed out"
	}
	return fmt.Sprintf("still serving generation %d, valid for %v", g.ID, g.validFor(now).Round(time.Second))
}
