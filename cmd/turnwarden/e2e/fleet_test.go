package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// callers are clients that know nothing but a gateway.
type callers struct {
	t       *testing.T
	stop    func()
	clients sync.WaitGroup

	mu         sync.Mutex
	calls      []sent
	unanswered int
	worst      time.Duration // that a gateway took to answer
}

// sent is one attempt to relay bytes.
type sent struct {
	asked time.Time // for a server
	at    netip.AddrPort
	err   error
}

// gather has clients of each gateway ask for a server and relay bytes there, again and
// again until the test ends.
func gather(t *testing.T, gateways ...*gatewayProcess) *callers {
	t.Helper()
	c := &callers{t: t}
	ctx, cancel := context.WithCancel(context.Background())
	for _, g := range gateways {
		for range 2 {
			c.clients.Go(func() {
				pace := time.NewTicker(150 * time.Millisecond)
				defer pace.Stop()
				for ctx.Err() == nil {
					c.call(ctx, g)
					<-pace.C
				}
			})
		}
	}
	c.stop = sync.OnceFunc(func() {
		cancel()
		c.clients.Wait()
	})
	t.Cleanup(c.stop)
	return c
}

func (c *callers) call(ctx context.Context, g *gatewayProcess) {
	asked := time.Now()
	s, err := g.fetch("")
	took := time.Since(asked)
	server, uriErr := s.server()
	if err == nil {
		err = uriErr
	}
	if err != nil {
		c.mu.Lock()
		c.unanswered++
		c.mu.Unlock()
		c.t.Errorf("the gateway at %s did not answer: %v", g.ip, err)
		return
	}
	c.mu.Lock()
	n := len(c.calls)
	c.calls = append(c.calls, sent{asked, server, nil})
	c.worst = max(c.worst, took)
	c.mu.Unlock()
	relay := func(limit time.Duration) error {
		relaying, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		err := probe.Relay(relaying, server, s.UserID, s.Password, 400)
		if err != nil && ctx.Err() == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls[n].err = err
		}
		return err
	}
	if err := relay(2 * time.Second); errors.Is(err, context.DeadlineExceeded) {
		// It hangs, or a busy machine keeps one waiting that is healthy.
		c.clients.Go(func() {
			if relay(20*time.Second) == nil {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.calls[n].err = nil
			}
		})
	}
}

// since counts the calls that were asked for after a moment, by server.
func (c *callers) since(moment time.Time) map[netip.AddrPort]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[netip.AddrPort]int{}
	for _, call := range c.calls {
		if call.asked.After(moment) {
			n[call.at]++
		}
	}
	return n
}

// blow is what happened to a host, and how long it may be handed out for it.
type blow struct {
	name  string
	host  *host
	at    time.Time
	bound time.Duration
	pace  realtest.Pace
}

// over is when the host may not be handed out any more.
func (f blow) over() time.Time { return f.at.Add(f.pace.Stretch(f.bound)) }

// blame checks that every call that failed was one to a host that had just failed, and
// returns how many there were.
func (c *callers) blame(faults []blow) (failed int) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.calls {
		if call.err == nil {
			continue
		}
		failed++
		if !slices.ContainsFunc(faults, func(f blow) bool {
			// A call may have been under way when it happened.
			return f.host.addr() == call.at && call.asked.After(f.at.Add(-3*time.Second)) && call.asked.Before(f.over())
		}) {
			for _, f := range faults {
				c.t.Logf("%s: %s at %s", f.name, f.host.ip, f.at.Format(time.StampMilli))
			}
			c.t.Errorf("asked for a server at %s, was sent to %v, and relayed nothing: %v", call.asked.Format(time.StampMilli), call.at, call.err)
		}
	}
	return failed
}

// avoided waits, and checks that nobody is sent to the host from its bound on.
func (c *callers) avoided(f blow, observe time.Duration) {
	c.t.Helper()
	<-time.After(time.Until(f.at.Add(f.bound)))
	over := f.over()
	<-time.After(time.Until(over) + observe)
	if n := c.since(over)[f.host.addr()]; n > 0 {
		c.t.Errorf("%s: %d clients were sent there later than %v after", f.name, n, f.bound)
	}
	if others := c.since(over); len(others) != 2 {
		c.t.Errorf("%s: clients were sent to %v, want the other two", f.name, others)
	}
}

