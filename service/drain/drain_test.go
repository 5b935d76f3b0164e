package drain_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		version coturn.Version
		calls   int
		events  map[time.Duration]func(d *drainable, hangUp []func())
		then    string
		took    time.Duration // of the whole
		outcome string
		said    string
		child   supervisor.State
		signals string
	}{
		"nobody there": {
			keeps, 0, nil, service.ThenHold, time.Second, "done", "unlisted, readers, refuse, calls, held", supervisor.Running, "[]",
		},
		"nobody there, and a release that can refuse": {
			refuses, 0, nil, service.ThenHold, time.Second, "done", "unlisted, readers, refuse, calls, held", supervisor.Stopped, "[user defined signal 1]",
		},
		"the last call ends": {
			keeps, 2, map[time.Duration]func(*drainable, []func()){
				5 * time.Second:  func(_ *drainable, hangUp []func()) { hangUp[0]() },
				20 * time.Minute: func(_ *drainable, hangUp []func()) { hangUp[1]() },
			}, service.ThenHold, 20*time.Minute + time.Second, "done", "unlisted, readers, refuse, calls, held", supervisor.Running, "[]",
		},
		"the deadline": {
			keeps, 2,
			map[time.Duration]func(*drainable, []func()){5 * time.Second: func(_ *drainable, hangUp []func()) { hangUp[0]() }},
			service.ThenHold, 30 * time.Minute, "the deadline has cut 1 call", "unlisted, readers, refuse, calls, held", supervisor.Stopped, "[]",
		},
		"the server goes by itself when it is empty": {
			refuses, 1, map[time.Duration]func(*drainable, []func()){
				time.Minute: func(d *drainable, hangUp []func()) { hangUp[0](); time.Sleep(500 * time.Millisecond); d.die(nil) },
			}, service.ThenHold, time.Minute + 500*time.Millisecond, "done", "unlisted, readers, refuse, calls, held", supervisor.Stopped, "[user defined signal 1]",
		},
		"the server dies": {
			keeps, 2,
			map[time.Duration]func(*drainable, []func()){
				time.Minute: func(d *drainable, _ []func()) { d.die(&supervisor.ExitError{Code: -1, Signal: syscall.SIGSEGV}) },
			},
			service.ThenHold, time.Minute, "turnserver ended (signal SIGSEGV) with 2 calls",
			"unlisted, readers, refuse, calls FAILED turnserver ended (signal SIGSEGV) with 2 calls, held", supervisor.Stopped, "[]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			drainTest(t, c.version, 0, func(t *testing.T, d *drainable) {
				var hangUp []func()
				for range c.calls {
					hangUp = append(hangUp, d.call())
				}
				for after, event := range c.events {
					time.AfterFunc(after, func() { event(d, hangUp) })
				}
				began := time.Now()
				done := d.drain(t.Context(), 30*time.Minute, c.then)
				if s := d.Node.Status(); !s.Draining || service.State(service.Readiness(s)) != service.StateDraining {
					t.Errorf("a moment after the request: %+v", s.Drain)
				}
				var got string
				for got == "" && time.Since(began) < time.Hour {
					d.pass(100 * time.Millisecond)
					got = outcome(done)
				}
				// It is looked at five times a second.
				if took := time.Since(began); took < c.took-200*time.Millisecond || took > c.took+400*time.Millisecond {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if got != c.outcome || d.said() != c.said {
					t.Errorf("got %q, said %s\nwant %q, said %s", got, d.said(), c.outcome, c.said)
				}
				s := d.Node.Status()
				if s.Child.State != c.child || s.Drain.Phase != service.DrainHeld || !s.Draining || !s.Drain.Deadline.IsZero() {
					t.Errorf("child %+v, drain %+v", s.Child, s.Drain)
				}
				if got := fmt.Sprint(d.signals); got != c.signals {
					t.Errorf("signals %s, want %s", got, c.signals)
				}
				// What is held is resumed, and the lock given back only then.
				if d.queue.given() != 0 {
					t.Error("another node may drain while this one is held")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := d.Resume(ctx, "uid 0", d.report) // a new child cannot be proved in a bubble
				if s := d.Node.Status(); s.Child.State != supervisor.Running || (err == nil) != (c.child == supervisor.Running) || s.Draining != (err != nil) {
					t.Errorf("resumed: %v, child %+v, drain %+v", err, s.Child, s.Drain)
				}
			})
		})
	}
}

