package transport

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// The scopes of a token: what it opens.
const (
	ScopeCredential = "credential"
	ScopePick       = "pick"
	ScopeEvents     = "events"
	ScopeStatus     = "status"
)

var scopes = []string{ScopeCredential, ScopePick, ScopeEvents, ScopeStatus}

// token is one line of the file. The token itself is known to its caller alone.
type token struct {
	name    string
	sum     [sha256.Size]byte
	rate    float64
	scopes  []string
	limiter *rate.Limiter // nil = no limit
}

// Tokens are the callers that a token file names.
type Tokens struct {
	rate    float64
	current atomic.Pointer[[]token]
}

// NewTokens returns no tokens: nobody may call. rate is the requests per second of those
// whose line names none; 0 = no limit.
func NewTokens(rate float64) *Tokens {
	t := &Tokens{rate: rate}
	t.current.Store(new([]token))
	return t
}

// Replace takes the content of the file in place of what was there. With a mistake in
// it, which the error names, all stays as it was.
func (t *Tokens) Replace(content []byte) error {
	next, err := parseTokens(content, t.rate)
	if err != nil {
		return err
	}
	for i := range next {
		for _, old := range *t.current.Load() {
			if old.name == next[i].name && old.rate == next[i].rate {
				next[i].limiter = old.limiter // or each reload would be a burst for everybody
			}
		}
	}
	t.current.Store(&next)
	return nil
}

// Len says how many there are.
func (t *Tokens) Len() int { return len(*t.current.Load()) }

// find returns whose token this is. Every line is compared, in constant time, so that
// the time tells nothing.
func (t *Tokens) find(secret string) *token {
	if secret == "" { // whatever a line says
		return nil
	}
	sum := sha256.Sum256([]byte(secret))
	var found *token
	all := *t.current.Load()
	for i := range all {
		if subtle.ConstantTimeCompare(all[i].sum[:], sum[:]) == 1 {
			found = &all[i]
		}
	}
	return found
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// parseTokens reads lines of the form name sha256:HEX [rate=N] [scope=A,B]. Empty lines
// and those that begin with # are passed over. The error names every mistake.
func parseTokens(content []byte, defaultRate float64) ([]token, error) {
	tokens := []token{}
	var errs []error
	lines := bufio.NewScanner(bytes.NewReader(content))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, err := parseToken(strings.Fields(line), defaultRate)
		for _, other := range tokens {
			if err == nil && (other.name == t.name || other.sum == t.sum) {
				err = fmt.Errorf("found the name or the token of %q again; accepted: each once", other.name)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		tokens = append(tokens, t)
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("read the lines: %w", err))
	}
	return tokens, errors.Join(errs...)
}

func parseToken(words []string, defaultRate float64) (token, error) {
	t := token{name: words[0], rate: defaultRate, scopes: scopes}
	if !tokenName.MatchString(t.name) {
		return t, errors.New("found no name; accepted: letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit")
	}
	if len(words) == 1 {
		return t, fmt.Errorf("found %q alone; accepted: name sha256:HEX [rate=N] [scope=%s], as turnwarden token NAME prints it", t.name, strings.Join(scopes, ","))
	}
	digest, ok := strings.CutPrefix(words[1], "sha256:")
	sum, err := hex.DecodeString(digest)
	if !ok || err != nil || copy(t.sum[:], sum) != len(t.sum) || len(sum) != len(t.sum) {
		// Not what was found: it may be the token itself.
		return t, fmt.Errorf("found no digest for %q; accepted: sha256: and 64 hexadecimal digits, as turnwarden token %s prints it", t.name, t.name)
	}
	for _, option := range words[2:] {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "rate":
			if t.rate, err = strconv.ParseFloat(value, 64); err != nil || t.rate < 0 || math.IsNaN(t.rate) || math.IsInf(t.rate, 0) {
				return t, fmt.Errorf("found %q; accepted: rate= and requests per second, 0 = no limit", option)
			}
		case "scope":
			t.scopes = strings.Split(value, ",")
			for _, s := range t.scopes {
				if !slices.Contains(scopes, s) {
					return t, fmt.Errorf("found scope %q; accepted: %s", s, strings.Join(scopes, ", "))
				}
			}
		default:
			return t, fmt.Errorf("found %q; accepted: rate=N and scope=%s", key, strings.Join(scopes, ","))
		}
	}
	t.limiter = newLimiter(t.rate)
	return t, nil
}

// NewToken makes a token, and the line of the file that lets it in.
func NewToken(name string) (secret, line string, err error) {
	if !tokenName.MatchString(name) {
		return "", "", fmt.Errorf("found the name %q; accepted: letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit", name)
	}
	secret = rand.Text() // 130 bits
	sum := sha256.Sum256([]byte(secret))
	return secret, name + " sha256:" + hex.EncodeToString(sum[:]), nil
}
