package userdb

import (
	"crypto/md5" // RFC 8489 section 9.2.2 defines the long-term key with it.
	"errors"
	"fmt"
)

// Key is what turnserver compares instead of the password. A row without one
// (NULL) crashes coturn 4.6.1 at the first login.
func (f File) Key(username, password string) string {
	return fmt.Sprintf("%x", md5.Sum([]byte(username+":"+f.Realm+":"+password)))
}

// SecretTag begins the value of every row that is ours.
const SecretTag = "turnwarden:"

// SharedSecret returns what turnserver knows as the secret of that name: the key
// of the HMAC-SHA1 that makes a user's password.
func SharedSecret(name, secret string) string { return SecretTag + name + ":" + secret }

// ErrUnchanged is what reading back found, whatever the writer claimed. A full
// disk is the one cause that a look at the database does not show.
var ErrUnchanged = errors.New("the userdb does not show it afterwards: is its disk full?")
