package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/kit/metrics"

	"github.com/turnwarden/turnwarden/service/supervisor"
)

// counts is a counter with one label.
type counts struct {
	of    map[string]float64
	label string
}

func (c counts) With(pair ...string) metrics.Counter { return counts{c.of, pair[1]} }
func (c counts) Add(n float64)                       { c.of[c.label] += n }

// child is one fake run: it ends with err after life, or grace after its context.
type child struct {
	ctx         context.Context
	pid         int
	life, grace time.Duration
	err         error
	alive       *atomic.Int32
}

func (c child) PID() int { return c.pid }

func (c child) Signal(syscall.Signal) error { return nil }

func (c child) Wait() error {
	defer c.alive.Add(-1)
	select {
	case <-time.After(c.life):
		return c.err
	case <-c.ctx.Done():
	}
	if errors.Is(context.Cause(c.ctx), supervisor.ErrKill) {
		return &supervisor.ExitError{Code: -1, Signal: syscall.SIGKILL}
	}
	<-time.After(c.grace)
	return &supervisor.ExitError{Code: -1, Signal: syscall.SIGTERM}
}

// bench is a supervisor of fake children under a fake clock. A test sets next
// and startErr for the runs to come.
type bench struct {
	*supervisor.Supervisor
	next     child
	startErr error
	starting time.Duration // how long a start takes

	alive  atomic.Int32
	starts []time.Duration // since the test began
	states []string
	counts counts
	cancel context.CancelFunc
	done   chan error
}

const forever = 1000 * time.Hour

var crashed = &supervisor.ExitError{Code: 255}

// run starts a supervisor with the contract's policy, in a bubble.
func run(t *testing.T, first child) *bench {
	t.Helper()
	b := newBench(t, first)
	b.run(t)
	return b
}

func newBench(t *testing.T, first child) *bench {
	t.Helper()
	b := &bench{next: first, counts: counts{of: map[string]float64{}}, done: make(chan error, 1)}
	began := time.Now()
	start := func(ctx context.Context) (supervisor.Process, error) {
		b.starts = append(b.starts, time.Since(began))
		c := b.next
		if b.starting > 0 {
			<-time.After(b.starting)
		}
		if b.startErr != nil {
			return nil, b.startErr
		}
		if b.alive.Add(1) > 1 {
			t.Error("two children at once")
		}
		c.ctx, c.pid, c.alive = ctx, len(b.starts), &b.alive
		return c, nil
	}
	notify := func(c supervisor.Child) { b.states = append(b.states, string(c.State)) }
	policy := supervisor.Policy{Delay: 3 * time.Second, Max: time.Minute, StableAfter: time.Minute}
	b.Supervisor = supervisor.New(start, policy, notify, slog.New(slog.DiscardHandler), supervisor.Metrics{Restarts: b.counts})
	return b
}

func (b *bench) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() { b.done <- b.Run(ctx) }()
	synctest.Wait()
}

// pass lets fake time go by and waits for what it sets off.
func (b *bench) pass(d time.Duration) {
	b.Child()     // its lock puts what the test has set before what Run reads next
	time.Sleep(d) //nolint:forbidigo // inside a synctest bubble, where it only moves the clock
	synctest.Wait()
}

func (b *bench) stop(t *testing.T) {
	t.Helper()
	b.cancel()
	if err := <-b.done; err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if n := b.alive.Load(); n != 0 {
		t.Errorf("%d children alive after Run", n)
	}
	if c := b.Child(); c.State != supervisor.Stopped || c.PID != 0 || !c.NextStart.IsZero() {
		t.Errorf("after Run the child is %+v", c)
	}
}

func (b *bench) wantCounts(t *testing.T, want string) {
	t.Helper()
	var got []string
	for label, n := range b.counts.of {
		if n > 0 {
			got = append(got, fmt.Sprintf("%s=%v", label, n))
		}
	}
	slices.Sort(got)
	if s := strings.Join(got, " "); s != want {
		t.Errorf("restarts counted: %q, want %q", s, want)
	}
}

func TestCrashLoopForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{err: crashed})
		b.pass(time.Hour)
		// 3, 6, 12, 24 and 48 s, then a minute each, all up to 20 % longer.
		if n := len(b.starts); n < 54 || n > 65 {
			t.Errorf("%d starts in an hour", n)
		}
		for i, seconds := range []int{3, 6, 12, 24, 48, 60, 60} {
			want := time.Duration(seconds) * time.Second
			if got := b.starts[i+1] - b.starts[i]; got < want || got > want*12/10 {
				t.Errorf("delay %d = %v, want %v to +20 %%", i+1, got, want)
			}
		}
		c := b.Child()
		if c.State != supervisor.Backoff || !c.NextStart.After(time.Now()) || c.LastExit.Code != 255 || c.LastExit.Cause != supervisor.ReasonExit {
			t.Errorf("child = %+v", c)
		}
		if c.Restarts != len(b.starts)-1 {
			t.Errorf("%d restarts of %d starts", c.Restarts, len(b.starts))
		}
		if len(c.Exits) != 8 || c.Exits[0] != c.LastExit || !c.Exits[7].At.Before(c.Exits[6].At) {
			t.Errorf("the last ends, newest first: %+v", c.Exits)
		}
		b.wantCounts(t, fmt.Sprintf("exit=%d", c.Restarts))
		b.stop(t)
	})
}

func TestStableRunIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: 50 * time.Second, err: &supervisor.ExitError{Signal: syscall.SIGSEGV}})
		b.next.life = time.Minute
		b.pass(54 * time.Second) // one short run and its delay
		b.pass(72 * time.Minute)
		if n := len(b.starts); n < 73 || n > 75 {
			t.Errorf("%d starts, want one a minute", n)
		}
		if c := b.Child(); c.LastExit.String() != "signal SIGSEGV" || c.LastExit.Ran != time.Minute {
			t.Errorf("last exit = %+v", c.LastExit)
		}
		b.next = child{err: crashed}
		b.pass(64 * time.Second)
		last := len(b.starts) - 1
		if got := b.starts[last] - b.starts[last-1]; got < 3*time.Second || got > 3600*time.Millisecond {
			t.Errorf("delay after the first short run = %v, want 3s to +20 %%: the runs before were stable", got)
		}
		b.stop(t)
	})
}

func TestFailedStartBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		b.startErr = errors.New("turnserver.conf has no realm")
		b.Restart(supervisor.ReasonRequested)
		b.pass(20 * time.Second)
		c := b.Child()
		if c.State != supervisor.Backoff || c.StartError != "turnserver.conf has no realm" || c.PID != 0 {
			t.Errorf("child = %+v", c)
		}
		if n := len(b.starts); n != 4 { // the first, and those after 0, 3 and 6 s
			t.Errorf("%d starts: %v", n, b.starts)
		}
		b.wantCounts(t, "")
		b.startErr = nil
		b.pass(time.Minute)
		if c := b.Child(); c.State != supervisor.Running || c.StartError != "" || c.Restarts != 1 {
			t.Errorf("child = %+v", c)
		}
		b.wantCounts(t, "requested=1")
		b.stop(t)
	})
}

func TestRestartsAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever, grace: 5 * time.Second})
		b.Restart(supervisor.ReasonRotation)
		b.pass(time.Second)
		if c := b.Child(); c.State != supervisor.Stopping || c.PID != 1 {
			t.Errorf("one second into the stop: %+v", c)
		}
		b.Restart(supervisor.ReasonRotation)
		b.Restart("SIGHUP")
		b.starting = time.Second
		b.pass(4500 * time.Millisecond) // the next start is under way
		if n := len(b.starts); n != 2 {
			t.Fatalf("%d starts, want 2", n)
		}
		b.wantCounts(t, "")
		// This one may be about what the start has read already.
		b.Restart(supervisor.ReasonRotation)
		b.pass(time.Minute)
		if n := len(b.starts); n != 3 {
			t.Errorf("%d starts, want 3: a request during a start is not served by it", n)
		}
		b.wantCounts(t, "rotation=2")
		b.stop(t)
	})
}

func TestRotationsLeaveNoMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		for range 20 {
			b.pass(time.Second)
			b.Restart(supervisor.ReasonRotation)
		}
		b.pass(0)
		if n := len(b.starts); n != 21 {
			t.Fatalf("%d starts, want 21 without a delay", n)
		}
		b.next = child{err: crashed}
		b.Restart(supervisor.ReasonRotation)
		b.pass(3600 * time.Millisecond)
		if n := len(b.starts); n != 23 {
			t.Errorf("%d starts, want 23: the first crash waits for 3 s", n)
		}
		b.stop(t)
	})
}

func TestProbeRestartsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		for _, want := range []time.Duration{3 * time.Second, 6 * time.Second, 12 * time.Second} {
			b.pass(17 * time.Second)
			b.Restart(supervisor.ReasonProbe)
			b.pass(0)
			b.Restart(supervisor.ReasonProbe) // does not cut the delay short
			before := time.Now()
			b.pass(0)
			if c := b.Child(); c.State != supervisor.Backoff || c.NextStart.Sub(before) < want {
				t.Errorf("after a hang: %+v, want a delay of %v", c, want)
			}
			b.pass(time.Until(b.Child().NextStart))
		}
		b.wantCounts(t, "probe=3")
		b.pass(time.Minute)
		b.Restart(supervisor.ReasonProbe)
		b.pass(0)
		if c := b.Child(); c.State != supervisor.Running {
			t.Errorf("a child that had served for a minute is not back at once: %+v", c)
		}
		b.stop(t)
	})
}

func TestRequestEndsBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{err: crashed})
		b.pass(2 * time.Minute)
		b.next = child{life: forever}
		b.Restart(supervisor.ReasonProbe)
		b.pass(0)
		if c := b.Child(); c.State != supervisor.Backoff {
			t.Fatalf("child = %+v", c)
		}
		b.Restart(supervisor.ReasonRequested)
		b.pass(0)
		if c := b.Child(); c.State != supervisor.Running || c.LastExit.Cause != supervisor.ReasonExit {
			t.Errorf("child = %+v", c)
		}
		b.stop(t)
	})
}

func TestHalt(t *testing.T) {
	tests := map[string]struct {
		first     child
		before    func(*bench)
		wantCause string
	}{
		"running": {child{life: forever, grace: time.Minute}, func(*bench) {}, "open_relay"},
		"restart asked for in the same instant": {
			child{life: forever},
			func(b *bench) { b.Restart(supervisor.ReasonRequested) },
			"open_relay",
		},
		"backoff": {child{err: crashed}, func(*bench) {}, supervisor.ReasonExit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, tt.first)
				b.next = child{life: forever}
				tt.before(b)
				b.Halt("open_relay")
				b.pass(0)
				c := b.Child()
				if c.State != supervisor.Stopped || c.HaltCause != "open_relay" || c.LastExit.Cause != tt.wantCause || !c.NextStart.IsZero() {
					t.Fatalf("halted: %+v", c)
				}
				if tt.wantCause == "open_relay" && c.LastExit.Signal != "SIGKILL" {
					t.Errorf("it was given grace: %v", c.LastExit)
				}
				b.Restart(supervisor.ReasonProbe)
				b.Restart(supervisor.ReasonRotation)
				b.pass(time.Hour)
				if len(b.starts) != 1 {
					t.Fatalf("%d starts: what nobody asked for started it again", len(b.starts))
				}
				b.Restart(supervisor.ReasonRequested)
				b.pass(time.Hour)
				if c := b.Child(); c.State != supervisor.Running || c.HaltCause != "" || c.Restarts != 1 {
					t.Errorf("after the request: %+v", c)
				}
				b.Restart(supervisor.ReasonRotation)
				b.pass(time.Hour)
				if c := b.Child(); c.State != supervisor.Running || c.LastExit.Cause != supervisor.ReasonRotation {
					t.Errorf("the halt is not over with the request: %+v", c)
				}
				b.stop(t)
			})
		})
	}
}

func TestHaltedUntilTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		b.Halt("open_relay")
		b.pass(time.Hour)
		b.stop(t)
	})
}

func TestRunReturnsWhenReaped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever, grace: 5 * time.Second})
		b.pass(time.Minute)
		began := time.Now()
		b.stop(t)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("Run returned after %v, the child ended after 5s", took)
		}
		if c := b.Child(); c.LastExit.Cause != "shutdown" || c.LastExit.Ran != 65*time.Second {
			t.Errorf("last exit = %+v", c.LastExit)
		}
		b.wantCounts(t, "")
	})
}

func TestStatesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: time.Second})
		b.pass(2 * time.Second)
		b.next.life = forever
		b.pass(3 * time.Second)
		b.Restart(supervisor.ReasonRequested)
		b.pass(0)
		b.stop(t)
		want := "starting running backoff starting running stopping starting running stopping stopped"
		if got := strings.Join(slices.Compact(b.states), " "); got != want {
			t.Errorf("told %s\nwant %s", got, want)
		}
	})
}

func TestEveryReasonIsCountedFromZero(t *testing.T) {
	c := counts{of: map[string]float64{}}
	supervisor.New(nil, supervisor.Policy{}, nil, nil, supervisor.Metrics{Restarts: c})
	for _, reason := range []string{"exit", "signal", "probe", "rotation", "requested"} {
		if n, ok := c.of[reason]; !ok || n != 0 {
			t.Errorf("restarts of reason %s: %v, %v", reason, n, ok)
		}
	}
	if len(c.of) != 5 {
		t.Errorf("labels: %v", c.of)
	}
}
