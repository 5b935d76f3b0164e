package probe

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/kit/metrics"
)

// firstDelay is the pause before the second probe of a run; coturn answers 41-57
// ms after its start. Each next pause is half as long again, up to the interval,
// so that a server that takes seconds (builds with a wide relay range do) is seen
// soon after it answers, and one that never does is not hammered.
const firstDelay = 25 * time.Millisecond

// Config bounds the probing.
type Config struct {
	Interval  time.Duration // from the start of one round to that of the next
	Timeout   time.Duration // of each stage
	FailAfter int           // failures in a row that end Serving
}

// Target is a running child.
type Target struct {
	PID       int        // tells one run from the next
	Listeners []Listener // the first decides whether it serves; at least one

	NoSTUN        bool // the configuration has no-stun: no Binding is answered
	NoTURN        bool // no allocation may be asked for now
	LoopbackPeers bool // it relays to peers on loopback
}

// Node is what a prober has to know of the node it serves. All functions are safe
// to call from any goroutine.
type Node struct {
	Target     func() (Target, bool) // false = no child runs
	Credential func() (username, password string, ok bool)
	Owners     func(pid int) error // who else owns the listening ports; nil = nobody
	Notify     func()              // the verdict has changed

	// These may be nil, where nothing is known.
	RelayFree  func() bool                 // whether relay ports are free
	Waited     func(pid int) time.Duration // how long the child has waited for a processor in all
	Advertised func(netip.Addr) error      // why clients should not be told this relayed address
}

// Metrics are the events a prober counts. Each has the label transport.
type Metrics struct {
	Duration metrics.Histogram // seconds of each good round
	RTT      metrics.Histogram // seconds of each authenticated Allocate that was granted
}

// Prober probes one child after another.
type Prober struct {
	cfg     atomic.Pointer[Config]
	node    Node
	logger  *slog.Logger
	m       Metrics
	kick    chan struct{}
	changed chan struct{} // the configuration has
	pause   chan chan struct{}

	open func(Listener) asker // the tests of the timing replace it

	misadvertised string        // the last that was said
	doubts        map[doubt]int // rounds since the last good one that were not judged

	mu   sync.Mutex
	last Result
}

// New returns a prober that begins with Run.
func New(cfg Config, node Node, logger *slog.Logger, m Metrics) *Prober {
	p := &Prober{
		node: node, logger: logger, m: m,
		kick: make(chan struct{}, 1), changed: make(chan struct{}, 1), pause: make(chan chan struct{}),
		open:   func(l Listener) asker { return &client{Listener: l} },
		doubts: map[doubt]int{},
	}
	p.cfg.Store(&cfg)
	return p
}

// Configure changes how the next round is asked, which begins at once, and judged.
func (p *Prober) Configure(c Config) {
	p.cfg.Store(&c)
	select {
	case p.changed <- struct{}{}:
	default: // one is pending
	}
}

func (p *Prober) config() Config { return *p.cfg.Load() }

// Kick tells the prober that the child may have started or ended. It never
// blocks and costs nothing when neither has happened.
func (p *Prober) Kick() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Last returns the verdict as it stands.
func (p *Prober) Last() Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Run probes until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	delay := firstDelay
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.kick:
			if p.pid() == p.Last().PID {
				continue
			}
		case resumed := <-p.pause:
			select {
			case <-resumed:
			case <-ctx.Done():
			}
			continue
		case <-p.changed:
		case <-timer.C:
		}
		begin := time.Now()
		wait := p.config().Interval
		if target, ok := p.node.Target(); !ok {
			p.set(Result{})
		} else {
			if target.PID != p.Last().PID {
				clear(p.doubts)
				p.set(newResult(target))
				delay = firstDelay
			}
			p.align(target)
			p.probe(ctx, target)
			switch last := p.Last(); {
			case p.pid() != target.PID:
				wait = 0
			case !last.Served:
				wait = min(delay, p.config().Interval)
				delay += delay / 2
			}
		}
		// From start to start, so that a hang is noticed within Interval*FailAfter
		// plus one timeout.
		timer.Reset(wait - time.Since(begin))
	}
}

