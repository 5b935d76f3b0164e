// Package transporttest has what the tests of all rooms of transport begin with.
package transporttest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
)

// Plain is an Instrument that observes nothing.
func Plain(_ string, next http.Handler, _ ...int) http.Handler { return next }

// Serve serves h on a real connection: net/http has its own say on HEAD, on
// lengths and on bodies that nobody reads.
func Serve(tb testing.TB, h http.Handler) *httptest.Server {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s
}

// Ask sends a request with the given Accept lines and reads the whole reply.
func Ask(t *testing.T, s *httptest.Server, method, path string, body io.Reader, accept ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Accept"] = accept
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(b)
}

// MintingNode is a node that hands out credentials of one that is proved: all that its
// rotator asks is agreed to.
func MintingNode(tb testing.TB, mode coturn.Mode) *node.Node {
	tb.Helper()
	logger := slog.New(slog.DiscardHandler)
	n := node.New(node.Facts{Node: "turn-1", Mode: mode, URIs: []string{"turn:192.0.2.1:3478?transport=udp", "turns:[2001:db8::1]:5349?transport=tcp"}}, logger)
	rotator := credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 2 * time.Hour, RotateEvery: time.Hour},
		Willing{}, Willing{}, credential.NewFile(filepath.Join(tb.TempDir(), "credentials.json")), func() {}, logger, metrics.New().Credential)
	n.Join(node.Parts{Credentials: rotator})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = rotator.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	realtest.Eventually(tb, 10*time.Second, func() error {
		_, err := n.Credential(ctx, service.CredentialRequest{})
		return err
	})
	return n
}

// Willing is a userdb and a TURN server that agree to everything.
type Willing struct{}

// Put implements credential.Store.
func (Willing) Put(context.Context, string, string) error { return nil }

// Delete implements credential.Store.
func (Willing) Delete(context.Context, string) error { return nil }

// List implements credential.Store.
func (Willing) List(context.Context) ([]string, error) { return nil, nil }

// Allocate implements credential.Verifier.
func (Willing) Allocate(context.Context, string, string) error { return nil }

// Read implements traffic.Source.
func (Willing) Read() (traffic.Reading, error) { return traffic.Reading{}, errors.New("no NIC") }

// Up is a standalone node that serves.
func Up() service.Status {
	now := time.Now()
	return service.Status{
		At:         now,
		Child:      supervisor.Child{State: supervisor.Running, PID: 7},
		Probe:      probe.Result{PID: 7, Serving: true, Served: true, Authenticated: true},
		Credential: credential.Status{Active: 1},
		Traffic:    traffic.Sample{At: now, Ready: true, Interval: time.Second},
	}
}

// Node is a node in a made-up fleet.
func Node(name, state string, free float64) *fleet.Node {
	return &fleet.Node{Name: name, Registration: 1, Written: time.Now(), Record: directory.Record{
		Node: name, State: state, FreeTraffic: free, CapacityMbps: 1000, RESTAddr: "10.0.0.1:13478", Generation: 7, Region: "eu", Zone: "eu-a",
		URIs: []string{"turn:10.0.0.1:3478?transport=udp"}, Version: "1.2.3", Allocations: 42,
	}}
}

// Fleet is what a gateway says of these nodes, which are in the order of their names.
func Fleet(nodes ...*fleet.Node) service.GatewayStatus {
	now := time.Now()
	return service.GatewayStatus{
		At: now, Fleet: &fleet.Snapshot{Nodes: nodes, Complete: true, Confirmed: now}, Session: directory.Status{State: directory.Connected},
	}
}

// AgainstBare asks both handlers in turn, each over a TCP connection
// that is kept.
func AgainstBare(b *testing.B, h http.Handler, path string) {
	b.Helper()
	// Without gzip, which promhttp offers and a bare handler does not.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	own := Serve(b, h)
	body := fetch(b, client, own.URL+path)
	bare := Serve(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	timed := func(s *httptest.Server) func() float64 {
		return func() float64 {
			begin := time.Now()
			fetch(b, client, s.URL+path)
			return float64(time.Since(begin).Nanoseconds())
		}
	}
	timed(bare)() // its connection is made, as the other's is
	realtest.Pairs(b, "x-bare", "ns/request", "ns/bare-request", timed(own), timed(bare))
}

func fetch(b *testing.B, client *http.Client, url string) []byte {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("GET %s: %s, %v", url, response.Status, err)
	}
	_ = response.Body.Close()
	return body
}
