package service

import (
	"fmt"
	"time"
)

// Step is one thing that was done on an operator's request, or could not be.
type Step struct {
	Name   string
	Detail string
	Took   time.Duration
	Err    error
	// Passing is set where the next step replaces this one: it says how a wait goes.
	Passing bool
}

// RefusedError says why nothing at all was done: what is needed for it is not in order.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Err }

// Refuse makes a RefusedError of err.
func Refuse(err error) error { return &RefusedError{err} }

// ReloadRequest says what a reload may do beyond what touches no call.
type ReloadRequest struct {
	Drain  bool          // what waits for turnserver to be started anew, when its calls have ended
	Limit  time.Duration // as of a DrainRequest
	NoLock bool
}

// RevokeRequest says what is compromised: one of the first three fields.
type RevokeRequest struct {
	Generation uint64
	All        bool
	User       string // a client's username; in secret mode its id part
	KeepCalls  bool   // leave running sessions alone
	Wait       bool   // return only after the last sweep
}

// DrainRequest says how a node is to be emptied.
type DrainRequest struct {
	Limit  time.Duration // from the unlisting; then the calls that are left are cut
	Then   string        // what follows
	NoLock bool          // whoever else of the fleet drains
}

// CutError says that a drain's limit ended calls.
type CutError struct{ Calls int }

func (e *CutError) Error() string {
	if e.Calls == 1 {
		return "the deadline has cut 1 call"
	}
	return fmt.Sprintf("the deadline has cut %d calls", e.Calls)
}

// What is to follow when a node is empty.
const (
	ThenStop    = "stop"    // turnwarden ends
	ThenRestart = "restart" // the child is started anew and the node listed again
	ThenHold    = "hold"    // nothing, until a resume
)

// Commands are what an operator types. The domain knows of no command line: whoever has
// one says what the words for an operator are to name.
type Commands struct {
	Resume, Restart, MaintenanceOff string
	NoLock                          string // the flag of a drain that waits for no turn
}
