package credential

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"
)

// State is where a generation stands between minting and deletion.
type State string

// The states, in the order a generation passes them.
const (
	Pending  State = "pending"  // on record, perhaps in the store, not yet proved
	Verified State = "verified" // an Allocate succeeded; not yet handed out
	Active   State = "active"   // the one that is handed out
	Retiring State = "retiring" // valid for those who hold it, until it is deleted
	Revoked  State = "revoked"  // compromised; to be deleted whatever was promised
	Deleted  State = "deleted"  // gone from the store and from the record: no generation is in it
)

// Secret is a password. It shows itself to nobody who does not ask by name.
type Secret string

// Reveal returns the password itself.
func (s Secret) Reveal() string { return string(s) }

// Format keeps the password out of every verb: String would do for %v and %s,
// but %d then prints "%!d(Secret=...)" with the password in it.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "***") }

// MarshalText keeps it out of JSON, and so out of structs in JSON log lines.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// LogValue redacts log attributes.
func (Secret) LogValue() slog.Value { return slog.StringValue("***") }

// generation is one credential. Its times are wall-clock times, as the state
// file and the clients know them; seen and left carry the same promise on the
// monotonic clock.
type generation struct {
	ID        uint64
	Username  string
	Password  Secret
	State     State
	Imported  bool      // another program made it, or we under another name, and has handed it out
	Published time.Time // zero until it was active
	Expires   time.Time // what clients are told; zero until it was active

	seen    time.Time     // when this process published or loaded it, with monotonic reading
	left    time.Duration // validity left at seen
	fetched *atomic.Bool  // somebody may hold it; shared by all copies
	proved  bool          // this process saw an Allocate with it succeed
	stored  bool          // this process saw it in the store
}

// alphabet holds the characters that turnadmin, turnserver, SQL, JSON and URIs
// all take as they stand (coturn's is_secure_string refuses quotes and blanks).
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

const (
	usernameRandom = 26 // 26 * log2(62) = 154 bits
	passwordLength = 32 // 190 bits
)

// random returns n characters of the alphabet, each equally likely.
func random(n int) string {
	out := make([]byte, 0, n)
	buf := make([]byte, 2*n)
	for len(out) < n {
		_, _ = rand.Read(buf) // never fails (crypto/rand since Go 1.24)
		for _, b := range buf {
			// 248 is the largest multiple of 62 below 256: above it the
			// first characters would be likelier than the others.
			if b < 248 && len(out) < n {
				out = append(out, alphabet[b%62])
			}
		}
	}
	return string(out)
}

// prefix is what every username of this node begins with. It is a hash, so that
// node "turn" cannot own the users of node "turn-1".
func prefix(node string) string {
	sum := sha256.Sum256([]byte(node))
	return "tw-" + hex.EncodeToString(sum[:5]) + "-"
}

var randomPart = regexp.MustCompile(`^[A-Za-z0-9]{26}$`)

// owns says whether username has exactly the form this node mints.
func owns(node, username string) bool {
	p := prefix(node)
	return len(username) == len(p)+usernameRandom && username[:len(p)] == p && randomPart.MatchString(username[len(p):])
}

func mint(node string, id uint64) generation {
	return generation{
		ID:       id,
		fetched:  new(atomic.Bool),
		Username: prefix(node) + random(usernameRandom),
		Password: Secret(random(passwordLength)),
		State:    Pending,
	}
}
