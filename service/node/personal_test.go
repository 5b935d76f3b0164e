package node

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/credential"
)

var (
	shared = credential.Credential{Generation: 7, Username: "tw-0123456789-a", Password: "s3cret", Expires: time.UnixMilli(1790000000999)}
	minted = time.UnixMilli(1789999000400)
)

func TestPersonal(t *testing.T) {
	long := strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		id, ttl  string
		username string // "" = refused
		refused  string // what is named as bad
	}{
		"no name":              {"", "", "1790000000:client", ""},
		"a name":               {"alice", "", "1790000000:alice", ""},
		"all that is accepted": {"aZ09._@=+-", "", "1790000000:aZ09._@=+-", ""},
		"the longest":          {long, "", "1790000000:" + long, ""},
		"too long":             {long + "a", "", "", "userid"},
		"a colon":              {"a:b", "", "", "userid"},
		"a blank":              {"a b", "", "", "userid"},
		"a quote":              {"a'b", "", "", "userid"},
		"a line":               {"alice\n", "", "", "userid"},
		"a NUL":                {"a\x00", "", "", "userid"},
		"another alphabet":     {"žluť", "", "", "userid"},
		"broken UTF-8":         {"a\xff", "", "", "userid"},

		"600 s":                  {"alice", "600", "1789999600:alice", ""},
		"one second":             {"alice", "1", "1789999001:alice", ""},
		"up to the secret's":     {"alice", "1000", "1790000000:alice", ""},
		"beyond the secret's":    {"alice", "1001", "1790000000:alice", ""},
		"as long as there is":    {"alice", "2147483647", "1790000000:alice", ""},
		"longer":                 {"alice", "2147483648", "", "ttl"},
		"none":                   {"alice", "0", "", "ttl"},
		"negative":               {"alice", "-1", "", "ttl"},
		"signed":                 {"alice", "+1", "", "ttl"},
		"a fraction":             {"alice", "1.5", "", "ttl"},
		"with a unit":            {"alice", "10m", "", "ttl"},
		"a blank before":         {"alice", " 1", "", "ttl"},
		"hexadecimal":            {"alice", "0x10", "", "ttl"},
		"digits of another kind": {"alice", "١", "", "ttl"},
		"endless":                {"alice", strings.Repeat("9", 99), "", "ttl"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := new(signer).personal(shared, service.CredentialRequest{UserID: c.id, TTL: c.ttl}, minted)
			if c.refused != "" {
				if !errors.Is(err, service.ErrBadRequest) || !strings.Contains(err.Error(), c.refused+": accepted") || strings.Contains(err.Error(), "\n") || !reflect.DeepEqual(got, service.Credential{}) {
					t.Errorf("got %+v, %v; want a refusal of %s", got, err, c.refused)
				}
				return
			}
			if err != nil || got.Username != c.username || got.Generation != shared.Generation {
				t.Fatalf("got %+v, %v; want %s", got, err, c.username)
			}
			check(t, got)
		})
	}
}

// check holds a credential against its own username and a second HMAC.
func check(t *testing.T, c service.Credential) {
	t.Helper()
	expiry, _, _ := strings.Cut(c.Username, ":")
	if c.Expires.UnixMilli() != c.Expires.Unix()*1000 || expiry != strconv.FormatInt(c.Expires.Unix(), 10) {
		t.Errorf("expires at %d, username %s", c.Expires.UnixMilli(), c.Username)
	}
	if c.Expires.After(shared.Expires) {
		t.Errorf("expires %v after the secret", c.Expires.Sub(shared.Expires))
	}
	if want := hmacSHA1("turnwarden:tw-0123456789-a:s3cret", c.Username); c.Password.Reveal() != want {
		t.Errorf("password of %s: got %s, want %s", c.Username, c.Password.Reveal(), want)
	}
	if mac, err := base64.StdEncoding.DecodeString(c.Password.Reveal()); err != nil || len(mac) != sha1.Size {
		t.Errorf("password: %d bytes, %v", len(mac), err)
	}
}

// hmacSHA1 is RFC 2104 by the letter, for a key of less than a block.
func hmacSHA1(key, text string) string {
	var inner, outer [sha1.BlockSize]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	first := sha1.Sum(append(inner[:], text...))
	second := sha1.Sum(append(outer[:], first[:]...))
	return base64.StdEncoding.EncodeToString(second[:])
}

// TestSign compares with openssl:
//
//	printf 1790000000:alice | openssl dgst -sha1 -hmac turnwarden:tw-0123456789-a:s3cret -binary | base64
func TestSign(t *testing.T) {
	const want = "tBLYglOyQjfU5AM9PPi2/fgxvfA="
	if username, got := new(signer).sign(shared, shared.Expires, "alice"); username != "1790000000:alice" || got.Reveal() != want {
		t.Errorf("got %s, %s, want %s", username, got.Reveal(), want)
	}
}

func TestPersonalHidesItsPassword(t *testing.T) {
	c, err := new(signer).personal(shared, service.CredentialRequest{UserID: "alice"}, minted)
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v", c, c, c), string(asJSON)} {
		if strings.Contains(shown, c.Password.Reveal()) || !strings.Contains(shown, "***") {
			t.Errorf("shown: %s", shown)
		}
	}
}

// FuzzPersonal: whatever is asked for, what is given is coturn's form, for no longer
// than the secret and than was asked for; or the caller is told what is accepted.
func FuzzPersonal(f *testing.F) {
	f.Add("alice", "600", int64(0))
	f.Add("", "", int64(999))
	f.Add("a:b", "-1", int64(-1))
	f.Fuzz(func(t *testing.T, id, ttl string, ms int64) {
		now := shared.Expires.Add(-time.Duration(uint64(ms)%86400000+1) * time.Millisecond)
		c, err := new(signer).personal(shared, service.CredentialRequest{UserID: id, TTL: ttl}, now)
		if err != nil {
			if !errors.Is(err, service.ErrBadRequest) || !reflect.DeepEqual(c, service.Credential{}) {
				t.Errorf("got %+v, %v", c, err)
			}
			return
		}
		check(t, c)
		_, name, _ := strings.Cut(c.Username, ":")
		if name != id && (id != "" || name != "client") || len(name) > 64 || strings.ContainsAny(name, ": '\"\\\n") {
			t.Errorf("%q became %q", id, c.Username)
		}
		if seconds, err := strconv.Atoi(ttl); ttl != "" && (err != nil || c.Expires.Sub(now) > time.Duration(seconds)*time.Second) {
			t.Errorf("ttl %q gave %v", ttl, c.Expires.Sub(now))
		}
		if c.Expires.Unix() < now.Unix() { // coturn compares whole seconds
			t.Errorf("given at %v, over at %v", now, c.Expires)
		}
	})
}

// What is kept of one secret must not sign for another, whoever asks meanwhile.
func TestSignerAfterRotation(t *testing.T) {
	var s signer
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 500 {
				g := shared
				g.Password = service.Secret(strconv.Itoa(i % 3))
				_, got := s.sign(g, g.Expires, "alice")
				if _, want := new(signer).sign(g, g.Expires, "alice"); got != want {
					t.Errorf("secret %d: got %s, want %s", i%3, got.Reveal(), want.Reveal())
				}
			}
		})
	}
	all.Wait()
}