// TestFleet breaks one node after the other in every way, while clients that only know a
// gateway relay real bytes: every request is answered, and nobody is sent to a node that
// is known to be dead, hung or about to stop.
func TestFleet(t *testing.T) {
	t.Parallel()
	const (
		session = 4 * time.Second // as newHost has it
		expiry  = session + 500*time.Millisecond + time.Second
		atOnce  = 2 * time.Second                             // written at once; the rest is the machine's
		hung    = 3*time.Second + 2*time.Second + time.Second // interval * fail_after + timeout + 1 s
	)
	z := realtest.StartZooKeeper(t)
	hosts := map[string]*host{}
	up := map[string]string{}
	for i, name := range []string{"turn-1", "turn-2", "turn-3"} {
		hosts[name] = newHost(t, options{zookeeper: []string{z.Addr()}, set: map[string]string{
			"node": name, "registry.zone": fmt.Sprint("zone-", i), "coturn.drain_timeout": "30s", "coturn.stop_timeout": "2s",
		}})
		hosts[name].start(t)
		up[name] = "up"
	}
	first, second := startGateway(t, []string{z.Addr()}, nil), startGateway(t, []string{z.Addr()}, map[string]string{"gateway.algorithm": "round-robin"})
	healthy := func() {
		t.Helper()
		for _, h := range hosts {
			h.waitReady(t)
		}
		first.sees(t, 30*time.Second, up)
		second.sees(t, 30*time.Second, up)
	}
	healthy()
	c := gather(t, first, second)
	var faults []blow
	strike := func(name string, h *host, bound time.Duration, how func()) blow {
		t.Helper()
		f := blow{name, h, time.Now(), bound, realtest.NewPace()}
		how()
		faults = append(faults, f)
		return f
	}
	one, two, three := hosts["turn-1"], hosts["turn-2"], hosts["turn-3"]

	everywhere := func(since time.Time) {
		t.Helper()
		realtest.Eventually(t, 20*time.Second, func() error {
			if n := c.since(since); len(n) != 3 {
				return fmt.Errorf("in quiet times clients were sent to %v, want all three", n)
			}
			return nil
		})
	}
	everywhere(time.Time{})

	f := strike("the whole host is killed", one, expiry, func() { one.signal(t, syscall.SIGKILL) })
	c.avoided(f, 2*time.Second)
	one.serve(t)
	healthy()

	f = strike("the whole host hangs", two, expiry, func() {
		_ = syscall.Kill(two.child(t), syscall.SIGSTOP)
		two.signal(t, syscall.SIGSTOP)
	})
	c.avoided(f, 2*time.Second)
	_ = syscall.Kill(two.child(t), syscall.SIGCONT)
	two.signal(t, syscall.SIGCONT)
	healthy()

	// The TURN server alone: turnwarden finds out, unlists it, and starts another.
	child := three.child(t)
	strike("the TURN server hangs", three, hung, func() { _ = syscall.Kill(child, syscall.SIGSTOP) })
	three.another(t, child, 20*time.Second)
	healthy()
	child = one.child(t)
	strike("the TURN server is killed", one, atOnce, func() { _ = syscall.Kill(child, syscall.SIGKILL) })
	one.another(t, child, 20*time.Second)
	healthy()

	// A drain waits for a call to end, and nobody new comes meanwhile.
	s := mustFetch(t, two.rest())
	hangUp := holdAllocation(t, two.addr(), s)
	f = strike("drained", two, atOnce, func() { two.signal(t, syscall.SIGTERM) })
	c.avoided(f, 2*time.Second)
	select {
	case <-two.exited:
		t.Error("it has stopped, with a call open")
	default:
	}
	hangUp()
	if code := two.wait(t, 20*time.Second); code != codeOK {
		t.Errorf("exit code %d", code)
	}
	two.serve(t)
	healthy()

	// Maintenance: it would serve, and is not to.
	if out, code := three.ask(t, "maintenance", "on"); code != codeOK {
		t.Fatalf("%d %s", code, out)
	}
	c.avoided(strike("in maintenance", three, atOnce, func() {}), 2*time.Second)
	if out, code := three.ask(t, "maintenance", "off"); code != codeOK {
		t.Fatalf("%d %s", code, out)
	}
	healthy()

	// A rolling restart.
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		h := hosts[name]
		strike("restarted", h, atOnce, func() { h.signal(t, syscall.SIGTERM) })
		h.wait(t, 30*time.Second)
		h.serve(t)
		healthy()
	}
	everywhere(time.Now())
	c.stop()
	failed := c.blame(faults)
	t.Logf("%d calls through 2 gateways, %d requests unanswered, %d calls to a node that had just failed; the slowest answer took %v",
		len(c.calls), c.unanswered, failed, c.worst)
}
