package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// fake is a service.Service that always says the same.
type fake struct {
	credential service.Credential
	err        error
}

func (f fake) Credential(context.Context, service.CredentialRequest) (service.Credential, error) {
	return f.credential, f.err
}

func api(f fake) http.Handler {
	return transport.NewAPIHandler(transport.NewEndpoints(f), transporttest.Plain, transport.APIOptions{})
}

var (
	good = fake{credential: service.Credential{
		Username: "tw-0123456789-alice", Password: "s3cret", Expires: time.UnixMilli(1790000000000),
		URIs: []string{"turn:192.0.2.1:3478?transport=udp", "turns:[2001:db8::1]:5349?transport=tcp"},
	}}
	none = fake{err: fmt.Errorf("%w: stopping", service.ErrNoCredential)}
)

const (
	goodBody = `{ "type" : "result", "code" : "ok", "userid" : "tw-0123456789-alice", "password" : "s3cret", "expired_time" : 1790000000000 }`
	noneBody = `{ "type" : "result", "code" : "error", "message" : "no valid credential now: stopping" }`

	text    = "text/plain; charset=utf-8"
	asJSON  = "application/json"
	problem = "application/problem+json"
)

func TestTurncredential(t *testing.T) {
	for name, c := range map[string]struct {
		service fake
		method  string
		path    string
		accept  string
		code    int
		headers map[string]string // "" = absent
		body    string
	}{
		"get":                   {good, "GET", "/turncredential", "", 200, map[string]string{"Content-Type": text, "Retry-After": "", "Allow": "", "Expires": "Mon, 21 Sep 2026 14:13:20 GMT"}, goodBody},
		"JSON by name":          {good, "GET", "/turncredential", asJSON, 200, map[string]string{"Content-Type": asJSON}, goodBody},
		"a query":               {good, "GET", "/turncredential?service=turn&username=x", "", 200, map[string]string{"Content-Type": text}, goodBody},
		"an escaped path":       {good, "GET", "/%74urncredential", "", 200, map[string]string{"Content-Type": text}, goodBody},
		"a slash too many":      {good, "GET", "//turncredential", "", 200, map[string]string{"Content-Type": text}, goodBody},
		"no credential":         {none, "GET", "/turncredential", "", 503, map[string]string{"Content-Type": text, "Retry-After": "1", "Expires": ""}, noneBody},
		"no credential as JSON": {none, "GET", "/turncredential", asJSON, 503, map[string]string{"Content-Type": asJSON, "Retry-After": "1"}, noneBody},
		"another error": {
			fake{err: errors.New(`a "bug"`)},
			"GET", "/turncredential", "", 500,
			map[string]string{"Retry-After": ""},
			`{ "type" : "result", "code" : "error", "message" : "a \"bug\"" }`,
		},
		"post": {
			good, "POST", "/turncredential", "", 405,
			map[string]string{"Content-Type": text, "Allow": "GET, HEAD"},
			`{ "type" : "result", "code" : "error", "message" : "method not allowed; use GET, HEAD" }`,
		},
		"post as JSON": {
			good, "POST", "/turncredential", asJSON, 405,
			map[string]string{"Content-Type": asJSON, "Allow": "GET, HEAD"},
			`{ "type" : "result", "code" : "error", "message" : "method not allowed; use GET, HEAD" }`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := transporttest.Serve(t, api(c.service))
			response, body := transporttest.Ask(t, s, c.method, c.path, nil, c.accept)
			if response.StatusCode != c.code || body != c.body {
				t.Errorf("got %d %s\nwant %d %s", response.StatusCode, body, c.code, c.body)
			}
			for key, want := range c.headers {
				if got := response.Header.Get(key); got != want {
					t.Errorf("%s: got %q, want %q", key, got, want)
				}
			}
			if got := response.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: got %q, want no-store", got)
			}
			if !json.Valid([]byte(body)) {
				t.Errorf("not JSON: %s", body)
			}
		})
	}
}

func TestTurncredentialOtherMethods(t *testing.T) {
	s := transporttest.Serve(t, api(good))
	for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"} {
		response, body := transporttest.Ask(t, s, method, "/turncredential", nil)
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET, HEAD" || strings.Contains(body, "s3cret") {
			t.Errorf("%s: got %s, Allow %q, %s", method, response.Status, response.Header.Get("Allow"), body)
		}
	}
}

func TestHeadIsGetWithoutBody(t *testing.T) {
	for name, f := range map[string]fake{"credential": good, "no credential": none} {
		t.Run(name, func(t *testing.T) {
			s := transporttest.Serve(t, api(f))
			get, _ := transporttest.Ask(t, s, "GET", "/turncredential", nil)
			head, body := transporttest.Ask(t, s, "HEAD", "/turncredential", nil)
			get.Header.Del("Date")
			head.Header.Del("Date")
			if diff := cmp.Diff(get.Header, head.Header); diff != "" || body != "" || head.StatusCode != get.StatusCode {
				t.Errorf("HEAD: %s, body %q, headers (-GET +HEAD):\n%s", head.Status, body, diff)
			}
			if head.ContentLength != get.ContentLength || head.ContentLength <= 0 {
				t.Errorf("Content-Length: HEAD %d, GET %d", head.ContentLength, get.ContentLength)
			}
		})
	}
}

