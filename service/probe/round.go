package probe

import (
	"context"
	"errors"
	"time"

	"github.com/pion/stun/v4"
)

// round is what one round of stages saw.
type round struct {
	at      time.Time
	foreign error
	err     error // a failure, nil = good
	proved  bool  // the credential was accepted
	full    int   // 486 or 508
	rtt     time.Duration
}

// ask runs the stages up to the first that fails.
func (p *Prober) ask(ctx context.Context, t Target) (o round) {
	begin := time.Now()
	defer func() {
		o.at = time.Now()
		if o.foreign == nil && o.err == nil {
			p.m.Duration.With("transport", "udp").Observe(time.Since(begin).Seconds())
		}
	}()
	if o.foreign = p.node.Owners(t.PID); o.foreign != nil {
		return o
	}
	if !t.NoSTUN {
		if o.err = p.stage(ctx, func(ctx context.Context) error { return p.binding(ctx, t.Addr) }); o.err != nil {
			return o
		}
	}
	if o.err = p.stage(ctx, func(ctx context.Context) error { return p.anonymous(ctx, t.Addr) }); o.err != nil {
		return o
	}
	username, password, ok := p.node.Credential()
	if !ok {
		return o
	}
	var a Allocation
	err := p.stage(ctx, func(ctx context.Context) (err error) {
		a, err = p.allocate(ctx, t.Addr, username, password)
		return err
	})
	o.settle(a, err, p.node.RelayFree)
	return o
}

// stage gives a stage its deadline. A timeout longer than the interval would
// break the bound on noticing a hang.
func (p *Prober) stage(ctx context.Context, run func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(p.cfg.Timeout, p.cfg.Interval))
	defer cancel()
	return run(ctx)
}

// settle sorts the answer to an authenticated Allocate. A full server has
// checked the credential before it looked for room, so that 486 and 508 prove it
// and are no failure; only a 508 while relay ports are free means a server that
// cannot open its relay sockets, as with a relay-ip that is not ours.
func (o *round) settle(a Allocation, err error, relayFree func() bool) {
	o.rtt = a.RTT
	full := errors.Is(err, ErrFull)
	o.proved = err == nil || full
	switch {
	case !full:
		o.err = err
	case code(err) == int(stun.CodeInsufficientCapacity) && relayFree != nil && relayFree():
		o.err = err
	default:
		o.full = code(err)
	}
}

// unfair says why a failure must not be held against the server, "" when it may.
// Whoever was himself not run for a good part of the time he gave the server
// cannot tell whether it answered in time.
func (p *Prober) unfair(err error) string {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return ""
	case errors.Is(err, errLocal):
		return "no request could be made"
	case e.Late > p.cfg.Timeout/4:
		return "this process was not run for " + e.Late.Round(time.Millisecond).String()
	}
	return ""
}
