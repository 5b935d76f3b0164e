package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

const (
	nodeToken = "the-token-of-the-fleet"
	goodReply = `{ "type" : "result", "code" : "ok", "userid" : "alice", "password" : "s3cret", "expired_time" : 1790000000000 }`
)

// askNode asks whoever listens at the address, as the node of that record.
func askNode(t *testing.T, a transport.NodeAccess, scheme, addr string, r service.CredentialRequest) (service.Credential, error) {
	t.Helper()
	if a.Names == nil {
		a.Names, a.Prefixes = []string{"localhost"}, prefixes("0.0.0.0/0", "::/0")
	}
	c := transport.NewNodeClient(a)
	defer c.Close()
	c.SetToken(nodeToken)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return c.Credential(ctx, service.Server{Name: "turn-1", RESTAddr: addr, RESTScheme: scheme}, r, func(time.Duration) {})
}

// TestNodeClock: how far a node's clock is ahead, by the second.
func TestNodeClock(t *testing.T) {
	for date, want := range map[string]time.Duration{
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat):  time.Hour,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat): -time.Hour,
		"yesterday": 0,
	} {
		s := transporttest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", date)
			w.WriteHeader(http.StatusServiceUnavailable) // a node without a credential has a clock, too
		}))
		c := transport.NewNodeClient(transport.NodeAccess{})
		defer c.Close()
		var got time.Duration
		_, err := c.Credential(t.Context(), service.Server{Name: "turn-1", RESTAddr: s.Listener.Addr().String()}, service.CredentialRequest{}, func(ahead time.Duration) { got = ahead })
		if err == nil || (got-want).Abs() > 30*time.Second {
			t.Errorf("%s: ahead by %v, want %v (%v)", date, got, want, err)
		}
	}
}

// TestNodeReplies: what nodes say, and what is made of it.
func TestNodeReplies(t *testing.T) {
	for name, test := range map[string]struct {
		code int
		body string
		want error  // nil = a credential, or err
		err  string // a part of it
	}{
		"a credential":          {200, goodReply, nil, ""},
		"more keys":             {200, strings.Replace(goodReply, "}", `, "uris" : [] }`, 1), nil, ""},
		"none":                  {503, `{ "type" : "result", "code" : "error", "message" : "no valid credential now" }`, nil, "it says 503 Service Unavailable"},
		"a bad request":         {400, `{ "type" : "result", "code" : "error", "message" : "bad request: ttl: accepted is a whole number of seconds above 0" }`, service.ErrBadRequest, "bad request: ttl: accepted"},
		"a server of TLS":       {400, "Client sent an HTTP request to an HTTPS server.\n", nil, "it says 400 Bad Request"},
		"a token is wanted":     {401, `{}`, nil, "gateway.node.token_file"},
		"another token":         {403, `{}`, nil, "gateway.node.token_file"},
		"too many":              {429, `{}`, nil, "429"},
		"the seed without any":  {200, `{ "type" : "result", "code" : "ok", "userid" : "", "password" : "", "expired_time" : 0 }`, nil, "no credential"},
		"an error with 200":     {200, `{ "type" : "result", "code" : "error", "userid" : "a", "password" : "b", "expired_time" : 1 }`, nil, "no credential"},
		"no JSON":               {200, `<html>`, nil, "no credential"},
		"more than a reply has": {200, strings.Repeat(" ", 1<<20) + goodReply, nil, "no credential"},
		"another place":         {302, ``, nil, "302"},
	} {
		t.Run(name, func(t *testing.T) {
			var elsewhere atomic.Bool
			other := transporttest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
			s := transporttest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", other.URL)
				w.WriteHeader(test.code)
				_, _ = io.WriteString(w, test.body)
			}))
			c, err := askNode(t, transport.NodeAccess{}, "http", s.Listener.Addr().String(), service.CredentialRequest{})
			switch {
			case test.err == "":
				want := service.Credential{Username: "alice", Password: "s3cret", Expires: time.UnixMilli(1790000000000)}
				if err != nil || c.Username != want.Username || c.Password != want.Password || !c.Expires.Equal(want.Expires) {
					t.Errorf("got %+v, %v", c, err)
				}
			case err == nil, !strings.Contains(err.Error(), test.err), test.want != nil && !errors.Is(err, test.want):
				t.Errorf("error %v, want one with %q", err, test.err)
			case test.want == nil && errors.Is(err, service.ErrBadRequest):
				t.Errorf("%v is taken for the client's fault", err)
			}
			if elsewhere.Load() {
				t.Error("went where the node sent it")
			}
		})
	}
}

// TestNodeIsAskedFor: whom a credential is for, and what else the node is told.
func TestNodeIsAskedFor(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	s := transporttest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		_, _ = io.WriteString(w, goodReply)
	}))
	for _, test := range []struct {
		request service.CredentialRequest
		want    string
	}{
		{service.CredentialRequest{}, "/turncredential"},
		{service.CredentialRequest{UserID: "alice", TTL: "60", Region: "eu"}, "/turncredential?ttl=60&userid=alice"},
		{service.CredentialRequest{UserID: "a&ttl=9#x y"}, "/turncredential?userid=a%26ttl%3D9%23x+y"},
	} {
		if _, err := askNode(t, transport.NodeAccess{}, "", s.Listener.Addr().String(), test.request); err != nil {
			t.Error(err)
		}
		if r := asked.Load(); r.Method != http.MethodGet || r.RequestURI != test.want || r.Header.Get("Accept") != "application/json" {
			t.Errorf("%s %s, want %s", r.Method, r.RequestURI, test.want)
		}
	}
}

