package main

import (
	"context"
	"os"
)

// actor adapts a Run method to oklog/run. Its interrupt returns only when run
// has, and a group interrupts in the order of Add: so the order of Add is the
// order of shutdown.
func actor(run func(context.Context) error) (execute func() error, interrupt func(error)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	return func() error {
			defer close(done)
			return run(ctx)
		}, func(error) {
			cancel()
			<-done
		}
}

// stopper takes what needs no goroutine into the order of shutdown: it idles
// until it is interrupted, and then stop runs where it was added.
func stopper(stop func()) (execute func() error, interrupt func(error)) {
	done := make(chan struct{})
	return func() error { <-done; return nil }, func(error) { stop(); close(done) }
}

// signals turns the first signal into an orderly stop and the second into a
// hurried one. Unlike run.SignalHandler it stays subscribed while the group
// stops; the third signal finds the default action and kills the process.
type signals struct {
	incoming <-chan os.Signal
	reset    func() // gives the signals back to the kernel's default action
	hurry    chan struct{}
	hangups  func() <-chan os.Signal // subscribes to SIGHUP; nil in tests. A client command must end with its terminal.
}

func newSignals(incoming <-chan os.Signal, reset func()) *signals {
	return &signals{incoming: incoming, reset: reset, hurry: make(chan struct{})}
}

// interrupt returns a context that the first signal ends, for commands that wait for
// another process.
func (s *signals) interrupt() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-s.incoming:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// run returns at the first signal, and leaves a goroutine that waits for the
// second until done is closed.
func (s *signals) run(ctx context.Context, done <-chan struct{}) error {
	until := 1 // signals, up to the one that hurries
	select {
	case <-ctx.Done():
		until = 2 // nobody has sent the first one yet
	case <-s.incoming:
	}
	go func() {
		for range until {
			select {
			case <-s.incoming:
			case <-done:
				return
			}
		}
		s.reset()
		close(s.hurry)
	}()
	return nil
}
