package transport_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/credential"
)

// FuzzRequest: whatever a client says about what it wants, it gets the one body, or the
// one of the format that it names.
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
		if q, _ := url.ParseQuery(query); q.Get("format") != "" {
			checkFormat(t, w, q.Get("format"))
			return
		}
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

func checkFormat(t *testing.T, w *httptest.ResponseRecorder, format string) {
	t.Helper()
	accepted := format == "ice" || format == "array" || format == "turn"
	switch {
	case accepted && w.Code == http.StatusOK && w.Header().Get("Content-Type") == asJSON && json.Valid(w.Body.Bytes()):
	case !accepted && w.Code == http.StatusBadRequest && strings.Contains(w.Body.String(), `"code" : "error"`):
	default:
		t.Errorf("format %q: got %d %s", format, w.Code, w.Body)
	}
}

// FuzzForm: whatever parameters /v1/turn gets, in the query and in the body, it answers
// with the credential or with a problem of the client's.
func FuzzForm(f *testing.F) {
	f.Add("service=turn&api=k&key=k&username=7", "service=turn&api=k&key=k&username=7")
	f.Add("", "service=stun")
	f.Add("%zz;", strings.Repeat("a=b&", 2000))
	h := api(good)
	f.Fuzz(func(t *testing.T, query, body string) {
		r := httptest.NewRequest("POST", "/v1/turn", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		var reply map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
			t.Fatalf("%v in %s", err, w.Body)
		}
		switch {
		case w.Code == http.StatusOK && reply["username"] == "tw-0123456789-alice":
		case w.Code == http.StatusBadRequest && reply["status"] == 400.0 && !strings.Contains(w.Body.String(), "s3cret"):
		default:
			t.Errorf("got %d %s", w.Code, w.Body)
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