// TestDrainTellsReaders: new calls are refused only when nobody can think any more
// that they are wanted. A standalone node has no readers.
func TestDrainTellsReaders(t *testing.T) {
	drainTest(t, refuses, 0, func(t *testing.T, d *drainable) {
		d.call()
		d.drain(t.Context(), time.Hour, service.ThenHold)
		if len(d.signals) != 1 {
			t.Errorf("a standalone node: signals %v", d.signals)
		}
	})
}

func TestDrainQueues(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		d.queue.set("turn-2", "turn-3")
		done := d.drain(t.Context(), time.Minute, service.ThenHold)
		d.pass(time.Hour)
		if s := d.Node.Status(); s.Draining || s.Drain.Phase != service.DrainQueued || !s.Drain.Deadline.IsZero() {
			t.Errorf("waiting for its turn: %+v", s.Drain)
		}
		d.mu.Lock()
		told := d.waits
		d.mu.Unlock()
		if len(told) < 3000 || told[0] != "queued: waiting for turn-2 and turn-3 to be done draining (registry.max_draining)" {
			t.Errorf("told %d times, %q", len(told), told[0])
		}
		d.queue.set()
		d.pass(3 * time.Second)
		if got := outcome(done); got != "done" {
			t.Errorf("its turn, and nobody there: %q", got)
		}
		if err := d.Resume(t.Context(), "uid 0", d.report); err != nil || d.queue.given() != 1 {
			t.Errorf("resume: %v; released %d times", err, d.queue.given())
		}
		d.pass(time.Hour)
		if s := d.Node.Status(); s.Draining || s.Drain != (service.DrainStatus{}) {
			t.Errorf("after the resume: %+v", s.Drain)
		}
		// Given up while it waits, it has never been unlisted.
		d.queue.set("turn-2")
		done2 := d.drain(t.Context(), time.Minute, service.ThenHold)
		if err := d.Resume(t.Context(), "uid 0", d.report); err != nil {
			t.Error(err)
		}
		d.pass(time.Second)
		if got := outcome(done2); got != "done" || d.Node.Status().Drain != (service.DrainStatus{}) {
			t.Errorf("given up: %q, %+v", got, d.Node.Status().Drain)
		}
	})
}

// TestDrainWithoutALock: who cannot know who else drains does not drain.
func TestDrainWithoutALock(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		d.queue.err = errors.New("no ZooKeeper session")
		done := d.drain(t.Context(), time.Minute, service.ThenHold)
		d.pass(time.Second)
		if got := outcome(done); got != "not drained: no ZooKeeper session; --no-lock drains all the same" || d.Node.Status().Draining {
			t.Errorf("got %q, %+v", got, d.Node.Status().Drain)
		}
		if err := d.Drain(t.Context(), service.DrainRequest{Limit: time.Minute, Then: service.ThenHold, NoLock: true}, "uid 0", d.report); err != nil {
			t.Errorf("without the lock: %v", err)
		}
		if d.queue.given() != 0 {
			t.Error("released what it never had")
		}
	})
}

func TestDrainRequests(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		for want, r := range map[string]service.DrainRequest{
			`found then "pause"; accepted: stop, restart, hold`: {Then: "pause"},
			"found a deadline of -1s; accepted: 0s and more":    {Then: service.ThenHold, Limit: -time.Second},
		} {
			err, refused := errors.AsType[*service.RefusedError](d.Drain(t.Context(), r, "uid 0", d.report))
			if !refused || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if err := d.Resume(t.Context(), "uid 0", d.report); err == nil || err.Error() != "no drain is under way" {
			t.Errorf("resume of nothing: %v", err)
		}
	})
}

