package transport_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/credential"
)

// FuzzRequest: whatever a client says about what it wants, it gets the one body.
func FuzzRequest(f *testing.F) {
	f.Add("", "")
	f.Add("application/json", "service=turn&username=alice")
	f.Add(`application/json;q="0.1", text/*`, "format=ice&&=;%zz")
	h := api(good)
	f.Fuzz(func(t *testing.T, accept, query string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, &http.Request{
			Method: "GET", URL: &url.URL{Path: "/turncredential", RawQuery: query}, Header: http.Header{"Accept": {accept}},
		})
		if w.Code != http.StatusOK || w.Body.String() != goodBody {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
		switch got := w.Header().Get("Content-Type"); {
		case got == text:
		case got == asJSON && strings.Contains(strings.ToLower(accept), asJSON):
		default:
			t.Errorf("Content-Type %q for Accept %q", got, accept)
		}
	})
}

// FuzzStrings: no username breaks out of its string.
func FuzzStrings(f *testing.F) {
	f.Add("alice", "secret")
	f.Add(`", "code" : "`, "\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, username, password string) {
		svc := fake{credential: good.credential}
		svc.credential.Username, svc.credential.Password = username, credential.Secret(password)
		w := httptest.NewRecorder()
		api(svc).ServeHTTP(w, httptest.NewRequest("GET", "/turncredential", nil))
		// What is not UTF-8 has no place in JSON: each such byte becomes U+FFFD.
		checkBody(t, w.Body.String(), string([]rune(username)), string([]rune(password)))
	})
}
