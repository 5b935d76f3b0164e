package transport_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/transport"
)

// BenchmarkTurncredential says what the API adds to a bare handler of net/http
// that writes the same body.
func BenchmarkTurncredential(b *testing.B) {
	benchmarkAgainstBare(b, transport.NewAPIHandler(transport.NewEndpoints(good), metrics.New().Instrument, transport.APIOptions{}), "/turncredential")
}

// BenchmarkMint says what share of the throughput of handlers that write a constant is
// left when each client's credential is made for it: of a bare handler that writes the
// same bytes, header and body; of one that writes the body alone, for what headers cost in
// net/http; of this one as clients of net/http have it; and of the same API without the
// minting.
func BenchmarkMint(b *testing.B) {
	const path = "/turncredential?userid=alice&ttl=600"
	node := mintingNode(b, coturn.ModeSecret)
	c, err := node.Credential(b.Context(), service.CredentialRequest{UserID: "alice", TTL: "600"})
	if err != nil {
		b.Fatal(err)
	}
	overHTTP := func(svc service.Service) http.Handler {
		return transport.NewAPIHandler(transport.NewEndpoints(svc), metrics.New().Instrument, transport.APIOptions{})
	}
	minting := serve(b, overHTTP(node))
	body := fetch(b, minting.Client(), minting.URL+path)
	handlers := constants(body, overHTTP(node), path)
	b.Run("headers", func(b *testing.B) { // what they cost a handler that makes nothing
		paired(b, leastClient, serve(b, handlers["same-bytes"]), path, map[string]http.Handler{"body-alone": handlers["body-alone"]})
	})
	b.Run("http-client", func(b *testing.B) {
		paired(b, httpClient, minting, path, map[string]http.Handler{"body-alone": handlers["body-alone"]})
	})
	handlers["api"] = overHTTP(fake{credential: c})
	paired(b, leastClient, minting, path, handlers)
}

// constants are bare handlers that write what h answers: the same bytes, header and body,
// or the body alone.
func constants(body []byte, h http.Handler, path string) map[string]http.Handler {
	recorded := httptest.NewRecorder()
	h.ServeHTTP(recorded, httptest.NewRequest(http.MethodGet, path, nil))
	header := recorded.Result().Header
	return map[string]http.Handler{
		"same-bytes": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), header)
			_, _ = w.Write(body)
		}),
		"body-alone": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }),
	}
}

// paired says what share of each constant handler's throughput own has, in pairs of
// alternating order.
func paired(b *testing.B, as asker, own *httptest.Server, path string, handlers map[string]http.Handler) {
	b.Helper()
	for name, h := range handlers {
		b.Run(name, func(b *testing.B) {
			constant := serve(b, h)
			var rates, constants, ratios []float64
			for b.Loop() {
				var m, c float64
				if len(ratios)%2 == 0 {
					m, c = throughput(b, as, own, path), throughput(b, as, constant, path)
				} else {
					c, m = throughput(b, as, constant, path), throughput(b, as, own, path)
				}
				rates, constants, ratios = append(rates, m), append(constants, c), append(ratios, m/c)
			}
			if len(ratios) < 10 {
				b.Logf("%d pairs are too few: use a longer -benchtime", len(ratios))
			}
			b.ReportMetric(median(ratios), "x-constant")
			b.ReportMetric(median(rates), "requests/s")
			b.ReportMetric(median(constants), "constant-requests/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// throughput asks for the path on four kept connections at once and returns requests/s.
func throughput(b *testing.B, as asker, s *httptest.Server, path string) float64 {
	b.Helper()
	const connections, each = 4, 1000
	var all sync.WaitGroup
	begin := time.Now()
	for range connections {
		all.Go(func() {
			ask, hangUp, err := as(s, path)
			if err != nil {
				b.Error(err)
				return
			}
			defer hangUp()
			for range each {
				if err := ask(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return connections * each / time.Since(begin).Seconds()
}

// An asker asks for the path, on a connection of its own.
type asker func(s *httptest.Server, path string) (ask func() error, hangUp func(), err error)

// leastClient is the least that works, so that it is the server that is measured.
func leastClient(s *httptest.Server, path string) (ask func() error, hangUp func(), err error) {
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: turnwarden\r\n\r\n")
	answer := make([]byte, 4096)
	return func() error {
		if _, err := c.Write(request); err != nil {
			return err
		}
		// An answer of net/http to so small a request is one write, and ends with the body.
		if n, err := c.Read(answer); err != nil || !bytes.HasSuffix(answer[:n], []byte(" }")) {
			return fmt.Errorf("%v: %s", err, answer[:n])
		}
		return nil
	}, func() { _ = c.Close() }, nil
}

// httpClient is that of net/http.
func httpClient(s *httptest.Server, path string) (ask func() error, hangUp func(), err error) {
	own := &http.Transport{}
	return func() error {
		response, err := (&http.Client{Transport: own}).Get(s.URL + path)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if body, err := io.ReadAll(response.Body); err != nil || !bytes.HasSuffix(body, []byte(" }")) {
			return fmt.Errorf("%v: %s", err, body)
		}
		return nil
	}, own.CloseIdleConnections, nil
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
// that is kept. What disturbs a machine disturbs both halves of a pair, so the
// median of the pairs' ratios stands still where either time does not.
func benchmarkAgainstBare(b *testing.B, h http.Handler, path string) {
	b.Helper()
	// Without gzip, which promhttp offers and a bare handler does not.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	defer client.CloseIdleConnections()
	own := serve(b, h)
	body := fetch(b, client, own.URL+path)
	bare := serve(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	timed := func(s *httptest.Server) float64 {
		begin := time.Now()
		fetch(b, client, s.URL+path)
		return float64(time.Since(begin).Nanoseconds())
	}
	timed(bare) // its connection is made, as the other's is
	var owns, bares, ratios []float64
	for b.Loop() {
		var o, n float64
		if len(ratios)%2 == 0 {
			o, n = timed(own), timed(bare)
		} else {
			n, o = timed(bare), timed(own)
		}
		owns, bares, ratios = append(owns, o), append(bares, n), append(ratios, o/n)
	}
	if len(ratios) < 10 {
		b.Logf("%d pairs are too few: use a longer -benchtime", len(ratios))
	}
	b.ReportMetric(median(ratios), "x-bare")
	b.ReportMetric(median(owns), "ns/request")
	b.ReportMetric(median(bares), "ns/bare-request")
	b.ReportMetric(0, "ns/op") // a pair with its bookkeeping; nobody wants to know
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

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
