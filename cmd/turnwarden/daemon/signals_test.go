package daemon

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/oklog/run"
)

// TestActorsStopInOrder: an interrupt returns when its actor has, so the order of
// Add is the order of shutdown, however long each takes.
func TestActorsStopInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		note := func(name string) { mu.Lock(); defer mu.Unlock(); order = append(order, name) }
		slow := func(name string, d time.Duration) func(context.Context) error {
			return func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(d) // in the bubble's time
				note(name)
				return nil
			}
		}
		incoming := make(chan os.Signal, 3)
		reset := false
		s := newSignals(incoming, func() { reset = true })
		stopped := make(chan struct{})
		var g run.Group
		g.Add(actor(func(ctx context.Context) error { return s.run(ctx, stopped) }))
		g.Add(actor(slow("first", 5*time.Second)))
		g.Add(stopper(func() { note("second") }))
		g.Add(actor(slow("third", time.Second)))
		g.Add(actor(func(ctx context.Context) error {
			<-ctx.Done()
			<-s.hurry // waits for ever, unless it is hurried
			note("fourth")
			return nil
		}))
		incoming <- syscall.SIGTERM
		go func() {
			time.Sleep(time.Minute)
			incoming <- syscall.SIGTERM
		}()
		began := time.Now()
		if err := g.Run(); err != nil {
			t.Fatal(err)
		}
		close(stopped)
		if got := strings.Join(order, " "); got != "first second third fourth" {
			t.Errorf("stopped in the order %q", got)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v: the second signal must end the wait, and nothing before it", took)
		}
		if !reset {
			t.Error("a third signal would not kill")
		}
	})
}

// TestAlone: what must not be disturbed by a signal is done between two, and not at all
// once one has come.
func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		incoming := make(chan os.Signal, 3)
		var order []string
		note := func(what string) func() { return func() { order = append(order, what) } }
		s := newSignals(incoming, func() {})
		s.mute, s.listen = note("mute"), note("listen")
		done, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- s.run(t.Context(), done) }()
		failure := errors.New("no")
		if err := s.alone(t.Context(), func() error { note("f")(); return failure }); !errors.Is(err, failure) {
			t.Errorf("alone = %v", err)
		}
		s.mute = func() { note("mute")(); incoming <- syscall.SIGTERM }
		if err := s.alone(t.Context(), func() error { note("too late")(); return nil }); err == nil {
			t.Error("done, and a signal had come")
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.alone(ctx, func() error { note("too late")(); return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("alone = %v", err)
		}
		close(done)
		if got := strings.Join(order, " "); got != "mute f listen mute listen" {
			t.Errorf("order: %s", got)
		}
	})
}
