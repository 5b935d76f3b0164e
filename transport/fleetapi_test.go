package transport_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/transport"
)

// aPicker is a fleet that is asked for servers.
type aPicker struct {
	fake
	asked service.PickRequest
	nodes []*fleet.Node
	err   error
}

func (p *aPicker) Pick(_ context.Context, r service.PickRequest) ([]*fleet.Node, error) {
	p.asked = r
	return p.nodes, p.err
}

func TestPick(t *testing.T) {
	p := &aPicker{fake: good, nodes: []*fleet.Node{aNode("turn-1", "up", 812.4), aNode("turn-2", "up", 300)}}
	s := serve(t, transport.NewAPIHandler(transport.NewEndpoints(p), plain, transport.APIOptions{}))
	r, body := ask(t, s, http.MethodGet, "/v1/pick?n=2&region=eu&zone=eu-a&client=room+7", nil)
	if want := (service.PickRequest{N: 2, Region: "eu", Zone: "eu-a", Client: "room 7"}); p.asked != want {
		t.Errorf("asked for %+v, want %+v", p.asked, want)
	}
	var reply struct{ Servers []transport.Server }
	if err := json.Unmarshal([]byte(body), &reply); err != nil || r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%s %v %v", r.Status, r.Header, err)
	}
	if len(reply.Servers) != 2 || reply.Servers[0].Node != "turn-1" || reply.Servers[0].FreeMbps != 812.4 || reply.Servers[0].URIs[0] != "turn:10.0.0.1:3478?transport=udp" {
		t.Errorf("%s", body)
	}
	if strings.Contains(body, "password") || strings.Contains(body, "s3cret") {
		t.Errorf("a secret in %s", body)
	}
	for query, accepted := range map[string]string{
		"n=0": "a number from 1 to 8", "n=9": "a number from 1 to 8", "n=two": "a number from 1 to 8", "n=-1": "a number from 1 to 8",
		"region=" + strings.Repeat("x", 65): "64 characters", "zone=" + strings.Repeat("x", 65): "64 characters",
		"client=" + strings.Repeat("x", 257): "256 characters",
	} {
		r, body := ask(t, s, http.MethodGet, "/v1/pick?"+query, nil)
		if r.StatusCode != http.StatusBadRequest || !strings.Contains(body, accepted) || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s", query, r.Status, body)
		}
	}
	p.err = service.ErrNoServer
	if r, body := ask(t, s, http.MethodGet, "/v1/pick", nil); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "1" || !strings.Contains(body, "no TURN server of the fleet is up") {
		t.Errorf("%s %s", r.Status, body)
	}
	if r, _ := ask(t, s, http.MethodPost, "/v1/pick", nil); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}

	// Of a node there is nothing to pick.
	s = serve(t, transport.NewAPIHandler(transport.NewEndpoints(good), plain, transport.APIOptions{}))
	for _, path := range []string{"/v1/pick", "/v1/fleet"} {
		if r, _ := ask(t, s, http.MethodGet, path, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s of a node: %s", path, r.Status)
		}
	}
}

// TestCredentialRegion: where a client would like its server is passed on, in every shape.
func TestCredentialRegion(t *testing.T) {
	var asked service.CredentialRequest
	svc := serviceFunc(func(r service.CredentialRequest) (service.Credential, error) {
		asked = r
		return good.credential, nil
	})
	s := serve(t, transport.NewAPIHandler(transport.NewEndpoints(svc), plain, transport.APIOptions{URIs: true}))
	for _, path := range []string{"/turncredential?", "/turncredential?format=ice&", "/v1/turn?", "/v1/ice?"} {
		asked = service.CredentialRequest{}
		if r, body := ask(t, s, http.MethodGet, path+"region=eu&zone=eu-a", nil); r.StatusCode != http.StatusOK || asked != (service.CredentialRequest{Region: "eu", Zone: "eu-a"}) {
			t.Errorf("%s: %s %s, asked for %+v", path, r.Status, body, asked)
		}
	}
}

type serviceFunc func(service.CredentialRequest) (service.Credential, error)

func (f serviceFunc) Credential(_ context.Context, r service.CredentialRequest) (service.Credential, error) {
	return f(r)
}

