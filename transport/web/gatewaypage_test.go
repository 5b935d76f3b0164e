package web_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

// aScene is a gateway in the middle of its work, with servers that it does not use.
func aScene() service.GatewayStatus {
	at := time.Now()
	s := service.GatewayStatus{
		At: at, Session: directory.Status{State: directory.Connected, Expirations: 1}, Kept: 6,
		Fleet:   &fleet.Snapshot{Complete: true, Confirmed: at.Add(-300 * time.Millisecond)},
		Counts:  service.GatewayCounts{Kept: 48_213, Fetched: 37, None: 2, Slow: 4, Failed: 3, Fetches: 44, FetchesFailed: 5},
		Avoided: map[string]string{"turn-us-2": "no answer from 10.20.1.12:13478 within 1.5s"},
		Journal: []service.Line{
			{At: at.Add(-9 * time.Second), Level: slog.LevelWarn, Part: "fleet", Text: "a node could not be asked for a credential: it is picked only if there is no other, until it answers again", Detail: "node=turn-us-2 err=no answer from 10.20.1.12:13478 within 1.5s"},
			{At: at.Add(-26 * time.Hour), Level: slog.LevelWarn, Part: "fleet", Text: "cannot read the fleet; the last view stands, trying again", Detail: "err=zk: could not connect to a server"},
		},
	}
	for i, n := range []struct {
		name, state, zone string
		free, capacity    float64
		allocations       int
		doubt             fleet.Doubt
	}{
		{"turn-eu-1", "up", "fra-a", 812.4, 1000, 214, ""},
		{"turn-eu-2", "up", "fra-b", 640, 1000, 402, ""},
		{"turn-eu-3", "up", "fra-b", 120.5, 1000, 951, ""},
		{"turn-eu-4", "draining", "fra-a", 0, 1000, 12, ""},
		{"turn-us-1", "up", "iad-a", 1710, 2000, 240, ""},
		{"turn-us-2", "up", "iad-b", 905, 1000, 88, ""},
		{"turn-us-3", "full", "iad-b", 0, 1000, 1200, ""},
		{"turn-us-4", "up", "iad-a", 700, 1000, 130, fleet.Stale},
		{"turn-us-5", "down", "iad-a", 0, 1000, 0, ""},
	} {
		region, _, _ := strings.Cut(strings.TrimPrefix(n.name, "turn-"), "-")
		s.Fleet.Nodes = append(s.Fleet.Nodes, &fleet.Node{
			Name: n.name, Doubt: n.doubt, Written: at.Add(-time.Duration(i+1) * time.Second),
			Record: directory.Record{
				V: 1, Node: n.name, State: n.state, Region: region, Zone: n.zone, FreeTraffic: n.free, CapacityMbps: n.capacity,
				Allocations: n.allocations, Generation: uint64(40 + i), Version: "1.4.0", URIs: []string{"turn:203.0.113.7:3478"},
			},
		})
	}
	s.Fleet.Nodes[7].Written = at.Add(-47 * time.Second)
	return s
}

// TestGatewayPageInChromium is TestStatusPageInChromium for the page of a gateway.
func TestGatewayPageInChromium(t *testing.T) {
	chromium := realtest.StartChromium(t)
	for name, viewer := range viewers() {
		t.Run(name, func(t *testing.T) {
			var status atomic.Pointer[service.GatewayStatus]
			first := aScene()
			if *screenshots == "" {
				first.Fleet.Nodes[0].Record.Version, first.Avoided["turn-us-2"] = strings.Repeat("1.4.0", 12), hostile
			}
			status.Store(&first)
			h, err := web.NewGatewayHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return *status.Load() }, transporttest.Plain)
			if err != nil {
				t.Fatal(err)
			}
			s := transporttest.Serve(t, h)
			tab := chromium.Open(t, viewer, s.URL)
			keep(t, tab, "gateway-page", name)
			if got := tab.Text(".headline"); got != "▲ 6 of 9 servers usable, 4.19 Gbit/s free" {
				t.Errorf("headline %q", got)
			}
			if got := tab.Text(".reasons"); got != "1 server could not be asked for a credential\n3 servers not used: 1 down, 1 draining, 1 stale" {
				t.Errorf("reasons %q", got)
			}
			body := strings.ReplaceAll(tab.Text("#nodes"), "\u00a0", " ")
			for _, want := range []string{
				"turn-us-5", "down", "its TURN server does not serve", "waits for its calls to end", "has not been written for three of its intervals",
				"refuses further allocations", "could not be asked: ", "812 Mbit/s of 1 Gbit/s", "1.71 Gbit/s of 2 Gbit/s", "us iad-b", "47 s ago", "1.4.0",
			} {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in\n%s", want, body)
				}
			}
			if *screenshots == "" && !strings.Contains(body, hostile) {
				t.Errorf("reads\n%s", body)
			}
			legible(t, tab)
			// A bar is the share that is free, and what is in trouble comes first.
			var bars []float64
			tab.Eval(`[...document.querySelectorAll("tbody .bar .part")].map(e => e.getBoundingClientRect().width / e.parentElement.getBoundingClientRect().width)`, &bars)
			if len(bars) != 9 || fmt.Sprintf("%.2f", bars) != "[0.00 0.00 0.91 0.00 0.70 0.81 0.64 0.12 0.86]" {
				t.Errorf("bars %.2f", bars)
			}

			next := aScene()
			next.Fleet.Nodes = next.Fleet.Nodes[:2]
			clear(next.Avoided)
			status.Store(&next)
			becomes(t, chromium, viewer, tab, s.URL, "Fleet: 2 of 2 servers usable, 1.45 Gbit/s free", "● 2 of 2 servers usable, 1.45 Gbit/s free")
		})
	}
}

