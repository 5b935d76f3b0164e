package metrics_test

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

func TestOpenMetrics(t *testing.T) {
	body, contentType := exposition(t, node(fresh()), "application/openmetrics-text;version=1.0.0")
	if !strings.HasPrefix(contentType, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(body, "\n# EOF\n") {
		t.Errorf("got %q:\n%s", contentType, body)
	}
}

func TestInstrument(t *testing.T) {
	m := metrics.New()
	h := m.Instrument("/turncredential", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		expect(t, series(t, m), "1", `turnwarden_http_requests_in_flight`)
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	}))
	for _, method := range []string{"GET", "GET", "POST", "BREW", "STEEP"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, "/turncredential?user=alice", nil))
	}
	values := series(t, m)
	count := func(method, code string) string {
		return fmt.Sprintf(`turnwarden_http_request_duration_seconds_count{code="%s",handler="/turncredential",method="%s"}`, code, method)
	}
	expect(t, values, "2", count("get", "200"), count("unknown", "405")) // no client makes up a series
	expect(t, values, "1", count("post", "405"))
	expect(t, values, "0", `turnwarden_http_requests_in_flight`)
}

// TestScraperHangsUp: what a client does to its own connection is no trouble of ours, however
// often; a collector that fails is.
func TestScraperHangsUp(t *testing.T) {
	var out realtest.Log
	m := node(serving())
	h := m.Handler(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	for _, encoding := range []string{"", "gzip"} {
		for range 50 {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept-Encoding", encoding)
			h.ServeHTTP(reset{httptest.NewRecorder()}, r)
		}
	}
	if lines := strings.Count(out.String(), "\n"); strings.Contains(out.String(), "level=ERROR") || lines == 0 || lines > 50 {
		t.Errorf("%d lines:\n%.2000s", lines, out.String())
	}
	m.Observe(func() service.Status { return serving() }) // the same series twice
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(out.String(), "level=ERROR") {
		t.Error("a collector that fails is not logged")
	}
}

// reset is a client that has reset its connection.
type reset struct{ http.ResponseWriter }

func (reset) Write([]byte) (int, error) {
	return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.ECONNRESET}
}

// TestPrometheus has a real Prometheus scrape a node whose child dies.
func TestPrometheus(t *testing.T) {
	var down atomic.Bool
	m := metrics.New()
	m.Observe(func() service.Status {
		status := serving()
		if down.Load() {
			status.Child = supervisor.Child{State: supervisor.Backoff}
		}
		return status
	})
	target := httptest.NewServer(m.Handler(slog.New(slog.DiscardHandler)))
	defer target.Close()
	p := realtest.StartPrometheus(t, fmt.Sprintf(
		"scrape_configs: [{job_name: turnwarden, scrape_interval: 500ms, scrape_timeout: 500ms, static_configs: [{targets: [%q]}]}]",
		target.Listener.Addr()))
	is := func(want float64) func() error {
		return func() error {
			got := p.Query(t, `turnwarden_turnserver_up{job="turnwarden"}`)
			if len(got) != 1 || got[0].Value != want {
				return fmt.Errorf("turnwarden_turnserver_up: got %v, want %v", got, want)
			}
			return nil
		}
	}
	realtest.Eventually(t, 30*time.Second, is(1))
	down.Store(true)
	realtest.Eventually(t, 30*time.Second, is(0))
	if got := p.Query(t, `rate(turnwarden_network_receive_bytes_total[5m])`); len(got) != 1 || got[0].Labels["device"] != "eth0" {
		t.Errorf("rate of the network counter: got %v", got)
	}
}
