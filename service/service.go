package service

import (
	"context"
	"errors"

	"github.com/turnwarden/turnwarden/service/credential"
)

// Service is what a node offers to those who place calls.
type Service interface {
	// Credential returns a credential that the TURN server accepts now and until
	// the credential's expiry, or ErrNoCredential.
	Credential(ctx context.Context, r CredentialRequest) (Credential, error)
}

// CredentialRequest is empty while all clients of a node share one user.
type CredentialRequest struct{}

// Credential is a username and password with the time until which they are good.
type Credential = credential.Credential

// ErrNoCredential says that nothing valid can be handed out now: before the first
// verified credential, after the last one ended without a successor, and while
// the node stops.
var ErrNoCredential = errors.New("no valid credential now")
