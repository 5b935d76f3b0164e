package service

import (
	"context"
	"errors"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/fleet"
)

// Service is what a node offers to those who place calls.
type Service interface {
	// Credential returns a credential that the TURN server accepts now and until
	// the credential's expiry, or ErrNoCredential.
	Credential(ctx context.Context, r CredentialRequest) (Credential, error)
}

// CredentialRequest says for whom and for how long. It counts in secret mode; in user
// mode all clients share one user, whose time is its own.
type CredentialRequest struct {
	UserID string // the client's name; may be empty
	TTL    string // whole seconds; empty = as long as possible
	// Region and Zone say which servers are preferred. A node has no choice.
	Region, Zone string
}

// Picker is what a fleet offers beside.
type Picker interface {
	// Pick returns servers for one client, the best first, or ErrNoServer.
	Pick(ctx context.Context, r PickRequest) ([]*fleet.Node, error)
}

// PickRequest says which servers a client is to get.
type PickRequest struct {
	N            int    // how many, all distinct and in different zones where that is possible; 0 means 1
	Region, Zone string // preferred
	Client       string // the same one gets the same servers while they have room; "" = nobody in particular
}

// Credential is a username and password with the time until which they are good, and
// the servers they are good for.
type Credential struct {
	Generation uint64
	Username   string
	Password   Secret
	Expires    time.Time
	URIs       []string // as in RFC 7065; not to be changed by who gets them
}

// Secret is a password that shows itself to nobody who does not ask by name.
type Secret = credential.Secret

// ErrNoCredential says that nothing valid can be handed out now: before the first
// verified credential, after the last one ended without a successor, and while
// the node stops.
var ErrNoCredential = errors.New("no valid credential now")

// ErrNoServer says that no server of the fleet is up.
var ErrNoServer = errors.New("no TURN server of the fleet is up")