func TestFleetStatus(t *testing.T) {
	held := aNode("turn-2", "up", 300)
	held.Held = true
	status := aFleet(aNode("turn-1", "full", 0), held)
	status.Fleet.Rejected, status.Fleet.Held = 3, 1
	s := serve(t, transport.NewAPIHandler(transport.NewEndpoints(&aPicker{}), plain, transport.APIOptions{Fleet: func() service.GatewayStatus { return status }}))
	var got transport.FleetStatus
	r, body := ask(t, s, http.MethodGet, "/v1/fleet", nil)
	if err := json.Unmarshal([]byte(body), &got); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", r.Status, body, err)
	}
	if !got.Live || got.ZooKeeper != "connected" || got.Rejected != 3 || len(got.Nodes) != 2 || got.Nodes[0].State != "full" || !got.Nodes[1].Held || got.Nodes[0].Generation != 7 {
		t.Errorf("%s", body)
	}
	status.Fleet.Confirmed = status.At.Add(-time.Minute)
	status.Session = directory.Status{State: directory.Disconnected, LastError: "connection refused"}
	if _, body := ask(t, s, http.MethodGet, "/v1/fleet", nil); !strings.Contains(body, `"live":false`) || !strings.Contains(body, `"zookeeper":"disconnected","error":"connection refused"`) {
		t.Errorf("%s", body)
	}
}

func TestFleetEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := aNode("turn-1", "up", 800), aNode("turn-2", "up", 300)
		status := aFleet(one, two)
		events := transport.NewFleetEvents(func() service.GatewayStatus {
			s := status
			s.At = time.Now()
			return s
		}, 10)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- events.Run(ctx) }()
		synctest.Wait()
		const live, first, second = `fleet {"live":true,"complete":true}`, `node {"node":"turn-1","state":"up","region":"eu","zone":"eu-a","generation":7}`,
			`node {"node":"turn-2","state":"up","region":"eu","zone":"eu-a","generation":7}`
		r := subscribe(t, events, "")
		last := expectEvents(t, r, live, first, second)

		written := *one
		written.Record.FreeTraffic, written.Record.Seq = 700, 99 // load is no news
		status = aFleet(&written, two)
		events.Kick()
		expectEvents(t, r)
		revoked := written
		revoked.Record.Generation = 8
		status = aFleet(&revoked)
		events.Kick()
		const eighth, gone = `node {"node":"turn-1","state":"up","region":"eu","zone":"eu-a","generation":8}`, `node {"node":"turn-2","state":"gone","region":"eu","zone":"eu-a","generation":7}`
		expectEvents(t, r, eighth, gone)
		expectEvents(t, subscribe(t, events, ""), live, eighth) // who is gone is no news to who comes
		expectEvents(t, subscribe(t, events, last[2].ID), eighth, gone)
		time.Sleep(2 * time.Second) // ZooKeeper says no more
		expectEvents(t, r, `fleet {"live":false,"complete":true}`)
		status = aFleet(&revoked, two)
		events.Kick()
		expectEvents(t, r, live, second)
		r.end()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestGatewayWeb: what the web listener of a gateway says, and when.
