package transport_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// lasting is a service whose credential ends that long after the start of a bubble.
func lasting(d time.Duration) fake {
	f := good
	f.credential.Expires = time.Now().Add(d)
	return f
}

const (
	draftBody = `{"username":"tw-0123456789-alice","password":"s3cret","ttl":3600,"uris":["turn:192.0.2.1:3478?transport=udp","turns:[2001:db8::1]:5349?transport=tcp"]}`
	arrayBody = `[{"urls":["turn:192.0.2.1:3478?transport=udp","turns:[2001:db8::1]:5349?transport=tcp"],"username":"tw-0123456789-alice","credential":"s3cret"}]`
	iceBody   = `{"iceServers":` + arrayBody + `,"ttl":3600}`
)

func TestShapes(t *testing.T) {
	for name, c := range map[string]struct {
		method, target string
		want           string
	}{
		"draft":                      {"GET", "/v1/turn", draftBody},
		"draft, as its clients ask":  {"GET", "/v1/turn?service=turn&username=alice&key=k", draftBody},
		"draft, as Janus asks":       {"POST", "/v1/turn?service=turn&api=k&key=k&username=7", draftBody},
		"draft, by format":           {"GET", "/turncredential?format=turn", draftBody},
		"RTCConfiguration":           {"GET", "/v1/ice", iceBody},
		"RTCConfiguration by format": {"GET", "/turncredential?format=ice&userid=alice", iceBody},
		"array":                      {"GET", "/turncredential?format=array", arrayBody},
		"an escaped name of a key":   {"GET", "/turncredential?f%6Frmat=array", arrayBody},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := httptest.NewRecorder()
				api(lasting(time.Hour+999*time.Millisecond)).ServeHTTP(w, httptest.NewRequest(c.method, c.target, nil))
				if w.Code != http.StatusOK || w.Body.String() != c.want {
					t.Errorf("got %d %s\nwant 200 %s", w.Code, w.Body, c.want)
				}
				for key, want := range map[string]string{
					"Content-Type": asJSON, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
					"Expires": "Sat, 01 Jan 2000 01:00:00 GMT",
				} {
					if got := w.Header().Get(key); got != want {
						t.Errorf("%s: got %q, want %q", key, got, want)
					}
				}
			})
		})
	}
}

// TestClientsReadTheShapes holds the replies against what their readers insist on.
func TestClientsReadTheShapes(t *testing.T) {
	s := transporttest.Serve(t, api(lasting(time.Hour)))
	readers := map[string]struct {
		target string
		read   func(t *testing.T, body []byte)
	}{
		"Janus":                     {"/v1/turn?service=turn&api=k&key=k&username=7", readAsJanus},
		"the draft":                 {"/v1/turn?service=turn&username=alice", readStrictly},
		"browser, RTCConfiguration": {"/v1/ice", readAsBrowser},
		"browser, array": {"/turncredential?format=array", func(t *testing.T, body []byte) {
			readAsBrowser(t, append(append([]byte(`{"iceServers":`), body...), '}'))
		}},
	}
	for name, c := range readers {
		t.Run(name, func(t *testing.T) {
			_, body := transporttest.Ask(t, s, "GET", c.target, nil)
			c.read(t, []byte(body))
		})
	}
}

// readAsJanus has the rules of janus_turnrest_request (src/turnrest.c of 1.x): strings,
// a ttl that is an integer and not negative, and at least one URI whose parts between
// colons are a scheme, an address and a port.
func readAsJanus(t *testing.T, body []byte) {
	t.Helper()
	var reply struct {
		Username, Password *string
		TTL                *json.Number
		URIs               []string
	}
	if err := json.Unmarshal(body, &reply); err != nil || reply.Username == nil || reply.Password == nil {
		t.Fatalf("%v in %s", err, body)
	}
	if ttl, err := reply.TTL.Int64(); err != nil || ttl < 0 {
		t.Errorf("ttl %v", reply.TTL)
	}
	usable := 0
	for _, uri := range reply.URIs {
		if !strings.HasPrefix(uri, "turn:") && !strings.HasPrefix(uri, "turns:") {
			t.Errorf("uri %q", uri)
		}
		uri, transport, _ := strings.Cut(uri, "?")
		if transport != "transport=udp" && transport != "transport=tcp" {
			t.Errorf("query %q", transport)
		}
		parts := strings.Split(uri, ":")
		// It cannot take an IPv6 address apart, and passes over such a URI.
		if _, err := netip.ParseAddr(parts[1]); err != nil {
			continue
		}
		if _, err := strconv.ParseUint(parts[2], 10, 16); err != nil {
			t.Errorf("port of %q: %v", uri, err)
		}
		usable++
	}
	if usable == 0 {
		t.Errorf("no URI that Janus can use in %s", body)
	}
}

