package metrics_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/gateway"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/web"
)

const gatewayGolden = "testdata/gateway.prom"

// metricsOf returns the metrics of a gateway that does not run.
func metricsOf(status service.GatewayStatus) *metrics.Metrics {
	m := metrics.NewGateway()
	f := gateway.New(gateway.Config{Fleet: fleet.Config{Directory: directory.Config{Servers: []string{"127.0.0.1:2181"}}}, Metrics: m.Gateway}, transport.NewNodeClient(transport.NodeAccess{}))
	observed := func() service.GatewayStatus { return status }
	transport.NewAPIHandler(transport.NewEndpoints(f), m.Instrument, transport.APIOptions{Fleet: observed})
	if _, err := web.NewGatewayHandler("/metrics", http.NotFoundHandler(), observed, m.Instrument); err != nil {
		panic(err)
	}
	m.FileUsable.With("key", "gateway.node.token_file").Set(1)
	m.ObserveGateway(observed)
	return m
}

// fleetOf is a gateway in the middle of its work.
func fleetOf() service.GatewayStatus {
	at := time.UnixMilli(1790000000000)
	s := &fleet.Snapshot{Complete: true, Confirmed: at.Add(-300 * time.Millisecond), Rejected: 1, Held: 1}
	for name, state := range map[string]string{"turn-1": "up", "turn-2": "full", "turn-3": "draining", "turn-4": "on fire"} {
		n := &fleet.Node{Name: name, Record: directory.Record{Node: name, State: state, CapacityMbps: 1000}}
		if state == "up" {
			n.Record.FreeTraffic = 812.4
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.Nodes = append(s.Nodes, &fleet.Node{Name: "turn-5", Doubt: fleet.Stale, Record: directory.Record{State: "up", FreeTraffic: 1000, CapacityMbps: 1000}})
	s.Nodes = append(s.Nodes, &fleet.Node{Name: "turn-6", Doubt: fleet.Forbidden, Record: directory.Record{State: "up", FreeTraffic: 1000, CapacityMbps: 1000}})
	return service.GatewayStatus{
		At: at, Fleet: s, Session: directory.Status{State: directory.Connected, Expirations: 1}, Avoided: map[string]string{"turn-1": "no answer"}, Kept: 2,
		Counts: service.GatewayCounts{Kept: 1000, Fetched: 10, None: 1, Slow: 2, Failed: 3, Fetches: 15, FetchesFailed: 4},
	}
}

// TestGoldenOfGateway is TestGolden for a gateway.
func TestGoldenOfGateway(t *testing.T) {
	m := metricsOf(fleetOf())
	m.Gateway.Fetch.Observe(.003)
	m.Gateway.Fleet.Operations.With("operation", "get").Add(7)
	m.Gateway.Fleet.Failures.With("operation", "get").Add(1)
	m.Gateway.Fleet.Rejected.With("reason", "syntax").Add(1)
	compare(t, gatewayGolden, m)
	text, _ := exposition(t, m, "")
	for _, series := range []string{
		`turnwarden_gateway_nodes{state="up"} 1`,
		`turnwarden_gateway_nodes{state="stale"} 1`,
		`turnwarden_gateway_nodes{state="other"} 1`,
		`turnwarden_gateway_nodes{state="superseded"} 0`,
		`turnwarden_gateway_nodes{state="forbidden"} 1`,
		`turnwarden_gateway_nodes_usable 2`,
		`turnwarden_gateway_headroom_bytes_per_second 1.0155e+08`,
		`turnwarden_gateway_view_live 1`,
		`turnwarden_gateway_credentials_total{source="memory"} 1000`,
		`turnwarden_gateway_hedges_total{reason="slow"} 2`,
		`turnwarden_gateway_fetch_duration_seconds_count 1`,
		`turnwarden_zookeeper_session_state{state="connected"} 1`,
		`turnwarden_zookeeper_operations_total{operation="children"} 0`,
		`turnwarden_http_request_duration_seconds_count{code="503",handler="/v1/pick",method="get"} 0`,
	} {
		if !strings.Contains(text, "\n"+series+"\n") {
			t.Errorf("no %s", series)
		}
	}
}

// TestGatewaySeriesAreBounded: what is written in records makes no series.
func TestGatewaySeriesAreBounded(t *testing.T) {
	count := func(nodes int) int {
		s := fleetOf()
		for range nodes {
			name := strings.Repeat("x", len(s.Fleet.Nodes))
			s.Fleet.Nodes = append(s.Fleet.Nodes, &fleet.Node{Name: name, Record: directory.Record{State: name, Region: name, Version: name}})
		}
		text, _ := exposition(t, metricsOf(s), "")
		return strings.Count(text, "\nturnwarden_")
	}
	if few, many := count(0), count(2000); few != many {
		t.Errorf("%d series with few nodes, %d with many", few, many)
	}
}

func TestGatewayPedantic(t *testing.T) {
	for name, status := range map[string]service.GatewayStatus{"working": fleetOf(), "zero": {Fleet: &fleet.Snapshot{}}} {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(metrics.NewGatewayCollector(func() service.GatewayStatus { return status }))
		if _, err := r.Gather(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
