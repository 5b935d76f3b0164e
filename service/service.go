package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	// Region and Zone say which servers are preferred. A node has no choice.
	Region, Zone string
}

// Picker is what a fleet offers beside.
type Picker interface {
	// Pick returns servers for one client, the best first, or ErrNoServer.
	Pick(ctx context.Context, r PickRequest) ([]Server, error)
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

// ErrBadRequest says that the caller asked for something that cannot be given.
var ErrBadRequest = errors.New("bad request")

// maxUserID bounds what a client may call itself.
const maxUserID = 64

// isUserID says what may follow the expiry in a username: what coturn takes
// (is_secure_string) less the colon, which separates the two.
func isUserID(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("._@=+-", c) >= 0:
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxUserID
}

// anonymous is the id of a client that names none.
const anonymous = "client"

// Wishes is what a client says of its own credential: whose it is, and how long it is to
// last; 0 = not said.
func (r CredentialRequest) Wishes() (id string, ttl time.Duration, err error) {
	id = cmp.Or(r.UserID, anonymous)
	if !isUserID(id) {
		return "", 0, fmt.Errorf("%w: userid: accepted are 1 to 64 letters, digits and ._@=+-", ErrBadRequest)
	}
	if r.TTL == "" {
		return id, 0, nil
	}
	seconds, err := strconv.ParseUint(r.TTL, 10, 31)
	if err != nil || seconds == 0 {
		return "", 0, fmt.Errorf("%w: ttl: accepted is a whole number of seconds above 0", ErrBadRequest)
	}
	return id, time.Duration(seconds) * time.Second, nil
}
