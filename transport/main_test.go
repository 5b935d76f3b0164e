package transport_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"
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
