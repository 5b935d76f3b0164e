package probe

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// The stages of a probe, in their order.
const (
	StageResolve      = "resolve"
	StageTLS          = "tls"
	StageBind         = "bind"
	StageUnauthorized = "unauthorized"
	StageAllocate     = "allocate"
	StageRelay        = "relay"
	StageRefresh      = "refresh"
)

// What a caller branches on; an Error wraps at most one of them.
var (
	ErrNoAnswer  = errors.New("no answer")
	ErrRefused   = errors.New("refused")
	ErrFull      = errors.New("server is full")
	ErrOpenRelay = errors.New("open relay: no credential is asked for")

	// ErrUntrusted is a certificate that clients refuse, of a server that answers.
	ErrUntrusted = errors.New("untrusted certificate")

	// errLocal marks what this process could not do, as without a file descriptor,
	// which a prober must not hold against the server.
	errLocal = errors.New("cannot ask")
)

// Error says at which stage a probe failed and how the server put it.
type Error struct {
	Stage string
	Code  int           // STUN error code; 0 = none came
	Late  time.Duration // with ErrNoAnswer after a time-out: how late our own timers fired
	Err   error
}

func (e *Error) Error() string { return e.Stage + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// refusal turns an error response into an Error.
func refusal(stage string, addr netip.AddrPort, answer *stun.Message) error {
	var attr stun.ErrorCodeAttribute
	if err := attr.GetFrom(answer); err != nil {
		return &Error{Stage: stage, Err: fmt.Errorf("read error code from %s: %w", addr, err)}
	}
	reason := bytes.TrimRight(attr.Reason, "\x00") // coturn counts its padding in
	e := &Error{Stage: stage, Code: int(attr.Code)}
	switch attr.Code {
	case stun.CodeUnauthorized, stun.CodeForbidden, stun.CodeWrongCredentials:
		e.Err = fmt.Errorf("%w by %s: %d %q", ErrRefused, addr, attr.Code, reason)
	case stun.CodeAllocQuotaReached, stun.CodeInsufficientCapacity:
		e.Err = fmt.Errorf("%w: %s says %d %q", ErrFull, addr, attr.Code, reason)
	default:
		e.Err = fmt.Errorf("%s says %d %q", addr, attr.Code, reason)
	}
	return e
}

// code returns the STUN error code of err, 0 where it has none.
func code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}
