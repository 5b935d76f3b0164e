package service

import (
	"context"
	"errors"
	"time"

	"github.com/turnwarden/turnwarden/service/credential"
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
