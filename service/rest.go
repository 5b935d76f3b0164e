package service

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
)

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

// wishes is what a client says of its own credential: whose it is, and how long it is to
// last; 0 = not said.
func (r CredentialRequest) wishes() (id string, ttl time.Duration, err error) {
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

// personal makes a credential of the client's own out of the shared secret g, as in
// the TURN REST draft: the username says when it ends, the password proves that we
// said so. It never outlives the secret, which is deleted then.
func (s *signer) personal(g credential.Credential, r CredentialRequest, now time.Time) (Credential, error) {
	id, ttl, err := r.wishes()
	if err != nil {
		return Credential{}, err
	}
	expires := g.Expires
	if asked := now.Add(ttl); ttl > 0 && asked.Before(expires) {
		expires = asked
	}
	expires = time.Unix(expires.Unix(), 0) // the username has whole seconds
	username, password := s.sign(g, expires, id)
	return Credential{Generation: g.Generation, Username: username, Password: password, Expires: expires}, nil
}

// signer makes passwords out of a shared secret. It keeps what HMAC computes from the
// secret alone, which is half of the work, until another secret is used.
type signer struct{ last atomic.Pointer[keyed] }

type keyed struct {
	name   string
	secret Secret
	macs   sync.Pool // of *mac, each for one goroutine at a time
}

type mac struct {
	hash.Hash
	text, sum []byte
}

// sign returns the username, and base64(HMAC-SHA1(secret, username)) as coturn compares.
func (s *signer) sign(g credential.Credential, expires time.Time, id string) (username string, password Secret) {
	k := s.last.Load()
	if k == nil || k.name != g.Username || k.secret != g.Password {
		k = &keyed{name: g.Username, secret: g.Password}
		k.macs.New = func() any {
			return &mac{Hash: hmac.New(sha1.New, []byte(coturn.SharedSecret(k.name, k.secret.Reveal())))}
		}
		s.last.Store(k)
	}
	m := k.macs.Get().(*mac)
	defer k.macs.Put(m)
	m.Reset()
	m.text = append(append(strconv.AppendInt(m.text[:0], expires.Unix(), 10), ':'), id...)
	m.Write(m.text)
	m.sum = m.Sum(m.sum[:0])
	end := len(m.text)
	m.text = base64.StdEncoding.AppendEncode(m.text, m.sum)
	both := string(m.text) // one allocation
	return both[:end], Secret(both[end:])
}
