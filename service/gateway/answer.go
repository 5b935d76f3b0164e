package gateway

import (
	"fmt"
	"time"

	"github.com/turnwarden/turnwarden/service"
)

const (
	// tolerance is by how much the clocks of honest hosts may differ.
	tolerance = 5 * time.Second
	// longestLife is more than anybody gives a credential. What is beyond is another unit, or nonsense.
	longestLife = 10 * 366 * 24 * time.Hour
	// maxWord bounds a username and a password; turnwarden's own have 75 bytes at most.
	maxWord = 512
)

// check says what is wrong with a credential that a node has answered with. Clients get it
// as it is, so that one that is of no use counts as a node that does not answer.
func check(c service.Credential, now time.Time) error {
	switch {
	case now.Sub(c.Expires) >= tolerance:
		return fmt.Errorf("its credential has expired %v ago by our clock", now.Sub(c.Expires).Round(time.Second))
	case c.Expires.Sub(now) > longestLife:
		return fmt.Errorf("its credential expires in the year %d", c.Expires.Year())
	case !word(c.Username):
		return fmt.Errorf("its username has %d bytes, or characters that none has; accepted: 1 to %d printable ones", len(c.Username), maxWord)
	case !word(c.Password.Reveal()):
		return fmt.Errorf("its password has %d bytes, or characters that none has; accepted: 1 to %d printable ones", len(c.Password), maxWord)
	}
	return nil
}

// word says whether s can be a username or a password.
func word(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxWord
}
