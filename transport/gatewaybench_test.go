package transport_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-kit/kit/metrics/discard"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/gateway"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// BenchmarkGateway says what share of the throughput of handlers that write a constant is
// left when each answer is a pick among 1,000 nodes, whose credentials are in memory: of
// a bare handler that writes the same bytes, header and body, and of one that writes the
// body alone, for what headers cost in net/http.
func BenchmarkGateway(b *testing.B) {
	const path, nodes = "/turncredential", 1000
	f := registeredFleet(b, nodes)
	h := transport.NewAPIHandler(transport.NewEndpoints(f), metrics.NewGateway().Instrument, transport.APIOptions{URIs: true})
	realtest.Eventually(b, time.Minute, func() error {
		for range nodes {
			if _, err := f.Credential(b.Context(), service.CredentialRequest{}); err != nil {
				return err
			}
		}
		if n := f.Status().Kept; n < nodes {
			return fmt.Errorf("the credentials of %d nodes are in memory", n)
		}
		return nil
	})
	before := f.Status().Counts
	own := transporttest.Serve(b, h)
	recorded := httptest.NewRecorder()
	h.ServeHTTP(recorded, httptest.NewRequest(http.MethodGet, path, nil))
	header, body := recorded.Result().Header, recorded.Body.Bytes()
	for name, constant := range map[string]http.HandlerFunc{
		"same-bytes": func(w http.ResponseWriter, _ *http.Request) {
			maps.Copy(w.Header(), header)
			_, _ = w.Write(body)
		},
		"body-alone": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) },
	} {
		b.Run(name, func(b *testing.B) {
			realtest.Paired(b, realtest.LeastClient, own.URL+path, transporttest.Serve(b, constant).URL+path)
		})
	}
	after := f.Status().Counts
	if asked := after.Fetched - before.Fetched; asked > (after.Kept-before.Kept)/100 {
		b.Errorf("%d answers were asked for at nodes, and %d not", asked, after.Kept-before.Kept)
	}
}

// registeredFleet runs a fleet of so many nodes, which one server plays on an address for
// each, registered in a real ZooKeeper.
func registeredFleet(b *testing.B, nodes int) *gateway.Gateway {
	b.Helper()
	z := realtest.StartZooKeeper(b)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		b.Fatal(err)
	}
	valid := good.credential
	valid.Expires = time.Now().Add(time.Hour)
	played := httptest.NewUnstartedServer(transport.NewAPIHandler(transport.NewEndpoints(fake{credential: valid}), transporttest.Plain, transport.APIOptions{}))
	played.Listener = l
	played.Start()
	b.Cleanup(played.Close)
	session := directory.New(directory.Config{Servers: []string{z.Addr()}, SessionTimeout: 30 * time.Second, ACL: directory.ACLOpen},
		slog.New(slog.DiscardHandler), directory.Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
	f := gateway.New(gateway.Config{Fleet: fleet.Config{Directory: directory.Config{Servers: []string{z.Addr()}}}}, transport.NewNodeClient(transport.NodeAccess{}))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	for _, run := range []func(context.Context) error{session.Run, f.Run} {
		go func() { ended <- run(ctx) }()
	}
	b.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, <-ended); err != nil {
			b.Error(err)
		}
	})
	for i := range nodes {
		addr := fmt.Sprintf("127.3.%d.%d:%d", i/200, 1+i%200, l.Addr().(*net.TCPAddr).Port)
		n := session.Node(fmt.Sprintf("/turn/servers/turn-%d", i), func(_, _ []byte) bool { return false })
		record := directory.Record{
			FreeTraffic: 500, CapacityMbps: 1000, RESTAddr: addr, V: 1, RESTScheme: "http", State: "up", Generation: 1, Seq: 1, IntervalSec: 3600,
			URIs: []string{"turn:198.51.100.7:3478?transport=udp", "turn:198.51.100.7:3478?transport=tcp"},
		}
		realtest.Eventually(b, time.Minute, func() error { return n.Put(record.Encode()) })
	}
	realtest.Eventually(b, time.Minute, func() error {
		if n := f.Status().Usable(); n != nodes {
			return fmt.Errorf("%d nodes", n)
		}
		return nil
	})
	return f
}
