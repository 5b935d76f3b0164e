package supervisor

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// State is what the child is doing.
type State string

// The states of a child. A halted child is Stopped and has a HaltCause.
const (
	Starting State = "starting"
	Running  State = "running"
	Backoff  State = "backoff"
	Stopping State = "stopping"
	Stopped  State = "stopped"
)

// Why a run ended, in the words of turnwarden_turnserver_restarts_total. Exit and
// Signal are the child's own doing, the others are asked for by Restart.
const (
	ReasonExit      = "exit"
	ReasonSignal    = "signal"
	ReasonProbe     = "probe"     // it ran, and did not serve
	ReasonRotation  = "rotation"  // it has to read a new secret
	ReasonRequested = "requested" // somebody asked for it
)

// Child is the state of the child at one moment.
type Child struct {
	State      State
	PID        int       // 0 unless Running or Stopping
	StartedAt  time.Time // of the process PID
	Restarts   int       // times it was started again after it had ended
	LastExit   Exit      // At is zero until a run has ended
	Exits      []Exit    // the last few, newest first; never changed once it is out
	StartError string    // why the last start failed; empty once one succeeds
	NextStart  time.Time // set in Backoff
	StopReason string    // what Stopping is for: a Reason, the cause given to Halt, Stop or Retire, or "shutdown"
	HaltCause  string    // why it stays down; empty unless Halt, Stop or Retire was called
}

// keptExits is how many ends are remembered: a crash loop shows in far fewer.
const keptExits = 8

// Exit is the end of one run.
type Exit struct {
	Code   int    // exit code, -1 when a signal ended it
	Signal string // as "SIGKILL", empty when it exited by itself
	Cause  string // a Reason, the cause given to Halt, Stop or Retire, or "shutdown"
	At     time.Time
	Ran    time.Duration
}

// String says how the process ended, as "exit code 255" or "signal SIGSEGV".
func (e Exit) String() string {
	if e.Signal != "" {
		return "signal " + e.Signal
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// ExitError is returned by Process.Wait for every end but exit code 0.
type ExitError struct {
	Code   int            // -1 when a signal ended the process
	Signal syscall.Signal // 0 when it exited by itself
}

func (e *ExitError) Error() string { return e.exit().String() }

func (e *ExitError) exit() Exit {
	if e.Signal != 0 {
		name := unix.SignalName(e.Signal)
		if name == "" { // a real-time signal has only a number
			name = e.Signal.String()
		}
		return Exit{Code: -1, Signal: name, Cause: ReasonSignal}
	}
	return Exit{Code: e.Code, Cause: ReasonExit}
}

// causeShutdown is the Cause of an Exit that came with the end of Run.
const causeShutdown = "shutdown"

// newExit reads the result of Process.Wait.
func newExit(err error) Exit {
	var end *ExitError
	switch {
	case err == nil:
		return Exit{Cause: ReasonExit}
	case errors.As(err, &end):
		return end.exit()
	default: // how it ended could not be learned
		return Exit{Code: -1, Cause: ReasonExit}
	}
}

// reason is the label that the next start is counted by.
func (e Exit) reason() string {
	switch e.Cause {
	case ReasonExit, ReasonSignal, ReasonProbe, ReasonRotation:
		return e.Cause
	default: // after a Halt nothing but a request starts the child again
		return ReasonRequested
	}
}
