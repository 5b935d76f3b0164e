package transport

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// What a reply to GET /turncredential is made with. It is written for speed, unlike the rest
// of the package: what net/url, encoding/json and http.Header allocate for each shows where a
// gateway answers from memory. BenchmarkGateway and BenchmarkTurncredential compare it with a
// handler that writes a constant; whoever changes something here shows them before and after.

// decodeSeed reads the parameters of a request of the seed's kind.
func decodeSeed(_ context.Context, r *http.Request) (any, error) {
	if r.URL.RawQuery == "" {
		return service.CredentialRequest{}, nil
	}
	var c service.CredentialRequest
	for key, value := range parameters(r.URL.RawQuery) {
		switch { // of a name that comes twice, the first that says something counts
		case key == "userid" && c.UserID == "":
			c.UserID = value
		case key == "ttl" && c.TTL == "":
			c.TTL = value
		case key == "region" && c.Region == "":
			c.Region = value
		case key == "zone" && c.Zone == "":
			c.Zone = value
		}
	}
	return c, nil
}

// parameters hands out the readable pairs of a query, as url.ParseQuery has them, without
// making a map of them at each request.
func parameters(query string) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for query != "" {
			var pair string
			pair, query, _ = strings.Cut(query, "&")
			if pair == "" || strings.Contains(pair, ";") {
				continue
			}
			key, value, _ := strings.Cut(pair, "=")
			key, keyErr := url.QueryUnescape(key)
			value, err := url.QueryUnescape(value)
			if keyErr == nil && err == nil && !yield(key, value) {
				return
			}
		}
	}
}

// bodies are what the replies of the seed's kind are built in.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// encodeSeed writes a reply of the seed's kind.
func encodeSeed(s shape) kithttp.EncodeResponseFunc {
	var expires expiry
	return func(ctx context.Context, w http.ResponseWriter, response any) error {
		c := response.(service.Credential)
		expires.write(w, c)
		body := bodies.Get().(*[]byte)
		*body = s((*body)[:0], c, time.Time{})
		writeSeed(ctx, w, http.StatusOK, *body)
		bodies.Put(body)
		return nil
	}
}

// expiry writes until when a credential is good, for those who would keep it. It keeps
// the text of the last one, for the next mostly ends in the same second.
type expiry struct{ last atomic.Pointer[expiryText] }

type expiryText struct {
	unix  int64
	value []string
}

func (e *expiry) write(w http.ResponseWriter, c service.Credential) {
	text := e.last.Load()
	if text == nil || text.unix != c.Expires.Unix() {
		text = &expiryText{c.Expires.Unix(), []string{c.Expires.UTC().Format(http.TimeFormat)}}
		e.last.Store(text)
	}
	w.Header()["Expires"] = text.value
}

// Values that are never written to: Header.Set would make a slice at each request.
var (
	textPlain       = []string{"text/plain; charset=utf-8"}
	applicationJSON = []string{"application/json"}
	noStore         = []string{"no-store"}
	problemJSON     = []string{"application/problem+json"}
	noSniff         = []string{"nosniff"}
)

func write(w http.ResponseWriter, code int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone; there is nobody to tell
}

func appendStrings(b []byte, list []string, separator string) []byte {
	for i, s := range list {
		if i > 0 {
			b = append(b, separator...)
		}
		b = appendString(b, s)
	}
	return b
}

// appendString appends a JSON string. Credentials are letters, digits and a few signs
// that stand for themselves; what else there is, encoding/json quotes.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
