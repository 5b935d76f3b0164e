package service

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
)

// ErrBadRequest says that the caller asked for something that cannot be given.
var ErrBadRequest = errors.New("bad request")

// userID is what may follow the expiry in a username: what coturn takes
// (is_secure_string) less the colon, which separates the two.
var userID = regexp.MustCompile(`^[A-Za-z0-9._@=+-]{1,64}$`)

// anonymous is the id of a client that names none.
const anonymous = "client"

// personal makes a credential of the client's own out of the shared secret g, as in
// the TURN REST draft: the username says when it ends, the password proves that we
// said so. It never outlives the secret, which is deleted then.
func personal(g credential.Credential, r CredentialRequest, now time.Time) (Credential, error) {
	id := r.UserID
	if id == "" {
		id = anonymous
	}
	if !userID.MatchString(id) {
		return Credential{}, fmt.Errorf("%w: userid: accepted are 1 to 64 letters, digits and ._@=+-", ErrBadRequest)
	}
	expires := g.Expires
	if r.TTL != "" {
		seconds, err := strconv.ParseUint(r.TTL, 10, 31)
		if err != nil || seconds == 0 {
			return Credential{}, fmt.Errorf("%w: ttl: accepted is a whole number of seconds above 0", ErrBadRequest)
		}
		if asked := now.Add(time.Duration(seconds) * time.Second); asked.Before(expires) {
			expires = asked
		}
	}
	expires = time.Unix(expires.Unix(), 0) // the username has whole seconds
	username := strconv.FormatInt(expires.Unix(), 10) + ":" + id
	return Credential{Generation: g.Generation, Username: username, Password: sign(g, username), Expires: expires}, nil
}

// sign is base64(HMAC-SHA1(secret, username)), which is what coturn compares with.
func sign(g credential.Credential, username string) Secret {
	mac := hmac.New(sha1.New, []byte(coturn.SharedSecret(g.Username, g.Password.Reveal())))
	mac.Write([]byte(username))
	return Secret(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}