// probe runs one round and judges it, unless the child has changed meanwhile:
// then it cuts the round short, because the next run is to be probed at once.
func (p *Prober) probe(ctx context.Context, t Target) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rounds := make(chan round)
	go p.askAll(ctx, t, rounds)
	for {
		select {
		case <-p.kick:
			if p.pid() != t.PID {
				cancel()
			}
		case o, more := <-rounds:
			if !more {
				return
			}
			if ctx.Err() == nil && p.pid() == t.PID {
				p.conclude(o)
			}
		}
	}
}

// askAll asks every listener at the same time, so that none waits for another.
// While the server starts, only the one that decides: the others have nothing to
// add, and would slow it down.
func (p *Prober) askAll(ctx context.Context, t Target, rounds chan<- round) {
	defer close(rounds)
	if foreign := p.node.Owners(t.PID); foreign != nil {
		rounds <- round{at: time.Now(), foreign: foreign}
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	for i, l := range t.Listeners {
		if i == 0 || p.Last().Served {
			all.Go(func() { rounds <- p.ask(ctx, t, l, i == 0) })
		}
	}
}

// conclude judges a round, says what follows from it, and keeps the verdict.
func (p *Prober) conclude(o round) {
	if p.excused(o, o.err, doubt{o.transport, false}) {
		return
	}
	o.doubtful = p.excused(o, o.relay, doubt{o.transport, true})
	o.futile = errors.Is(o.err, ErrUntrusted) || p.late(o.err)
	before := p.Last()
	after := before.judge(o, p.config().FailAfter)
	p.say(o, before, after)
	p.set(after)
}

// say logs what has changed, and what follows.
func (p *Prober) say(o round, before, after Result) {
	log := p.logger.With("pid", after.PID)
	switch {
	case after.Foreign != "" && after.Foreign != before.Foreign:
		log.Error("another program owns the TURN server's port, probes are suspended and the node is not offered", "err", after.Foreign)
	case after.Foreign != "":
	case errors.Is(o.err, ErrOpenRelay):
		log.Error("TURN server relays for anybody, it is not serving", "transport", o.transport, "err", o.err)
	case !o.decides:
	case o.err != nil && before.Serving && after.Serving:
		log.Warn("probe failed, the TURN server counts as serving until more do in a row", "err", o.err, "failures", after.Failures, "limit", p.config().FailAfter)
	case o.err != nil && before.Serving:
		log.Error("probes failed in a row, the TURN server is not serving", "err", o.err, "failures", after.Failures)
	case o.err != nil:
		log.Debug("probe failed, the TURN server is still not serving", "err", o.err, "failures", after.Failures)
	case !before.Serving && after.Serving:
		log.Info("TURN server serves", "duration", after.At.Sub(after.Since), "failures", before.Failures)
	}
	if before.Foreign != "" && after.Foreign == "" {
		log.Info("TURN server owns its port alone again, probes go on")
	}
	for i, a := range after.Answers {
		switch was := before.Answers[i]; {
		case after.Failures > 0:
			// It has been said that all is not well.
		case a.Failing && !was.Failing:
			log.Warn("TURN server fails its clients of one transport; it counts as serving, for a restart would cut the calls of the others", "transport", a.Transport, "err", a.Err)
		case was.Failing && !a.Failing:
			log.Info("TURN server is good again for its clients of this transport", "transport", a.Transport)
		}
	}
	if m := after.Misadvertised; m != "" && m != p.misadvertised {
		p.misadvertised = m
		log.Error("TURN server tells its clients a relayed address that their peers may not reach", "err", m)
	}
}

// pid is the running child's, 0 without one.
func (p *Prober) pid() int {
	if target, ok := p.node.Target(); ok {
		return target.PID
	}
	return 0
}

// set keeps a verdict and tells when it says something new.
func (p *Prober) set(r Result) {
	p.mu.Lock()
	old := p.last
	p.last = r
	p.mu.Unlock()
	if old.news(r) {
		p.node.Notify()
	}
}
