package transport_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// client is a client of the service, over HTTP.
func client(t *testing.T, svc service.Service, o transport.APIOptions, token string) *transport.Client {
	t.Helper()
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(svc), transporttest.Plain, o))
	c, err := transport.NewClient(transport.ClientConfig{URL: s.URL, Token: service.Secret(token), HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestServiceContract: a node and a client of it keep the same promises.
func TestServiceContract(t *testing.T) {
	all, secrets := tokens(t, 0, "test")
	for name, over := range map[string]func(t *testing.T, svc service.Service) service.Service{
		"itself": func(_ *testing.T, svc service.Service) service.Service { return svc },
		"over HTTP": func(t *testing.T, svc service.Service) service.Service {
			return client(t, svc, transport.APIOptions{}, "")
		},
		"over HTTP, with a token": func(t *testing.T, svc service.Service) service.Service {
			return client(t, svc, transport.APIOptions{Access: transport.Access{Tokens: all}}, secrets[0])
		},
		"over HTTP, with a path before": func(t *testing.T, svc service.Service) service.Service {
			s := transporttest.Serve(t, http.StripPrefix("/turn/eu", transport.NewAPIHandler(transport.NewEndpoints(svc), transporttest.Plain, transport.APIOptions{URIs: true})))
			c, err := transport.NewClient(transport.ClientConfig{URL: s.URL + "/turn/eu/", HTTP: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
	} {
		t.Run(name, func(t *testing.T) { contract(t, func(svc service.Service) service.Service { return over(t, svc) }) })
	}
}

// contract has what every service.Service promises; over wraps one that is known to.
func contract(t *testing.T, over func(service.Service) service.Service) {
	shared, own := transporttest.MintingNode(t, coturn.ModeUser), transporttest.MintingNode(t, coturn.ModeSecret)
	get := func(s service.Service, r service.CredentialRequest) service.Credential {
		t.Helper()
		c, err := s.Credential(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("the credential that the node has", func(t *testing.T) {
		want, got := get(shared, service.CredentialRequest{}), get(over(shared), service.CredentialRequest{})
		if diff := want.Expires.Sub(got.Expires); diff < 0 || diff >= time.Second {
			t.Errorf("expires %v before it does", diff)
		}
		if diff := cmp.Diff(fmt.Sprint(want.Username, want.Password.Reveal(), want.URIs), fmt.Sprint(got.Username, got.Password.Reveal(), got.URIs)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("one of the client's own", func(t *testing.T) {
		s := over(own)
		for _, id := range []string{"alice", "a.b_c@d=e+f-g", strings.Repeat("x", 64)} {
			begin := time.Now()
			c := get(s, service.CredentialRequest{UserID: id, TTL: "60"})
			expiry, name, _ := strings.Cut(c.Username, ":")
			if name != id || expiry != fmt.Sprint(c.Expires.Unix()) || c.Password == "" || len(c.URIs) == 0 {
				t.Errorf("%s: got %+v", id, c)
			}
			if left := c.Expires.Sub(begin); left < 30*time.Second || left > 61*time.Second+time.Since(begin) {
				t.Errorf("%s: %v for a ttl of 60", id, left)
			}
		}
		if c := get(s, service.CredentialRequest{}); !strings.HasSuffix(c.Username, ":client") {
			t.Errorf("anonymous: %s", c.Username)
		}
	})
	t.Run("what cannot be given", func(t *testing.T) {
		s := over(own)
		for _, r := range []service.CredentialRequest{{UserID: "a b"}, {UserID: "a&ttl=1"}, {UserID: "é"}, {UserID: strings.Repeat("x", 65)}, {TTL: "0"}, {TTL: "1h"}, {TTL: "-1"}} {
			c, err := s.Credential(t.Context(), r)
			if !errors.Is(err, service.ErrBadRequest) || errors.Is(err, service.ErrNoCredential) || c.Username != "" || !strings.Contains(err.Error(), "accepted") {
				t.Errorf("%+v: got %+v, %v", r, c, err)
			}
		}
	})
	t.Run("nothing to give", func(t *testing.T) {
		stopping := transporttest.MintingNode(t, coturn.ModeUser)
		stopping.Stop()
		c, err := over(stopping).Credential(t.Context(), service.CredentialRequest{})
		if !errors.Is(err, service.ErrNoCredential) || errors.Is(err, service.ErrBadRequest) || c.Username != "" || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("got %+v, %v", c, err)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		s := over(own)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				id := fmt.Sprint("user", i)
				c, err := s.Credential(t.Context(), service.CredentialRequest{UserID: id})
				if err != nil || !strings.HasSuffix(c.Username, ":"+id) {
					t.Errorf("%s: got %s, %v", id, c.Username, err)
				}
			})
		}
		all.Wait()
	})
}

// waiting is a service that answers when its caller has given up.
type waiting struct{}

func (waiting) Credential(ctx context.Context, _ service.CredentialRequest) (service.Credential, error) {
	<-ctx.Done()
	return service.Credential{}, ctx.Err()
}

func TestClientGivesUp(t *testing.T) {
	c := client(t, waiting{}, transport.APIOptions{}, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Credential(ctx, service.CredentialRequest{UserID: "alice"}); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "alice") {
		t.Errorf("got %v", err)
	}
}

func TestClientRefused(t *testing.T) {
	all, secrets := tokens(t, 0, "events scope=events", "slow rate=0.1")
	access := transport.APIOptions{Access: transport.Access{Tokens: all}}
	ask := func(c *transport.Client) *transport.ResponseError {
		t.Helper()
		_, err := c.Credential(t.Context(), service.CredentialRequest{})
		e, ok := errors.AsType[*transport.ResponseError](err)
		if !ok || errors.Is(err, service.ErrNoCredential) || errors.Is(err, service.ErrBadRequest) {
			t.Fatalf("got %v", err)
		}
		return e
	}
	if e := ask(client(t, good, access, "")); e.Code != 401 || !strings.Contains(e.Detail, "no token") {
		t.Errorf("no token: %v", e)
	}
	if e := ask(client(t, good, access, secrets[0])); e.Code != 403 || e.RetryAfter != 0 {
		t.Errorf("no scope: %v", e)
	}
	slow := client(t, good, access, secrets[1])
	if _, err := slow.Credential(t.Context(), service.CredentialRequest{}); err != nil {
		t.Fatal(err)
	}
	if e := ask(slow); e.Code != 429 || e.RetryAfter < 5*time.Second || e.RetryAfter > 10*time.Second {
		t.Errorf("too fast: %v, after %v", e, e.RetryAfter)
	}
}

// TestClientReadsNonsense: what is no answer of ours is an error, and small.
func TestClientReadsNonsense(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"not JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>s3cret")) },
		"no expiry": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(draftBody)) },
		"empty": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Expires", "Mon, 21 Sep 2026 14:13:20 GMT")
			_, _ = w.Write([]byte("{}"))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte(strings.Repeat(`{"username":`, 1000)))
			}
		},
		"a proxy's error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			s := transporttest.Serve(t, h)
			c, err := transport.NewClient(transport.ClientConfig{URL: s.URL, HTTP: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Credential(t.Context(), service.CredentialRequest{})
			if err == nil || got.Username != "" || len(err.Error()) > 300 || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %+v, %v", got, err)
			}
			t.Log(err)
		})
	}
}