func TestGatewayWeb(t *testing.T) {
	stale := aNode("turn-3", "up", 900)
	stale.Doubt = fleet.Stale
	silent := aFleet(aNode("turn-1", "up", 812.4))
	silent.Fleet.Confirmed = silent.At.Add(-90 * time.Second)
	silent.Session = directory.Status{State: directory.Disconnected, LastError: "connection refused"}
	begun := aFleet()
	begun.Fleet = &fleet.Snapshot{}
	begun.Session = directory.Status{State: directory.Connecting, LastError: "no such host"}
	stopping := aFleet(aNode("turn-1", "up", 812.4))
	stopping.Stopping = true
	held := aFleet(aNode("turn-1", "up", 812.4))
	held.Fleet.Held, held.Fleet.Rejected, held.Avoided = 1, 2, map[string]string{"turn-1": "it says 401 Unauthorized"}
	for name, test := range map[string]struct {
		status service.GatewayStatus
		code   int
		ready  string
		page   []string
	}{
		"good":       {aFleet(aNode("turn-1", "up", 812.4), aNode("turn-2", "full", 0), stale), 200, "ready\nzookeeper: connected\n", []string{"verdict good", "2 of 3 servers usable, 812 Mbit/s free", "1 server not used: 1 stale", "812 Mbit/s of 1 Gbit/s", "has not been written for three of its intervals", "refuses further allocations"}},
		"all full":   {aFleet(aNode("turn-1", "full", 0)), 200, "ready\nzookeeper: connected\n", []string{"verdict bad", "No room left: 1 server, the least loaded"}},
		"all down":   {aFleet(aNode("turn-1", "down", 0)), 503, "not ready\nno node is up\nzookeeper: connected\n", []string{"verdict bad", "No server to hand out", "no node is up", "1 server not used: 1 down", "its TURN server does not serve"}},
		"none":       {aFleet(), 503, "not ready\nno node is registered\nzookeeper: connected\n", []string{"verdict bad", "None is registered."}},
		"begun":      {begun, 503, "not ready\nZooKeeper: connecting: no such host\nzookeeper: connecting: no such host\n", []string{"verdict bad"}},
		"silent":     {silent, 200, "ready\nzookeeper: disconnected: connection refused; serving the fleet as it was last seen\n", []string{"verdict warn", "as it was last seen"}},
		"stopping":   {stopping, 503, "not ready\nstopping\nzookeeper: connected\n", []string{"stopping"}},
		"in trouble": {held, 200, "ready\nzookeeper: connected\n", []string{"verdict warn", "1 server vanished from ZooKeeper at once", "2 records cannot be understood", "1 server could not be asked", "for it could not be asked: it says 401 Unauthorized"}},
		"hostile":    {aFleet(&fleet.Node{Name: "turn-1", Record: directory.Record{State: hostile, Region: hostile, Zone: hostile, Version: hostile}}), 503, "not ready\nno node is up\nzookeeper: connected\n", []string{"&lt;script&gt;"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := transport.NewGatewayWebHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return test.status }, plain)
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, h)
			if r, body := ask(t, s, http.MethodGet, "/-/ready", nil); r.StatusCode != test.code || body != test.ready {
				t.Errorf("/-/ready: %d %q, want %d %q", r.StatusCode, body, test.code, test.ready)
			}
			if r, body := ask(t, s, http.MethodGet, "/-/healthy", nil); r.StatusCode != http.StatusOK || body != "healthy\n" {
				t.Errorf("/-/healthy: %d %q", r.StatusCode, body)
			}
			_, body := ask(t, s, http.MethodGet, "/", nil)
			for _, want := range test.page {
				if !strings.Contains(body, want) {
					t.Errorf("the page has no %q:\n%s", want, body)
				}
			}
			if strings.Contains(body, hostile) {
				t.Error("a text of a record is markup")
			}
		})
	}
	if _, err := transport.NewGatewayWebHandler("/-/metrics", http.NotFoundHandler(), nil, plain); err == nil {
		t.Error("metrics below /-/ were accepted")
	}
	var many []*fleet.Node
	for range 1000 {
		many = append(many, aNode("turn", "up", 1))
	}
	many = append(many, aNode("the-sick-one", "down", 0))
	h, err := transport.NewGatewayWebHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return aFleet(many...) }, plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := ask(t, serve(t, h), http.MethodGet, "/", nil); !strings.Contains(body, "and 801 more") || !strings.Contains(body, "the-sick-one") || len(body) > 200_000 {
		t.Errorf("a page of %d bytes", len(body))
	}
}

// TestNewFleet: what is not said has a default, and a fleet that does not run has nothing
// to hand out.
func TestNewFleet(t *testing.T) {
	f := transport.NewFleet(transport.FleetConfig{GatewayConfig: service.GatewayConfig{Fleet: fleet.Config{Directory: directory.Config{Servers: []string{"127.0.0.1:1"}}}}})
	if _, err := f.Credential(t.Context(), service.CredentialRequest{}); !errors.Is(err, service.ErrNoCredential) {
		t.Errorf("got %v", err)
	}
	if _, err := f.Pick(t.Context(), service.PickRequest{}); !errors.Is(err, service.ErrNoServer) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}