// TestDrainGoesOn: who has asked may go; who asks again joins.
func TestDrainGoesOn(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		d.call()
		ctx, leave := context.WithCancel(t.Context())
		first := d.drain(ctx, time.Hour, service.ThenStop)
		leave()
		synctest.Wait()
		if got := outcome(first); got != "context canceled; the drain goes on" {
			t.Errorf("got %q", got)
		}
		d.pass(time.Minute)
		deadline := d.Node.Status().Drain.Deadline
		second := d.drain(t.Context(), 2*time.Hour, service.ThenHold)
		if s := d.Node.Status().Drain; s.Deadline != deadline || s.Then != service.ThenHold {
			t.Errorf("joined with more time: %+v, want the earlier deadline %v and the later hold", s, deadline)
		}
		third := d.drain(t.Context(), time.Minute, service.ThenHold)
		d.pass(time.Minute + time.Second)
		for _, c := range []<-chan error{second, third} {
			if got := outcome(c); got != "the deadline has cut 1 call" {
				t.Errorf("got %q", got)
			}
		}
	})
}

// TestDrainStops: where turnwarden is to end, Run returns and leaves the rest to the
// order of shutdown.
func TestDrainStops(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		hangUp := d.call()
		done := d.drain(t.Context(), time.Hour, service.ThenStop)
		d.pass(time.Minute)
		if got := outcome(d.ended); got != "" {
			t.Fatal("Run returned while there is a call")
		}
		hangUp()
		d.pass(2 * time.Second)
		if got := outcome(d.ended); got != "done" {
			t.Errorf("Run: %q", got)
		}
		// The answer comes when the child has ended.
		if got := outcome(done); got != "" {
			t.Errorf("answered %q before the child was stopped", got)
		}
		d.die(nil)
	})
}

// TestDrainAtSIGTERM: the earlier of both deadlines counts, nobody's turn is waited
// for, and a second signal ends the wait.
func TestDrainAtSIGTERM(t *testing.T) {
	ended := func(t *testing.T, d *drainable) time.Duration {
		t.Helper()
		began := time.Now()
		for outcome(d.ended) == "" {
			if d.pass(100 * time.Millisecond); time.Since(began) > 2*time.Hour {
				t.Fatal("Run does not return")
			}
		}
		return time.Since(began).Round(time.Second)
	}
	for name, c := range map[string]struct {
		sigterm, asked time.Duration // drain_timeout, and the deadline of a drain under way; 0 = none
		queued         bool
		hurry          bool
		took           time.Duration
		outcome        string // of the drain under way
	}{
		"no drain_timeout":                          {0, 0, false, false, 0, ""},
		"drain_timeout":                             {drainTimeout, 0, false, false, drainTimeout, ""},
		"a second signal":                           {drainTimeout, 0, false, true, time.Minute, ""},
		"a drain that ends earlier":                 {drainTimeout, 5 * time.Minute, false, false, 5 * time.Minute, "the deadline has cut 1 call"},
		"a drain that ends later":                   {drainTimeout, time.Hour, false, false, drainTimeout, "the deadline has cut 1 call"},
		"a drain that waits":                        {drainTimeout, time.Hour, true, false, drainTimeout, "the deadline has cut 1 call"},
		"a drain, and a SIGTERM that does not wait": {0, time.Hour, false, false, 0, "the deadline has cut 1 call"},
	} {
		t.Run(name, func(t *testing.T) {
			drainTest(t, refuses, c.sigterm, func(t *testing.T, d *drainable) {
				d.call()
				var done <-chan error
				if c.queued {
					d.queue.set("turn-2")
				}
				if c.asked > 0 {
					done = d.drain(t.Context(), c.asked, service.ThenRestart)
				}
				d.Unlist()
				d.signal()
				if c.hurry {
					time.AfterFunc(time.Minute, func() { close(d.hurry) })
				}
				if took := ended(t, d); took != c.took {
					t.Errorf("took %v, want %v", took, c.took)
				}
				if got := d.Node.Status(); !got.Draining {
					t.Error("listed again while turnwarden stops")
				}
				if c.asked > 0 {
					if err := d.Resume(t.Context(), "uid 0", d.report); err == nil || err.Error() != "turnwarden is stopping" {
						t.Errorf("resume: %v", err)
					}
					d.die(nil)
					d.queue.set() // the supervisor of this test goes on and starts another
					_ = done
				}
				if err := d.Drain(t.Context(), service.DrainRequest{Then: service.ThenStop}, "uid 0", d.report); err == nil || err.Error() != "turnwarden is stopping" {
					t.Errorf("drain: %v", err)
				}
			})
		})
	}
}

