package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service/supervisor"
)

// succeeds takes what b knows, as the next image of the process gets it, and goes on
// there with the child, which is gone if err says so.
func succeeds(t *testing.T, b *bench, c child, err error) *bench {
	t.Helper()
	data, jsonErr := json.Marshal(b.Save())
	if jsonErr != nil {
		t.Fatal(jsonErr)
	}
	var saved supervisor.Saved
	if err := json.Unmarshal(data, &saved); err != nil {
		t.Fatal(err)
	}
	next := newBench(t, child{life: forever})
	next.Adopt(func(ctx context.Context) (supervisor.Process, error) {
		if err != nil {
			return nil, err
		}
		next.alive.Add(1)
		c.ctx, c.pid, c.alive = ctx, saved.Child.PID, &next.alive
		return c, nil
	})
	next.Restore(saved)
	if before, after := b.Child(), next.Child(); before.State != after.State || before.PID != after.PID ||
		!before.StartedAt.Equal(after.StartedAt) || !before.NextStart.Equal(after.NextStart) || before.HaltCause != after.HaltCause {
		t.Errorf("before Run the child is %+v, was %+v", after, before)
	}
	if err := next.Signal(syscall.SIGUSR1); !errors.Is(err, supervisor.ErrNotRunning) {
		t.Errorf("before Run a signal is answered with %v", err)
	}
	next.run(t)
	return next
}

// The successor goes on with a running child, whose age and history count on.
func TestResumeWithChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{err: crashed})
		b.next = child{life: forever}
		b.pass(50 * time.Second)
		next := succeeds(t, b, child{life: 20 * time.Second, err: crashed}, nil)
		next.pass(19 * time.Second)
		if len(next.starts) != 0 || next.Child().State != supervisor.Running {
			t.Errorf("%d starts, child %+v", len(next.starts), next.Child())
		}
		next.wantCounts(t, "exit=1")
		next.pass(time.Second)
		// It ran for 66 s in all, so there is no delay.
		if len(next.starts) != 1 || next.Child().LastExit.Ran < time.Minute || next.Child().Restarts != 2 {
			t.Errorf("%d starts, child %+v", len(next.starts), next.Child())
		}
		next.wantCounts(t, "exit=2")
		next.stop(t)
		b.stop(t)
	})
}

func TestResumeEndsTheChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		next := succeeds(t, b, child{life: forever, grace: time.Second}, nil)
		next.stop(t)
		b.stop(t)
	})
}

// A child that is lost on the way is started again like one that crashed.
func TestResumeWithoutChild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		next := succeeds(t, b, child{}, errors.New("no child of ours"))
		if c := next.Child(); c.State != supervisor.Backoff || c.PID != 0 || c.LastExit.Code != -1 {
			t.Errorf("child %+v", c)
		}
		next.pass(4 * time.Second)
		next.wantCounts(t, "exit=1")
		next.stop(t)
		b.stop(t)
	})
}

// A back-off is not begun anew, nor cut short, and its length is remembered.
func TestResumeBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{err: crashed})
		b.next = child{err: crashed}
		b.pass(5 * time.Second) // one start after 3 to 3.6 s, and 6 to 7.2 s to go from there
		next := succeeds(t, b, child{}, nil)
		next.next = child{err: crashed}
		next.pass(3 * time.Second)
		if len(next.starts) != 0 {
			t.Errorf("started after %v", next.starts)
		}
		next.pass(4 * time.Second)
		if len(next.starts) != 1 {
			t.Errorf("started after %v", next.starts)
		}
		next.pass(8 * time.Second)
		if len(next.starts) != 1 {
			t.Errorf("the third delay is shorter than 12 s: started after %v", next.starts)
		}
		next.stop(t)
		b.stop(t)
	})
}

func TestResumeHalted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, child{life: forever})
		b.Halt("open_relay")
		b.pass(time.Second)
		next := succeeds(t, b, child{}, nil)
		next.pass(time.Hour)
		if c := next.Child(); c.HaltCause != "open_relay" || len(next.starts) != 0 {
			t.Errorf("%d starts, child %+v", len(next.starts), c)
		}
		next.Restart(supervisor.ReasonRequested)
		next.pass(time.Second)
		if len(next.starts) != 1 {
			t.Errorf("%d starts after a request, want 1", len(next.starts))
		}
		next.stop(t)
		b.stop(t)
	})
}
