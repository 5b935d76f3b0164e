package node

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"hash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/userdb"
)

// personal makes a credential of the client's own out of the shared secret g, as in
// the TURN REST draft: the username says when it ends, the password proves that we
// said so. It never outlives the secret, which is deleted then.
func (s *signer) personal(g credential.Credential, r service.CredentialRequest, now time.Time) (service.Credential, error) {
	id, ttl, err := r.Wishes()
	if err != nil {
		return service.Credential{}, err
	}
	expires := g.Expires
	if asked := now.Add(ttl); ttl > 0 && asked.Before(expires) {
		expires = asked
	}
	expires = time.Unix(expires.Unix(), 0) // the username has whole seconds
	username, password := s.sign(g, expires, id)
	return service.Credential{Generation: g.Generation, Username: username, Password: password, Expires: expires}, nil
}

// signer makes passwords out of a shared secret. It keeps what HMAC computes from the
// secret alone, which is half of the work, until another secret is used.
type signer struct{ last atomic.Pointer[keyed] }

type keyed struct {
	name   string
	secret service.Secret
	macs   sync.Pool // of *mac, each for one goroutine at a time
}

type mac struct {
	hash.Hash
	text, sum []byte
}

// sign returns the username, and base64(HMAC-SHA1(secret, username)) as coturn compares.
func (s *signer) sign(g credential.Credential, expires time.Time, id string) (username string, password service.Secret) {
	k := s.last.Load()
	if k == nil || k.name != g.Username || k.secret != g.Password {
		k = &keyed{name: g.Username, secret: g.Password}
		k.macs.New = func() any {
			return &mac{Hash: hmac.New(sha1.New, []byte(userdb.SharedSecret(k.name, k.secret.Reveal())))}
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
	return both[:end], service.Secret(both[end:])
}