func TestNewClientRefuses(t *testing.T) {
	for name, c := range map[string]transport.ClientConfig{
		"no URL":                {},
		"another scheme":        {URL: "ftp://turn.example.org"},
		"no host":               {URL: "https:///v1"},
		"a password in the URL": {URL: "https://u:s3cret@turn.example.org"},
		"a broken URL":          {URL: "https://u:s3cret@turn.example.org:x"},
		"a query":               {URL: "https://turn.example.org?key=x"},
		"a token in the clear":  {URL: "http://turn.example.org", Token: "s3cret"},
	} {
		if _, err := transport.NewClient(c); err == nil || !strings.Contains(err.Error(), "accepted") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, c := range []transport.ClientConfig{
		{URL: "http://turn.example.org"},
		{URL: "http://turn.example.org", Token: "s3cret", InsecureHTTP: true},
		{URL: "http://[::1]:13478", Token: "s3cret"},
		{URL: "https://turn.example.org/eu", Token: "s3cret"},
	} {
		if _, err := transport.NewClient(c); err != nil {
			t.Errorf("%s: %v", c.URL, err)
		}
	}
}

func TestClientOverTLS(t *testing.T) {
	s := httptest.NewTLSServer(api(good))
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer tr.CloseIdleConnections()
	c, err := transport.NewClient(transport.ClientConfig{URL: s.URL, Token: "s3cret", HTTP: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Credential(t.Context(), service.CredentialRequest{}); err != nil || got.Username != good.credential.Username || !got.Expires.Equal(good.credential.Expires) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestClientStatus(t *testing.T) {
	want := busy(time.Now().UTC().Truncate(time.Second))
	got, err := client(t, good, transport.APIOptions{Status: func() service.Status { return want }}, "").Status(t.Context())
	if diff := cmp.Diff(transport.NewStatus(want), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := client(t, good, transport.APIOptions{}, "").Status(t.Context()); err == nil || !strings.Contains(err.Error(), "404 no such route") {
		t.Errorf("a gateway: %v", err)
	}
}