// TestNodeToken: it goes to who has proved to be the host of the record, and over plain
// HTTP only where somebody has said so.
func TestNodeToken(t *testing.T) {
	var got atomic.Pointer[string]
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.Header.Get("Authorization")
		got.Store(&token)
		_, _ = io.WriteString(w, goodReply)
	})
	plain := transporttest.Serve(t, h)
	secure := httptest.NewTLSServer(h)
	t.Cleanup(secure.Close)
	trust := x509.NewCertPool()
	trust.AddCert(secure.Certificate())
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	const sent = "Bearer " + nodeToken
	for name, test := range map[string]struct {
		scheme, addr string
		access       transport.NodeAccess
		want         string // the header; "-" = nothing may be asked at all
	}{
		"plain":                {"http", plain.Listener.Addr().String(), transport.NodeAccess{}, ""},
		"plain, as was said":   {"http", plain.Listener.Addr().String(), transport.NodeAccess{InsecureHTTP: true}, sent},
		"TLS":                  {"https", secure.Listener.Addr().String(), transport.NodeAccess{TLS: &tls.Config{RootCAs: trust}}, sent},
		"another host":         {"https", secure.Listener.Addr().String(), transport.NodeAccess{TLS: &tls.Config{RootCAs: trust}, Names: []string{"example.com"}, Prefixes: prefixes("127.0.0.2/32", "10.0.0.0/8")}, "-"},
		"another host, plain":  {"http", plain.Listener.Addr().String(), transport.NodeAccess{InsecureHTTP: true, Names: []string{"turn-1"}}, "-"},
		"one of ours":          {"https", secure.Listener.Addr().String(), transport.NodeAccess{TLS: &tls.Config{RootCAs: trust}, Names: []string{"turn-1"}, Prefixes: prefixes("127.0.0.0/8")}, sent},
		"TLS, unknown":         {"https", secure.Listener.Addr().String(), transport.NodeAccess{TLS: &tls.Config{RootCAs: x509.NewCertPool()}}, "-"},
		"TLS, unknown, system": {"https", secure.Listener.Addr().String(), transport.NodeAccess{InsecureHTTP: true}, "-"},
		"TLS, another name":    {"https", "localhost:" + port, transport.NodeAccess{TLS: &tls.Config{RootCAs: trust}}, "-"},
		"TLS on a plain port":  {"https", plain.Listener.Addr().String(), transport.NodeAccess{InsecureHTTP: true}, "-"},
	} {
		t.Run(name, func(t *testing.T) {
			got.Store(nil)
			_, err := askNode(t, test.access, test.scheme, test.addr, service.CredentialRequest{})
			switch token := got.Load(); {
			case test.want == "-":
				if err == nil || token != nil {
					t.Errorf("the node was asked, with %q (%v)", *token, err)
				}
			case err != nil || token == nil || *token != test.want:
				t.Errorf("the token was %v (%v), want %q", token, err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), nodeToken) {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
}

// TestRogueRecord: an address outside the list gets no connection, whatever name leads
// there and whatever proxy is offered.
func TestRogueRecord(t *testing.T) {
	var connected atomic.Int32
	listen := func(ip string) string {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			realtest.Missing(t, fmt.Sprintf("no %s here: %v", ip, err))
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				connected.Add(1)
				_ = c.Close()
			}
		}()
		return l.Addr().String()
	}
	allowed := realtest.Loopback(t)
	foreign := listen(realtest.Loopback(t))
	_, port, _ := net.SplitHostPort(listen("127.0.0.1"))
	t.Setenv("HTTP_PROXY", "http://"+foreign)
	t.Setenv("HTTPS_PROXY", "http://"+foreign)
	access := transport.NodeAccess{Allow: []netip.Prefix{netip.MustParsePrefix(allowed + "/32")}, InsecureHTTP: true}
	for name, addr := range map[string]string{
		"another address":        foreign,
		"a name that leads away": "localhost:" + port,
		"as IPv6":                "[::ffff:127.0.0.1]:" + port,
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+", "+scheme, func(t *testing.T) {
				_, err := askNode(t, access, scheme, addr, service.CredentialRequest{})
				if err == nil || !strings.Contains(err.Error(), "gateway.node.allow_cidrs") {
					t.Errorf("error %v", err)
				}
			})
		}
	}
	if n := connected.Load(); n > 0 {
		t.Errorf("%d connections", n)
	}

	// Without a list, only what is loopback or private.
	for _, addr := range []string{"192.0.2.1:80", "169.254.169.254:80", "[2001:db8::1]:80", "[fe80::1]:80", "100.64.0.1:80", "0.0.0.0:80", "224.0.0.1:80"} {
		began := time.Now()
		_, err := askNode(t, transport.NodeAccess{}, "http", addr, service.CredentialRequest{})
		if err == nil || !strings.Contains(err.Error(), "gateway.node.allow_cidrs") || time.Since(began) > 3*time.Second {
			t.Errorf("%s: error %v", addr, err)
		}
	}
	for _, addr := range []string{"127.0.0.1:1", "[::1]:1"} {
		if _, err := askNode(t, transport.NodeAccess{}, "http", addr, service.CredentialRequest{}); err == nil || strings.Contains(err.Error(), "allow_cidrs") {
			t.Errorf("%s: error %v", addr, err)
		}
	}
}
