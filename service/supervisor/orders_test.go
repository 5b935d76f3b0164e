package supervisor_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/supervisor"
)

// TestLast: a child that is to be the last one is not followed by another, however it
// ends, until somebody wants one.
func TestLast(t *testing.T) {
	const drained = "drain"
	stop := func(b *bench) { b.Stop(drained) }
	retire := func(b *bench) { b.Retire(drained) }
	halt := func(b *bench) { b.Halt("open_relay") }
	recall := func(b *bench) { b.Recall() }
	crash := &supervisor.ExitError{Signal: syscall.SIGSEGV}
	for name, c := range map[string]struct {
		first      child
		orders     []func(*bench)
		state      supervisor.State
		end, cause string // of the last run
		ran        time.Duration
		reason     string // of the start that is asked for after
	}{
		"stopped":               {child{life: forever, grace: 5 * time.Second}, []func(*bench){stop}, supervisor.Stopped, "signal SIGTERM", drained, 5 * time.Second, "requested=1"},
		"retired":               {child{life: forever}, []func(*bench){retire}, supervisor.Running, "", "", 0, "requested=1"},
		"retired, went":         {child{life: time.Minute}, []func(*bench){retire}, supervisor.Stopped, "exit code 0", drained, time.Minute, "requested=1"},
		"retired, crashed":      {child{life: time.Minute, err: crash}, []func(*bench){retire}, supervisor.Stopped, "signal SIGSEGV", "signal", time.Minute, "signal=1"},
		"retired in a back-off": {child{err: crashed}, []func(*bench){retire}, supervisor.Stopped, "exit code 255", "exit", 0, "exit=1"},
		"retired, stopped":      {child{life: forever}, []func(*bench){retire, stop}, supervisor.Stopped, "signal SIGTERM", drained, 0, "requested=1"},
		"retired, halted":       {child{life: forever, grace: forever}, []func(*bench){retire, halt}, supervisor.Stopped, "signal SIGKILL", "open_relay", 0, "requested=1"},
		"halted, retired":       {child{life: forever, grace: forever}, []func(*bench){halt, retire}, supervisor.Stopped, "signal SIGKILL", "open_relay", 0, "requested=1"},
		"stopped, recalled":     {child{life: forever}, []func(*bench){stop, recall}, supervisor.Stopped, "signal SIGTERM", drained, 0, "requested=1"},
		"halted, recalled":      {child{life: forever}, []func(*bench){halt, recall}, supervisor.Stopped, "signal SIGKILL", "open_relay", 0, "requested=1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := run(t, c.first)
				b.next = child{life: forever}
				for _, order := range c.orders {
					order(b)
				}
				// What asks by itself does not end a child that may run, nor start one.
				b.Restart(supervisor.ReasonProbe)
				b.Restart(supervisor.ReasonRotation)
				b.pass(time.Hour)
				got := b.Child()
				if got.State != c.state || len(b.starts) != 1 {
					t.Fatalf("%d starts, now %+v", len(b.starts), got)
				}
				if c.end != "" && (got.LastExit.String() != c.end || got.LastExit.Cause != c.cause || got.LastExit.Ran != c.ran) {
					t.Errorf("ended by %s after %v because of %q", got.LastExit, got.LastExit.Ran, got.LastExit.Cause)
				}
				b.Restart(supervisor.ReasonRequested)
				b.pass(time.Hour)
				if got := b.Child(); got.State != supervisor.Running || got.HaltCause != "" || len(b.starts) != 2 {
					t.Errorf("after the request: %+v", got)
				}
				b.wantCounts(t, c.reason)
				b.Restart(supervisor.ReasonRotation)
				b.pass(0)
				if len(b.starts) != 3 {
					t.Error("the order is not over with the request")
				}
				b.stop(t)
			})
		})
	}
}

// TestRecall: a child that was to be the last one is followed by another again; where
// it ended meanwhile, at once.
func TestRecall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		b.Recall() // nothing to take back
		b.Retire("drain")
		b.Recall()
		b.Restart(supervisor.ReasonRotation)
		b.pass(0)
		if c := b.Child(); c.State != supervisor.Running || c.HaltCause != "" || len(b.starts) != 2 {
			t.Errorf("%d starts, now %+v", len(b.starts), c)
		}
		b.stop(t)
	})
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: time.Minute, err: crashed})
		b.next = child{life: forever}
		b.Retire("drain")
		b.pass(time.Hour)
		if c := b.Child(); c.State != supervisor.Stopped || c.HaltCause != "drain" {
			t.Fatalf("%+v", c)
		}
		b.Recall()
		b.pass(0)
		if c := b.Child(); c.State != supervisor.Running || c.HaltCause != "" {
			t.Errorf("%+v", c)
		}
		b.stop(t)
	})
}

func TestSignal(t *testing.T) {
	cmd, lines := command("say-signal")
	var process supervisor.Process
	started := make(chan struct{})
	s := supervisor.New(func(ctx context.Context) (p supervisor.Process, err error) {
		process, err = cmd.Start(ctx)
		return process, err
	}, supervisor.Policy{}, func(c supervisor.Child) {
		if c.State == supervisor.Running {
			close(started)
		}
	}, discardLogger, supervisor.Metrics{Restarts: counts{of: map[string]float64{}}})
	if err := s.Signal(syscall.SIGUSR1); !errors.Is(err, supervisor.ErrNotRunning) {
		t.Errorf("before the start: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	<-started
	if line := <-lines; line[:5] != "ready" {
		t.Fatal(line)
	}
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	if line := <-lines; line != "user defined signal 1" {
		t.Errorf("the child says %q", line)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Signal(syscall.SIGUSR1); !errors.Is(err, supervisor.ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
	if err := process.Signal(syscall.SIGUSR1); err == nil {
		t.Error("a process that was reaped took a signal")
	}
}
