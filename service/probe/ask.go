package probe

import (
	"context"
	"crypto/x509"
	"errors"
	"time"
)

// Question is what is asked of a listener.
type Question struct {
	Listener
	NoSTUN, NoTURN     bool          // it answers no Binding; it takes no Allocate now
	Username, Password string        // empty: ask as a stranger only
	Echo               int           // bytes to relay to a peer of our own and back: one on loopback, or
	ToItself           bool          // a second allocation of the same server
	Timeout            time.Duration // of each stage; 0 = the context's alone
}

// Report is what came of a question: the stages up to the first that failed,
// where a failed relay fails no other.
type Report struct {
	Steps []Step
	Allocation
	EchoRTT time.Duration       // of the bytes that were relayed
	Chain   []*x509.Certificate // what a TLS server showed, good or bad
}

// Step is one stage that was asked.
type Step struct {
	Stage string
	Took  time.Duration
	Err   error
}

// Failed is the first stage that failed, the relay only where nothing else has.
func (r Report) Failed() (step Step, failed bool) {
	for _, s := range r.Steps {
		switch {
		case s.Err == nil:
		case s.Stage != StageRelay:
			return s, true
		default:
			step, failed = s, true
		}
	}
	return step, failed
}

// Err is why that stage failed, nil if none has.
func (r Report) Err() error {
	step, _ := r.Failed()
	return step.Err
}

// asker is one client of a listener; *client is the real one.
type asker interface {
	connect(ctx context.Context) error
	secure(ctx context.Context) ([]*x509.Certificate, error)
	binding(ctx context.Context) error
	challenge(ctx context.Context) error
	allocate(ctx context.Context, username, password string) (Allocation, error)
	relay(ctx context.Context, q Question, first Allocation) (time.Duration, error)
	release(ctx context.Context) error
	elsewhere(ctx context.Context) error
	close()
}

// Ask asks stage after stage and leaves nothing allocated.
func (q Question) Ask(ctx context.Context) Report { return q.ask(ctx, &client{Listener: q.Listener}) }

func (q Question) ask(ctx context.Context, c asker) (r Report) {
	defer c.close()
	do := func(stage string, ask func(context.Context) error) (ok bool) {
		ctx := ctx
		if q.Timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, q.Timeout)
			defer cancel()
		}
		begin := time.Now()
		err := ask(ctx)
		r.Steps = append(r.Steps, Step{stage, time.Since(begin), err})
		return err == nil
	}
	// A connection proves nothing, for the kernel answers in a hung server's place,
	// and is no stage; want of one is.
	if !do(StageBind, c.connect) {
		if e, ok := errors.AsType[*Error](r.Steps[0].Err); ok {
			r.Steps[0].Stage = e.Stage
		}
		return r
	}
	r.Steps = nil
	if q.Transport == TLS && !do(StageTLS, func(ctx context.Context) (err error) {
		r.Chain, err = c.secure(ctx)
		return err
	}) {
		return r
	}
	if !q.NoSTUN && !do(StageBind, c.binding) || q.NoTURN {
		return r
	}
	stranger := do(StageUnauthorized, c.challenge)
	if !stranger && !q.NoSTUN && errors.Is(r.Err(), ErrNoAnswer) && c.elsewhere(ctx) == nil {
		// It answers, but no stranger from here: see elsewhere.
		r.Steps = r.Steps[:len(r.Steps)-1]
		stranger = do(StageUnauthorized, c.challenge)
	}
	if !stranger || q.Username == "" {
		return r
	}
	if !do(StageAllocate, func(ctx context.Context) (err error) {
		r.Allocation, err = c.allocate(ctx, q.Username, q.Password)
		return err
	}) {
		return r
	}
	if q.Echo > 0 {
		do(StageRelay, func(ctx context.Context) (err error) {
			r.EchoRTT, err = c.relay(ctx, q, r.Allocation)
			return err
		})
	}
	do(StageRefresh, c.release)
	return r
}
