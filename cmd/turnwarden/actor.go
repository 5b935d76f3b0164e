package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/oklog/run"
)

// actors are the parts of a program. The order in which they are added is that in which
// they stop.
type actors struct {
	group  run.Group
	logger *slog.Logger
}

func (a *actors) add(name string, execute func() error, interrupt func(error)) {
	a.group.Add(execute, func(err error) {
		a.logger.Debug("stopping", "part", name)
		interrupt(err)
	})
}

func (a *actors) addRun(name string, run func(context.Context) error) {
	execute, interrupt := actor(run)
	a.add(name, execute, interrupt)
}

func (a *actors) addStop(name string, stop func()) {
	execute, interrupt := stopper(stop)
	a.add(name, execute, interrupt)
}

// run returns when the last of them has stopped.
func (a *actors) run() error {
	err := a.group.Run()
	if err == nil {
		a.logger.Info("stopped")
	}
	return err
}

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
	tasks    chan func() // run between two signals

	// subscribe is for what a server alone is told by a signal; a client command must end
	// with its terminal. It and what follows are nil in tests.
	subscribe func(os.Signal) <-chan os.Signal
	mute      func() // reset, and nothing else is asked for either
	listen    func() // undoes mute
}

func newSignals(incoming <-chan os.Signal, reset func()) *signals {
	return &signals{incoming: incoming, reset: reset, hurry: make(chan struct{}), tasks: make(chan func())}
}

// outlive has a server go on where whoever is around it ends: SIGPIPE comes when nobody
// reads its log any more, SIGHUP with its terminal.
func (s *signals) outlive() {
	if s.subscribe != nil {
		s.subscribe(syscall.SIGPIPE)
		s.subscribe(syscall.SIGHUP)
	}
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

// alone has run run f, unless a signal has come, and returns its error. A signal to end
// that comes meanwhile finds the default action: none is lost if f is an exec.
func (s *signals) alone(ctx context.Context, f func() error) error {
	outcome := make(chan error, 1)
	task := func() {
		s.mute()
		defer s.listen()
		if len(s.incoming) > 0 {
			outcome <- errors.New("a signal came first")
			return
		}
		outcome <- f()
	}
	select {
	case s.tasks <- task:
		return <-outcome
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run returns at the first signal, and leaves a goroutine that waits for the
// second until done is closed.
func (s *signals) run(ctx context.Context, done <-chan struct{}) error {
	until := 0 // signals, up to the one that hurries
	for until == 0 {
		select {
		case <-ctx.Done():
			until = 2 // nobody has sent the first one yet
		case <-s.incoming:
			until = 1
		case task := <-s.tasks:
			task()
		}
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
