package node

import (
	"context"
	"net/netip"
	"syscall"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Parts are what a node is made of, each by what the node asks of it.
type Parts struct {
	Child interface {
		Kept
		Ended
		Told
	}
	Prober      Prober
	Credentials interface {
		Handed
		Tended
		Changed
		Users
	}
	Traffic Traffic
	Record  Record // nil = standalone
	Log     interface {
		Counts
		Probed
	}
	Sweeper     Sweeper
	Census      Census       // nil = nobody wants to know more than the log tells
	Sockets     Sockets      // nil = nobody looks
	Maintenance *Maintenance // nil = never
	Journal     Journal      // nil = nothing is remembered
	Drain       Drain        // nil = it is never drained
	Changed     func()       // is told when Status may say something new; must not block; nil = nobody
}

// Kept is the child as it is kept alive.
type Kept interface {
	Child() supervisor.Child
	Restart(reason string)
	Halt(cause string)
}

// Ended is the child that is to end, or not to be started again.
type Ended interface {
	Stop(cause string)
	Retire(cause string)
	Recall()
}

// Told is the child that is sent signals.
type Told interface {
	Signal(sig syscall.Signal) error
}

// Prober says whether the child serves.
type Prober interface {
	Last() probe.Result
	Kick()
}

// Handed is the credential that clients get.
type Handed interface {
	Hand() (credential.Credential, bool)
	Peek() (credential.Credential, bool)
	Status() credential.Status
}

// Tended is what the credentials are told of the child.
type Tended interface {
	Kick()
	Repair()
	Hold(hold bool)
}

// Changed is what an operator changes about the credentials.
type Changed interface {
	Rotate(ctx context.Context, by string) (credential.Rotation, error)
	Revoke(ctx context.Context, id uint64, by string, report func(credential.Step)) (usernames []string, err error)
	Find(username string) (generation uint64)
}

// Users are those of the userdb.
type Users interface {
	Import(ctx context.Context, c credential.Imported, by string, report func(credential.Step)) error
	Users(ctx context.Context) ([]credential.User, error)
	Prune(ctx context.Context, names []string, by string, report func(credential.Step)) error
}

// Traffic is what the interfaces carry.
type Traffic interface {
	Last() traffic.Sample
}

// Record is the node's own in the registry.
type Record interface {
	Status() registry.Status
	Kick()
	Flush(ctx context.Context) error
}

// Counts are those of the child's log.
type Counts interface {
	Sessions() service.SessionCounts
	NewRun()
}

// Probed is told what is a probe's own and no client's.
type Probed interface {
	Asked(local netip.AddrPort)
	Refused(code int)
}

// Sweeper ends the calls of revoked users.
type Sweeper interface {
	Begin(match func(username string) bool) *calls.Sweep
	First() *calls.Sweep
}

// Census counts the calls, whatever the log says.
type Census interface {
	Now(hurry <-chan struct{}) int
}

// Sockets are those of the child.
type Sockets interface {
	Last() supervisor.SocketSample
}

// Journal has the last warnings and errors.
type Journal interface {
	Lines() []service.Line
}

// Drain is where the drain of the node stands.
type Drain interface {
	Status() service.DrainStatus
}
