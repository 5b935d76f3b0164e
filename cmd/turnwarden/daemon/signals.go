package daemon

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// signals turns the first signal into an orderly stop and the second into a
// hurried one. Unlike run.SignalHandler it stays subscribed while the group
// stops; the third signal finds the default action and kills the process.
type signals struct {
	incoming <-chan os.Signal
	reset    func() // gives the signals back to the kernel's default action
	hurry    chan struct{}
	tasks    chan func() // run between two signals

	// What follows is nil in tests.
	subscribe func(os.Signal) <-chan os.Signal
	mute      func() // reset, and nothing else is asked for either
	listen    func() // undoes mute
}

func newSignals(incoming <-chan os.Signal, reset func()) *signals {
	return &signals{incoming: incoming, reset: reset, hurry: make(chan struct{}), tasks: make(chan func())}
}

// processSignals are those of this process, which goes on where whoever is around it ends:
// SIGPIPE comes when nobody reads its log any more, SIGHUP with its terminal.
func processSignals() *signals {
	incoming := make(chan os.Signal, 8)
	asked := map[os.Signal]chan<- os.Signal{}
	s := newSignals(incoming, func() { signal.Stop(incoming) })
	s.subscribe = func(of os.Signal) <-chan os.Signal {
		c := make(chan os.Signal, 1)
		asked[of] = c
		signal.Notify(c, of)
		return c
	}
	s.listen = func() {
		signal.Notify(incoming, os.Interrupt, syscall.SIGTERM)
		for of, c := range asked {
			signal.Notify(c, of)
		}
	}
	s.mute = func() {
		s.reset()
		for of := range asked {
			signal.Ignore(of) // an exec keeps that; the default action would end the next image
		}
	}
	s.listen()
	s.subscribe(syscall.SIGPIPE)
	s.subscribe(syscall.SIGHUP)
	return s
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