// TestGatewayWeb: what the web listener of a gateway says, and when.
func TestGatewayWeb(t *testing.T) {
	stale := transporttest.Node("turn-3", "up", 900)
	stale.Doubt = fleet.Stale
	silent := transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4))
	silent.Fleet.Confirmed = silent.At.Add(-90 * time.Second)
	silent.Session = directory.Status{State: directory.Disconnected, LastError: "connection refused"}
	begun := transporttest.Fleet()
	begun.Fleet = &fleet.Snapshot{}
	begun.Session = directory.Status{State: directory.Connecting, LastError: "no such host"}
	stopping := transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4))
	stopping.Stopping = true
	held := transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4))
	held.Fleet.Held, held.Fleet.Rejected, held.Avoided = 1, 2, map[string]string{"turn-1": "it says 401 Unauthorized"}
	for name, test := range map[string]struct {
		status service.GatewayStatus
		code   int
		ready  string
		page   []string
	}{
		"good":       {transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4), transporttest.Node("turn-2", "full", 0), stale), 200, "ready\nzookeeper: connected\n", []string{"verdict good", "2 of 3 servers usable, 812 Mbit/s free", "1 server not used: 1 stale", "812 Mbit/s of 1 Gbit/s", "has not been written for three of its intervals", "refuses further allocations"}},
		"all full":   {transporttest.Fleet(transporttest.Node("turn-1", "full", 0)), 200, "ready\nzookeeper: connected\n", []string{"verdict bad", "No room left: 1 server, the least loaded"}},
		"all down":   {transporttest.Fleet(transporttest.Node("turn-1", "down", 0)), 503, "not ready\nno node is up\nzookeeper: connected\n", []string{"verdict bad", "No server to hand out", "no node is up", "1 server not used: 1 down", "its TURN server does not serve"}},
		"none":       {transporttest.Fleet(), 503, "not ready\nno node is registered\nzookeeper: connected\n", []string{"verdict bad", "None is registered."}},
		"begun":      {begun, 503, "not ready\nZooKeeper: connecting: no such host\nzookeeper: connecting: no such host\n", []string{"verdict bad"}},
		"silent":     {silent, 200, "ready\nzookeeper: disconnected: connection refused; serving the fleet as it was last seen\n", []string{"verdict warn", "as it was last seen"}},
		"stopping":   {stopping, 503, "not ready\nstopping\nzookeeper: connected\n", []string{"stopping"}},
		"in trouble": {held, 200, "ready\nzookeeper: connected\n", []string{"verdict warn", "1 server vanished from ZooKeeper at once", "2 records cannot be understood", "1 server could not be asked", "for it could not be asked: it says 401 Unauthorized"}},
		"hostile":    {transporttest.Fleet(&fleet.Node{Name: "turn-1", Record: directory.Record{State: hostile, Region: hostile, Zone: hostile, Version: hostile}}), 503, "not ready\nno node is up\nzookeeper: connected\n", []string{"&lt;script&gt;"}},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := web.NewGatewayHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return test.status }, transporttest.Plain)
			if err != nil {
				t.Fatal(err)
			}
			s := transporttest.Serve(t, h)
			if r, body := transporttest.Ask(t, s, http.MethodGet, "/-/ready", nil); r.StatusCode != test.code || body != test.ready {
				t.Errorf("/-/ready: %d %q, want %d %q", r.StatusCode, body, test.code, test.ready)
			}
			if r, body := transporttest.Ask(t, s, http.MethodGet, "/-/healthy", nil); r.StatusCode != http.StatusOK || body != "healthy\n" {
				t.Errorf("/-/healthy: %d %q", r.StatusCode, body)
			}
			_, body := transporttest.Ask(t, s, http.MethodGet, "/", nil)
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
	if _, err := web.NewGatewayHandler("/-/metrics", http.NotFoundHandler(), nil, transporttest.Plain); err == nil {
		t.Error("metrics below /-/ were accepted")
	}
	var many []*fleet.Node
	for range 1000 {
		many = append(many, transporttest.Node("turn", "up", 1))
	}
	many = append(many, transporttest.Node("the-sick-one", "down", 0))
	h, err := web.NewGatewayHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return transporttest.Fleet(many...) }, transporttest.Plain)
	if err != nil {
		t.Fatal(err)
	}
	if _, body := transporttest.Ask(t, transporttest.Serve(t, h), http.MethodGet, "/", nil); !strings.Contains(body, "and 801 more") || !strings.Contains(body, "the-sick-one") || len(body) > 200_000 {
		t.Errorf("a page of %d bytes", len(body))
	}
}
