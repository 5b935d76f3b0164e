package daemon

import (
	"context"
	"log/slog"

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
