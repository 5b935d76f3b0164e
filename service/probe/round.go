package probe

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// echoBytes is what a round sends through the relay.
const echoBytes = 100

// round is what one listener said in one round.
type round struct {
	at        time.Time
	foreign   error // then nobody was asked
	transport Transport
	decides   bool
	partial   bool // nothing was asked that only a working server can answer
	report    Report
	waited    time.Duration // how long the server waited for a processor meanwhile

	err      error // why it does not serve, nil if it does
	futile   bool  // and a restart would mend nothing
	relay    error // why it does not relay, though it serves
	doubtful bool  // whether it relays cannot be told
	proved   bool  // the credential was accepted
	full     int   // 486 or 508

	misadvertised error // its relayed address is not what the configuration says
}

// ask puts the questions of a round to one listener.
func (p *Prober) ask(ctx context.Context, t Target, l Listener, decides bool) round {
	// A timeout longer than the interval would break the bound on noticing a hang.
	cfg := p.config()
	limit := min(cfg.Timeout, cfg.Interval)
	if !decides {
		// Nor may what decides wait for what does not.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	q := Question{Listener: l, NoSTUN: t.NoSTUN, NoTURN: t.NoTURN, Timeout: limit}
	if username, password, ok := p.node.Credential(); ok {
		q.Username, q.Password = username, password
	}
	if t.LoopbackPeers {
		q.Echo = echoBytes
	}
	waited := p.waited(t.PID)
	begin := time.Now()
	o := round{transport: l.Transport, decides: decides, partial: t.NoTURN, report: q.ask(ctx, p.open(l))}
	o.at, o.waited = time.Now(), p.waited(t.PID)-waited
	o.settle(p.node.RelayFree, p.node.Advertised)
	transport := string(l.Transport)
	if o.err == nil && o.relay == nil && !o.partial {
		p.m.Duration.With("transport", transport).Observe(o.at.Sub(begin).Seconds())
	}
	if o.report.RTT > 0 {
		p.m.RTT.With("transport", transport).Observe(o.report.RTT.Seconds())
	}
	return o
}

// settle sorts the answers. A full server has checked the credential before it
// looked for room, so that 486 and 508 prove it and are no failure; only a 508
// while relay ports are free means a server that cannot open its relay sockets,
// as with a relay-ip that is not ours.
func (o *round) settle(relayFree func() bool, advertised func(netip.Addr) error) {
	steps := o.report.Steps
	o.report.Steps = nil
	for _, s := range steps {
		switch {
		case s.Stage == StageAllocate && errors.Is(s.Err, ErrFull):
			o.proved = true
			if code(s.Err) != int(stun.CodeInsufficientCapacity) || relayFree == nil || !relayFree() {
				o.full, s.Err = code(s.Err), nil
			}
		case s.Stage == StageAllocate:
			o.proved = s.Err == nil
		case s.Stage == StageRelay && code(s.Err) == int(stun.CodeForbidden):
			continue // after all it may not relay to loopback (denied-peer-ip)
		}
		o.report.Steps = append(o.report.Steps, s)
	}
	if step, _ := o.report.Failed(); step.Stage == StageRelay {
		o.relay = step.Err
	} else {
		o.err = step.Err
	}
	if ip := o.report.Relayed.Addr(); ip.IsValid() && advertised != nil {
		o.misadvertised = advertised(ip)
	}
}

// doubt is what may have failed for want of a processor: whether a server answers, or
// whether it relays.
type doubt struct {
	transport Transport
	relay     bool
}

// excused says whether a failure is not held against the server, and logs why.
func (p *Prober) excused(o round, err error, of doubt) bool {
	if err == nil {
		delete(p.doubts, of)
		return false
	}
	reason := p.unfair(o, err, of)
	if reason != "" {
		p.logger.Warn("probe failed, and the TURN server is not judged by it", "transport", o.transport, "reason", reason, "err", err)
	}
	return reason != ""
}

// unfair says why a failure must not be held against the server, "" when it may.
// Whoever was himself not run for a good part of the time he gave the server
// cannot tell whether it answered in time, and a server that waited for a processor
// itself could not answer. But one that hangs does not wait for one, though its other
// threads may, and we may on any machine that is busy for hours: either is given twice
// as many rounds. After that nobody is sent here; only in our own case is there no
// restart, which would cut calls on no evidence.
func (p *Prober) unfair(o round, err error, of doubt) (reason string) {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok:
		return ""
	case errors.Is(err, errLocal):
		return "no request could be made"
	case p.late(err):
		reason = "this process was not run for " + e.Late.Round(time.Millisecond).String()
	case o.waited > p.tolerance() && errors.Is(err, ErrNoAnswer):
		reason = "the TURN server waited for a processor for " + o.waited.Round(time.Millisecond).String()
	}
	if p.doubts[of] >= p.config().FailAfter {
		return ""
	}
	if reason != "" {
		p.doubts[of]++
	}
	return reason
}

// late says whether it was this process that was not run when an answer was due.
func (p *Prober) late(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Late > p.tolerance()
}

// tolerance is how long anybody may wait for a processor in a round that is judged.
func (p *Prober) tolerance() time.Duration { return p.config().Timeout / 4 }

func (p *Prober) waited(pid int) time.Duration {
	if p.node.Waited == nil {
		return 0
	}
	return p.node.Waited(pid)
}