// TestResume: what a drain has not done yet it never does; a server that was told to
// take no new call cannot be told otherwise, keeps its calls and is replaced after.
func TestResume(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		d.call()
		done := d.drain(t.Context(), time.Hour, service.ThenStop)
		d.pass(time.Minute)
		if err := d.Resume(t.Context(), "uid 0", d.report); err != nil {
			t.Error(err)
		}
		d.pass(time.Hour)
		if got := outcome(done); got != "done" || outcome(d.ended) != "" || d.Node.Status().Sessions.Open != 1 || d.Node.Status().Draining {
			t.Errorf("got %q, %+v", got, d.Node.Status().Drain)
		}
		d.die(&supervisor.ExitError{Code: 1}) // and is started again: it is not the last one any more
		d.pass(time.Second)
		if c := d.Node.Status().Child; c.State != supervisor.Running || c.Restarts != 1 {
			t.Errorf("child %+v", c)
		}
	})
	drainTest(t, refuses, 0, func(t *testing.T, d *drainable) {
		hangUp := d.call()
		before := d.db.size()
		d.drain(t.Context(), time.Hour, service.ThenStop)
		d.pass(time.Minute)
		ctx, leave := context.WithCancel(t.Context())
		var told service.Step
		resumed := make(chan error, 1)
		go func() {
			resumed <- d.Resume(ctx, "uid 0", func(s service.Step) {
				if s.Name == "resume" {
					told = s
				}
			})
		}()
		d.pass(time.Hour)
		s := d.Node.Status()
		if s.Drain.Phase != service.DrainEnding || s.Drain.Then != service.ThenRestart || !s.Drain.Deadline.IsZero() || s.Sessions.Open != 1 || s.Child.Restarts != 0 {
			t.Errorf("an hour later: %+v, %+v", s.Drain, s.Child)
		}
		if !strings.Contains(told.Detail, "cannot be told otherwise") {
			t.Errorf("told %q", told.Detail)
		}
		// Nothing is minted that could not be proved, and who wants it is told why.
		if n := d.db.size(); n != before {
			t.Errorf("%d users, and %d before the drain", n, before)
		}
		if err := d.Rotate(t.Context(), "uid 0", d.report); err == nil || !strings.Contains(err.Error(), "no new credential can be proved") {
			t.Errorf("rotate: %v", err)
		}
		if err := d.Revoke(t.Context(), service.RevokeRequest{All: true}, "uid 0", d.report); err == nil || !strings.Contains(err.Error(), "no new credential can be proved") {
			t.Errorf("revoke: %v", err)
		}
		hangUp()
		d.pass(2 * time.Second)
		if s := d.Node.Status(); s.Drain.Phase != service.DrainRestarting || s.Child.Restarts != 1 || s.Child.State != supervisor.Running {
			t.Errorf("after the last call: %+v, %+v", s.Drain, s.Child)
		}
		leave()
	})
}

