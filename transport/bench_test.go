package transport_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport"
)

// BenchmarkTurncredential says what the API adds to a bare handler of net/http
// that writes the same body.
func BenchmarkTurncredential(b *testing.B) {
	benchmarkAgainstBare(b, transport.NewAPIHandler(transport.NewEndpoints(good), metrics.New().Instrument, transport.APIOptions{}), "/turncredential")
}

// BenchmarkMetrics says the same of a scrape, for a node with a child, two
// interfaces and a session with ZooKeeper.
func BenchmarkMetrics(b *testing.B) {
	status := up()
	status.Child.PID = os.Getpid()
	status.Traffic.Devices = []traffic.DeviceSample{{Name: "eth0"}, {Name: "eth1"}}
	status.Registry = &registry.Status{Registered: true, Session: directory.Status{State: directory.Connected}}
	status.Sessions = service.NewChildLog(slog.New(slog.DiscardHandler)).Sessions()
	counts := metrics.New()
	now := func() service.Status { return status }
	counts.Observe(now)
	h, err := transport.NewWebHandler("/metrics", counts.Handler(slog.New(slog.DiscardHandler)), now, counts.Instrument)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkAgainstBare(b, h, "/metrics")
}

// benchmarkAgainstBare asks both handlers in turn, each over a TCP connection
// that is kept.
func benchmarkAgainstBare(b *testing.B, h http.Handler, path string) {
	b.Helper()
	// Without gzip, which promhttp offers and a bare handler does not.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	own := serve(b, h)
	body := fetch(b, client, own.URL+path)
	bare := serve(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
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
	response, err := client.Get(url)
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
