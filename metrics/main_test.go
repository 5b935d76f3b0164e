package metrics_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node returns the metrics of a node with all its parts, none of which runs.
func node(status service.Status) *metrics.Metrics {
	logger := slog.New(slog.DiscardHandler)
	m := metrics.New()
	supervisor.New(nil, supervisor.Policy{}, nil, logger, m.Supervisor)
	credential.New(credential.Config{}, nil, nil, credential.NewFile("/nowhere/credentials.json"), nil, logger, m.Credential)
	registry.New(registry.Config{Directory: directory.Config{Servers: []string{"127.0.0.1:2181"}}}, nil, logger, m.Registry)
	transport.NewAPIHandler(transport.Endpoints{}, m.Instrument, transport.APIOptions{})
	if _, err := web.NewHandler("/metrics", http.NotFoundHandler(), nil, m.Instrument); err != nil {
		panic(err)
	}
	m.FileUsable.With("key", "api.tokens_file").Set(1)
	m.Observe(func() service.Status { return status })
	return m
}

// fresh is what a node with a registry says of itself before anything has happened.
func fresh() service.Status {
	return service.Status{
		Child:    supervisor.Child{State: supervisor.Stopped},
		Sessions: calls.NewLog(slog.New(slog.DiscardHandler)).Sessions(),
		Registry: &registry.Status{Session: directory.Status{State: directory.Connecting}},
	}
}

// serving is a node in the middle of its work. This process stands for the child.
func serving() service.Status {
	at := time.UnixMilli(1790000000000)
	log := calls.NewLog(slog.New(slog.DiscardHandler))
	for _, line := range []string{
		"1: : session 000000000000000001: new, realm=<example.org>, username=<alice>, lifetime=600",
		"1: : session 000000000000000002: new, realm=<example.org>, username=<alice>, lifetime=600",
		"2: : session 000000000000000001: peer usage: realm=<example.org>, username=<alice>, rp=61, rb=6420, sp=41, sb=4124",
		"3: : session 000000000000000003: realm <example.org> user <bob>: incoming packet message processed, error 486: Allocation Quota Reached",
		"4: : ERROR: check_stun_auth: Cannot find credentials of user <eve>",
		"4: : session 000000000000000004: realm <example.org> user <eve>: incoming packet message processed, error 401: Unauthorized",
		"4: : session 000000000000000002: delete: realm=<example.org>, username=<alice>",
		"5: : a line of no known kind",
	} {
		log.Stdout([]byte(line))
	}
	return service.Status{
		At: at, Node: "turn-1", Region: "eu", Zone: "eu-1", Version: "0.1.0", Coturn: "4.6.1", RotateEvery: 12 * time.Hour,
		Sockets: supervisor.SocketSample{At: at, PID: os.Getpid(), OpenFiles: 24, RelayPorts: 1, Drops: 2}, RelayPorts: 16384,
		Child: supervisor.Child{State: supervisor.Running, PID: os.Getpid(), StartedAt: at.Add(-time.Hour), Restarts: 2},
		Probe: probe.Result{
			PID: os.Getpid(), At: at, Serving: true, Served: true, Authenticated: true,
			Answers: []probe.Answer{
				{Transport: probe.UDP, At: at, Outcomes: outcomes(probe.StageResolve, probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh)},
				{
					Transport: probe.TLS, At: at, Outcomes: outcomes(probe.StageResolve, probe.StageTLS, probe.StageBind, probe.StageUnauthorized, probe.StageAllocate, probe.StageRelay, probe.StageRefresh),
					Certificate: probe.Certificate{NotBefore: at.AddDate(0, 0, -30), NotAfter: at.AddDate(0, 0, 60)},
				},
			},
		},
		Credential: credential.Status{
			Generations: []credential.GenerationStatus{{ID: 6, State: credential.Retiring}, {ID: 7, State: credential.Active}},
			Active:      7, Published: at.Add(-time.Hour), Expires: at.Add(23 * time.Hour), DeletesPending: 1,
		},
		Traffic: traffic.Sample{
			At: at, Ready: true, Interval: 10 * time.Second,
			RxBytesPerSecond: 23.45e6, TxBytesPerSecond: 20e6, CapacityBytesPerSecond: 125e6, FreeMbps: 812.4,
			Devices: []traffic.DeviceSample{{
				Name: "eth0", RxBytes: 123456789, TxBytes: 98765432, RxDrops: 3, Measured: true,
				RxBytesPerSecond: 23.45e6, TxBytesPerSecond: 20e6, CapacityBytesPerSecond: 125e6,
			}},
		},
		Sessions: log.Sessions(),
		Registry: &registry.Status{
			Registered: true, Session: directory.Status{State: directory.Connected, Expirations: 1},
			LastPublish: at.Add(-time.Second), LastRecord: directory.Record{FreeTraffic: 812.4},
		},
	}
}

// outcomes are those of a good round.
func outcomes(stages ...string) (all []probe.Outcome) {
	for _, s := range stages {
		all = append(all, probe.Outcome{Stage: s, OK: true})
	}
	return all
}

// exposition is what a scraper gets.
func exposition(t *testing.T, m *metrics.Metrics, accept string) (body, contentType string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String(), w.Header().Get("Content-Type")
}