func TestContentType(t *testing.T) {
	s := transporttest.Serve(t, api(good))
	for name, c := range map[string]struct {
		accept []string
		want   string
	}{
		"none":                         {nil, text},
		"empty":                        {[]string{""}, text},
		"anything":                     {[]string{"*/*"}, text},
		"any application":              {[]string{"application/*"}, text},
		"text":                         {[]string{"text/plain"}, text},
		"a browser":                    {[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, text},
		"JSON":                         {[]string{"application/json"}, asJSON},
		"JSON in capitals":             {[]string{"Application/JSON"}, asJSON},
		"JSON with a charset":          {[]string{"application/json; charset=utf-8"}, asJSON},
		"JSON among others":            {[]string{"application/json, text/plain, */*"}, asJSON}, // as axios asks
		"JSON last":                    {[]string{"text/plain;q=0.9,\tapplication/json ; q=0.1"}, asJSON},
		"JSON in a second line":        {[]string{"text/plain", "application/json"}, asJSON},
		"JSON of the least weight":     {[]string{"application/json;q=0.001"}, asJSON},
		"JSON refused":                 {[]string{"application/json;q=0"}, text},
		"JSON refused in three digits": {[]string{"application/json; q=0.000, */*"}, text},
		"JSON refused, Q in capital":   {[]string{"application/json;Q=0"}, text},
		"no weight at all":             {[]string{"application/json;q=x"}, text},
		"a weight that is no number":   {[]string{"application/json;q=NaN"}, text},
		"a negative weight":            {[]string{"application/json;q=-1"}, text},
		"two weights":                  {[]string{"application/json;q=1;q=0"}, text},
		"a weight without value":       {[]string{"application/json;q"}, text},
		"JSON of another kind":         {[]string{"application/json-seq, application/problem+json, text/json"}, text},
		"no type":                      {[]string{"json"}, text},
		"noise":                        {[]string{",,;;=/ \"application/json"}, text},
		"noise, then JSON":             {[]string{",,;;=/, application/json"}, asJSON},
		"a long list":                  {[]string{strings.Repeat("text/x;q=0.1,", 600) + "application/json"}, asJSON},
		"many separators":              {[]string{strings.Repeat(",;", 4000)}, text},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := transporttest.Ask(t, s, "GET", "/turncredential", nil, c.accept...)
			if got := response.Header.Get("Content-Type"); got != c.want || response.StatusCode != http.StatusOK || body != goodBody {
				t.Errorf("got %s, %q, %s; want 200, %q, %s", response.Status, got, body, c.want, goodBody)
			}
		})
	}
}

// TestStrings shows that the body stays one JSON object on one line whatever the
// strings hold.
func TestStrings(t *testing.T) {
	for name, odd := range map[string]string{
		"empty":           "",
		"quotes":          `a"b\c/`,
		"an injected key": `x", "expired_time" : 1, "y" : "`,
		"controls":        "a\x00b\nc\rd\x1b[2J\x7f",
		"HTML":            "</script><b>&amp;",
		"separators":      "\u2028\u2029\u202e",
		"other alphabets": "žluťoučký 名前 🐎",
	} {
		t.Run(name, func(t *testing.T) {
			f := fake{credential: good.credential}
			f.credential.Username, f.credential.Password = odd, "p"
			_, body := transporttest.Ask(t, transporttest.Serve(t, api(f)), "GET", "/turncredential", nil)
			checkBody(t, body, odd, "p")
		})
	}
}

// checkBody wants the five keys in their order with these strings.
func checkBody(t *testing.T, body, username, password string) {
	t.Helper()
	var got struct {
		Type, Code, UserID, Password string
		Expired                      int64 `json:"expired_time"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil || d.More() {
		t.Fatalf("%v in %s", err, body)
	}
	if got.Type != "result" || got.Code != "ok" || got.UserID != username || got.Password != password || got.Expired != 1790000000000 {
		t.Errorf("got %+v from %s, want %q %q", got, body, username, password)
	}
	if strings.ContainsFunc(body, func(r rune) bool { return r < ' ' }) {
		t.Errorf("control characters in %q", body)
	}
}

func TestBodyOfRequestIsIgnored(t *testing.T) {
	s := transporttest.Serve(t, api(good))
	for range 2 { // the connection is in order afterwards
		response, body := transporttest.Ask(t, s, "GET", "/turncredential", strings.NewReader(strings.Repeat("x", 1<<20)))
		if response.StatusCode != http.StatusOK || body != goodBody {
			t.Errorf("got %s %s", response.Status, body)
		}
	}
}

func TestNotFound(t *testing.T) {
	s := transporttest.Serve(t, api(good))
	for _, path := range []string{"/", "/turncredential/", "/TURNCREDENTIAL", "/turncredential.json", "/v1", "/v1/", "/v1/ice/", "/metrics", "/%00"} {
		response, body := transporttest.Ask(t, s, "GET", path, nil)
		var got struct {
			Title, Detail string
			Status        int
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatalf("%s: %v in %s", path, err, body)
		}
		if response.StatusCode != 404 || response.Header.Get("Content-Type") != problem || got.Status != 404 || got.Title != "Not Found" || got.Detail == "" {
			t.Errorf("%s: got %s, %q, %s", path, response.Status, response.Header.Get("Content-Type"), body)
		}
	}
}

// TestRoutesAreNames shows that what a client sends does not become a label.
func TestRoutesAreNames(t *testing.T) {
	seen := make(chan string, 5)
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(good), func(route string, next http.Handler, _ ...int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- route
			next.ServeHTTP(w, r)
		})
	}, transport.APIOptions{}))
	for _, path := range []string{"/turncredential?a=b", "/%74urncredential", "/a", "/b"} {
		transporttest.Ask(t, s, "GET", path, nil)
	}
	transporttest.Ask(t, s, "POST", "/turncredential", nil)
	for i, want := range []string{"/turncredential", "/turncredential", "other", "other", "/turncredential"} {
		if got := <-seen; got != want {
			t.Errorf("request %d: got route %q, want %q", i, got, want)
		}
	}
}
