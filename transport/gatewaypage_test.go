package transport_test

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
	"github.com/turnwarden/turnwarden/transport"
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
			h, err := transport.NewGatewayWebHandler("/metrics", http.NotFoundHandler(), func() service.GatewayStatus { return *status.Load() }, plain)
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, h)
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
