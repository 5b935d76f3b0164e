package transport_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is an Instrument that observes nothing.
func plain(_ string, next http.Handler, _ ...int) http.Handler { return next }

// serve serves h on a real connection: net/http has its own say on HEAD, on
// lengths and on bodies that nobody reads.
func serve(tb testing.TB, h http.Handler) *httptest.Server {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s
}

// ask sends a request with the given Accept lines and reads the whole reply.
func ask(t *testing.T, s *httptest.Server, method, path string, body io.Reader, accept ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header["Accept"] = accept
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(b)
}

// mintingNode is a node that hands out credentials of one that is proved: all that its
// rotator asks is agreed to.
func mintingNode(tb testing.TB, mode coturn.Mode) *service.Node {
	tb.Helper()
	logger := slog.New(slog.DiscardHandler)
	node := service.NewNode(service.Facts{Node: "turn-1", Mode: mode, URIs: good.credential.URIs}, logger)
	rotator := credential.New(credential.Config{Node: "turn-1", Realm: realtest.Realm, Lifetime: 2 * time.Hour, RotateEvery: time.Hour},
		willing{}, willing{}, credential.NewFile(filepath.Join(tb.TempDir(), "credentials.json")), func() {}, logger, metrics.New().Credential)
	node.Join(service.Parts{Credentials: rotator})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = rotator.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	realtest.Eventually(tb, 10*time.Second, func() error {
		_, err := node.Credential(ctx, service.CredentialRequest{})
		return err
	})
	return node
}

// heap is what is reachable now.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
