package transport_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// aPicker is a fleet that is asked for servers.
type aPicker struct {
	fake
	asked service.PickRequest
	nodes []service.Server
	err   error
}

func (p *aPicker) Pick(_ context.Context, r service.PickRequest) ([]service.Server, error) {
	p.asked = r
	return p.nodes, p.err
}

func TestPick(t *testing.T) {
	p := &aPicker{fake: good, nodes: []service.Server{service.ServerOf(transporttest.Node("turn-1", "up", 812.4)), service.ServerOf(transporttest.Node("turn-2", "up", 300))}}
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(p), transporttest.Plain, transport.APIOptions{}))
	r, body := transporttest.Ask(t, s, http.MethodGet, "/v1/pick?n=2&region=eu&zone=eu-a&client=room+7", nil)
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
		r, body := transporttest.Ask(t, s, http.MethodGet, "/v1/pick?"+query, nil)
		if r.StatusCode != http.StatusBadRequest || !strings.Contains(body, accepted) || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %s", query, r.Status, body)
		}
	}
	p.err = service.ErrNoServer
	if r, body := transporttest.Ask(t, s, http.MethodGet, "/v1/pick", nil); r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") != "1" || !strings.Contains(body, "no TURN server of the fleet is up") {
		t.Errorf("%s %s", r.Status, body)
	}
	if r, _ := transporttest.Ask(t, s, http.MethodPost, "/v1/pick", nil); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", r.Status)
	}

	// Of a node there is nothing to pick.
	s = transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(good), transporttest.Plain, transport.APIOptions{}))
	for _, path := range []string{"/v1/pick", "/v1/fleet"} {
		if r, _ := transporttest.Ask(t, s, http.MethodGet, path, nil); r.StatusCode != http.StatusNotFound {
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
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(svc), transporttest.Plain, transport.APIOptions{URIs: true}))
	for _, path := range []string{"/turncredential?", "/turncredential?format=ice&", "/v1/turn?", "/v1/ice?"} {
		asked = service.CredentialRequest{}
		if r, body := transporttest.Ask(t, s, http.MethodGet, path+"region=eu&zone=eu-a", nil); r.StatusCode != http.StatusOK || asked != (service.CredentialRequest{Region: "eu", Zone: "eu-a"}) {
			t.Errorf("%s: %s %s, asked for %+v", path, r.Status, body, asked)
		}
	}
}

type serviceFunc func(service.CredentialRequest) (service.Credential, error)

func (f serviceFunc) Credential(_ context.Context, r service.CredentialRequest) (service.Credential, error) {
	return f(r)
}

func TestFleetStatus(t *testing.T) {
	held := transporttest.Node("turn-2", "up", 300)
	held.Held = true
	status := transporttest.Fleet(transporttest.Node("turn-1", "full", 0), held)
	status.Fleet.Rejected, status.Fleet.Held = 3, 1
	s := transporttest.Serve(t, transport.NewAPIHandler(transport.NewEndpoints(&aPicker{}), transporttest.Plain, transport.APIOptions{Fleet: func() service.GatewayStatus { return status }}))
	var got transport.FleetStatus
	r, body := transporttest.Ask(t, s, http.MethodGet, "/v1/fleet", nil)
	if err := json.Unmarshal([]byte(body), &got); err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s %s %v", r.Status, body, err)
	}
	if !got.Live || got.ZooKeeper != "connected" || got.Rejected != 3 || len(got.Nodes) != 2 || got.Nodes[0].State != "full" || !got.Nodes[1].Held || got.Nodes[0].Generation != 7 {
		t.Errorf("%s", body)
	}
	status.Fleet.Confirmed = status.At.Add(-time.Minute)
	status.Session = directory.Status{State: directory.Disconnected, LastError: "connection refused"}
	if _, body := transporttest.Ask(t, s, http.MethodGet, "/v1/fleet", nil); !strings.Contains(body, `"live":false`) || !strings.Contains(body, `"zookeeper":"disconnected","error":"connection refused"`) {
		t.Errorf("%s", body)
	}
}

func TestFleetEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := transporttest.Node("turn-1", "up", 800), transporttest.Node("turn-2", "up", 300)
		status := transporttest.Fleet(one, two)
		events := transport.NewFleetEvents(func() service.GatewayStatus {
			s := status
			s.At = time.Now()
			return s
		}, 80)
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
		status = transporttest.Fleet(&written, two)
		events.Kick()
		expectEvents(t, r)
		revoked := written
		revoked.Record.Generation = 8
		status = transporttest.Fleet(&revoked)
		events.Kick()
		const eighth, gone = `node {"node":"turn-1","state":"up","region":"eu","zone":"eu-a","generation":8}`, `node {"node":"turn-2","state":"gone","region":"eu","zone":"eu-a","generation":7}`
		expectEvents(t, r, eighth, gone)
		expectEvents(t, subscribe(t, events, ""), live, eighth) // who is gone is no news to who comes
		expectEvents(t, subscribe(t, events, last[2].ID), eighth, gone)
		time.Sleep(2 * time.Second) // ZooKeeper says no more
		expectEvents(t, r, `fleet {"live":false,"complete":true}`)
		status = transporttest.Fleet(&revoked, two)
		events.Kick()
		expectEvents(t, r, live, second)
		r.end()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