// TestDrainWaitsForTheYoung: an allocation made at the same time as a probe's of our own may
// be that. Until it is known which, the node does not count as empty.
func TestDrainWaitsForTheYoung(t *testing.T) {
	drainTest(t, keeps, 0, func(t *testing.T, d *drainable) {
		done := d.drain(t.Context(), time.Hour, service.ThenRestart)
		d.pass(900 * time.Millisecond) // it would be empty in 100 ms
		d.log.Asked(netip.MustParseAddrPort("192.0.2.1:1234"))
		hangUp := d.call()
		if s := d.Node.Status().Sessions; s.Open != 0 || s.Young != 1 {
			t.Fatalf("%d open, %d young", s.Open, s.Young)
		}
		d.pass(5 * time.Second)
		if got := outcome(done); got != "" || d.Node.Status().Child.Restarts != 0 {
			t.Fatalf("%q with a call open, %d restarts", got, d.Node.Status().Child.Restarts)
		}
		hangUp()
		d.pass(2 * time.Second)
		if s := d.Node.Status(); s.Drain.Phase != service.DrainRestarting {
			t.Errorf("phase %q without a call", s.Drain.Phase)
		}
	})
}

// TestSIGTERMIsNotUndone: nobody is told that the node goes on when it does not, and
// what is asked of it meanwhile gives its calls no more time than the signal has.
func TestSIGTERMIsNotUndone(t *testing.T) {
	for _, version := range []coturn.Version{keeps, refuses} {
		drainTest(t, version, drainTimeout, func(t *testing.T, d *drainable) {
			d.call()
			began := time.Now()
			d.Unlist()
			d.signal()
			d.pass(time.Minute)
			resumed := make(chan error, 1)
			go func() { resumed <- d.Resume(t.Context(), "uid 0", d.report) }()
			synctest.Wait()
			if got := outcome(resumed); got != "turnwarden is stopping" {
				t.Errorf("resume: %q", got)
			}
			for _, then := range []string{service.ThenHold, service.ThenRestart} {
				if got := outcome(d.drain(t.Context(), time.Hour, then)); got != "turnwarden is stopping" {
					t.Errorf("drain --then %s: %q", then, got)
				}
			}
			asked := d.drain(t.Context(), time.Hour, service.ThenStop)
			d.pass(drainTimeout - time.Since(began) + time.Second)
			if got := outcome(d.ended); got != "done" {
				t.Errorf("Run, at the end of drain_timeout: %q", got)
			}
			d.die(nil)
			_ = asked
		})
	}
}

// TestDrainWhileRestarting: who asks for a drain while an earlier one has its server
// started anew gets what follows his, and not what followed that.
func TestDrainWhileRestarting(t *testing.T) {
	for then, phase := range map[string]service.DrainPhase{service.ThenStop: "stopping", service.ThenHold: service.DrainRestarting} {
		drainTest(t, refuses, 0, func(t *testing.T, d *drainable) {
			d.drain(t.Context(), time.Hour, service.ThenRestart)
			d.pass(3 * time.Second)
			if s := d.Node.Status(); s.Drain.Phase != service.DrainRestarting { // a new child cannot be proved in a bubble
				t.Fatalf("%+v", s.Drain)
			}
			d.drain(t.Context(), time.Hour, then)
			d.pass(3 * time.Second)
			if s := d.Node.Status(); s.Drain.Phase != phase || s.Drain.Then != then || !s.Draining {
				t.Errorf("then %s: %+v", then, s.Drain)
			}
		})
	}
}

// TestSecondSignalWaitsForNoLock: a ZooKeeper that hangs when the turn to drain is given
// back delays no end that is hurried.
func TestSecondSignalWaitsForNoLock(t *testing.T) {
	drainTest(t, keeps, drainTimeout, func(t *testing.T, d *drainable) {
		d.queue.stuck = make(chan struct{})
		defer close(d.queue.stuck)
		d.drain(t.Context(), time.Hour, service.ThenStop)
		d.pass(3 * time.Second)
		d.signal()
		close(d.hurry)
		d.pass(time.Second)
		if got := outcome(d.ended); got != "done" {
			t.Errorf("Run: %q", got)
		}
	})
}