// readStrictly wants the four keys of the draft and no other.
func readStrictly(t *testing.T, body []byte) {
	t.Helper()
	var reply struct {
		Username, Password string
		TTL                uint32
		URIs               []string
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(&reply); err != nil || reply.Username == "" || reply.Password == "" || len(reply.URIs) != 2 {
		t.Errorf("%v, %+v", err, reply)
	}
}

// readAsBrowser has the rules of "set a configuration" of W3C webrtc: urls that are not
// empty and parse as RFC 7065 says, and with turn: both a username and a credential. No
// credentialType: it has been removed, and old browsers take password for granted.
func readAsBrowser(t *testing.T, body []byte) {
	t.Helper()
	var reply struct {
		ICEServers []map[string]any
	}
	if err := json.Unmarshal(body, &reply); err != nil || len(reply.ICEServers) != 1 {
		t.Fatalf("%v in %s", err, body)
	}
	server := reply.ICEServers[0]
	urls, _ := server["urls"].([]any)
	username, _ := server["username"].(string)
	credential, _ := server["credential"].(string)
	if len(urls) == 0 || len(server) != 3 || username == "" || len(username) > 509 || credential == "" {
		t.Errorf("got %v", server)
	}
	for _, u := range urls {
		parsed, err := url.Parse(u.(string))
		if err != nil || parsed.Scheme != "turn" && parsed.Scheme != "turns" || parsed.RawQuery != "transport=udp" && parsed.RawQuery != "transport=tcp" {
			t.Errorf("%v: %v", u, err)
			continue
		}
		if _, err := netip.ParseAddrPort(parsed.Opaque); err != nil { // a v6 address in brackets
			t.Error(err)
		}
	}
}

// TestTTL: whole seconds, never one more than the credential has left.
func TestTTL(t *testing.T) {
	for name, c := range map[string]struct {
		left time.Duration
		want float64
	}{
		"a day":                  {24 * time.Hour, 86400},
		"a part of a second":     {2*time.Second - time.Millisecond, 1},
		"less than a second":     {999 * time.Millisecond, 0},
		"nothing":                {0, 0},
		"over since it was made": {-time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, path := range []string{"/v1/turn", "/v1/ice"} {
					w := httptest.NewRecorder()
					api(lasting(c.left)).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
					var reply map[string]any
					if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply["ttl"] != c.want {
						t.Errorf("%s: got %v, %v; want %v", path, reply["ttl"], err, c.want)
					}
				}
			})
		})
	}
}

func TestShapesRefuse(t *testing.T) {
	nowhere := good
	nowhere.credential.URIs = nil
	for name, c := range map[string]struct {
		service        fake
		method, target string
		code           int
		contentType    string
		want           string
	}{
		"another format":          {good, "GET", "/turncredential?format=xml", 400, text, `"message" : "bad request: format: accepted are ice, array, turn, and none for the plain reply"`},
		"another service":         {good, "GET", "/v1/turn?service=stun", 400, problem, `"detail":"bad request: service: accepted is turn"`},
		"a broken query":          {good, "GET", "/v1/ice?a=%zz", 400, problem, `"detail":"bad request: read the parameters: invalid URL escape \"%zz\""`},
		"no credential":           {none, "GET", "/v1/ice", 503, problem, `{"title":"Service Unavailable","status":503,"detail":"no valid credential now: stopping"}`},
		"no credential by format": {none, "GET", "/turncredential?format=ice", 503, text, noneBody},
		"no address":              {nowhere, "GET", "/v1/turn", 500, problem, `set listening-ip or external-ip in turnserver.conf`},
		"POST of ice":             {good, "POST", "/v1/ice", 405, problem, `"detail":"method not allowed; use GET, HEAD"`},
		"PUT":                     {good, "PUT", "/v1/turn", 405, problem, `use GET, HEAD, POST`},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := transporttest.Ask(t, transporttest.Serve(t, api(c.service)), c.method, c.target, nil)
			if response.StatusCode != c.code || response.Header.Get("Content-Type") != c.contentType || !strings.Contains(body, c.want) || strings.Contains(body, "s3cret") {
				t.Errorf("got %s, %s, %s\nwant %d, %s, %s", response.Status, response.Header.Get("Content-Type"), body, c.code, c.contentType, c.want)
			}
			if wait := response.Header.Get("Retry-After"); (wait != "") != (c.code == 503) || response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("headers: %v", response.Header)
			}
		})
	}
}

// TestSeedOfFleet: a gateway names the servers in the seed's reply, as its sixth key.
func TestSeedOfFleet(t *testing.T) {
	const want = `{ "type" : "result", "code" : "ok", "userid" : "tw-0123456789-alice", "password" : "s3cret", "expired_time" : 1790000000000` +
		`, "uris" : [ "turn:192.0.2.1:3478?transport=udp", "turns:[2001:db8::1]:5349?transport=tcp" ] }`
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{URIs: true}))
	if _, body := transporttest.Ask(t, s, "GET", "/turncredential", nil); body != want || !json.Valid([]byte(body)) {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

// asked is a service that keeps what it is asked for.
type asked struct{ got *service.CredentialRequest }

func (a asked) Credential(_ context.Context, r service.CredentialRequest) (service.Credential, error) {
	*a.got = r
	return good.credential, nil
}

// TestParameters shows who and for how long, for every way of asking.
func TestParameters(t *testing.T) {
	var got service.CredentialRequest
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(asked{&got}), transporttest.Plain, transport.APIOptions{}))
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for name, c := range map[string]struct{ method, target, body string }{
		"seed":                     {"GET", "/turncredential?userid=alice&ttl=60", ""},
		"format":                   {"GET", "/turncredential?format=ice&userid=alice&ttl=60", ""},
		"RTCConfiguration":         {"GET", "/v1/ice?userid=alice&ttl=60", ""},
		"draft":                    {"GET", "/v1/turn?service=turn&username=alice&ttl=60", ""},
		"draft, our name":          {"GET", "/v1/turn?userid=alice&ttl=60", ""},
		"draft by POST":            {"POST", "/v1/turn?service=turn&username=alice&ttl=60", ""},
		"draft by POST, in a form": {"POST", "/v1/turn", "service=turn&username=alice&ttl=60"},
	} {
		t.Run(name, func(t *testing.T) {
			got = service.CredentialRequest{}
			r, err := http.NewRequest(c.method, s.URL+c.target, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = form
			response, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if want := (service.CredentialRequest{UserID: "alice", TTL: "60"}); got != want || response.StatusCode != http.StatusOK {
				t.Errorf("got %+v, %s", got, response.Status)
			}
		})
	}
}
