package transport

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
)

// TestClientsBehindAProxy: one of them has its part of the requests under way, however many
// addresses it makes up, and others their own.
func TestClientsBehindAProxy(t *testing.T) {
	proxy := netip.MustParsePrefix("10.0.0.1/32")
	g := newGuard(Access{Proxies: []netip.Prefix{proxy}, PerClient: 2})
	release := make(chan struct{})
	entered := make(chan struct{}, 10)
	h := g.protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		entered <- struct{}{}
		<-release
	}), "", problem)
	ask := func(remote, forwarded string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", forwarded)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	var all sync.WaitGroup
	admitted := func(remote, forwarded string) {
		all.Go(func() {
			if w := ask(remote, forwarded); w.Code != http.StatusOK {
				t.Errorf("%s for %s: %d", remote, forwarded, w.Code)
			}
		})
		<-entered
	}
	admitted("10.0.0.1:1", "203.0.113.9, 198.51.100.1")
	admitted("10.0.0.1:1", "198.51.100.1")
	if w := ask("10.0.0.1:1", "203.0.113.8, 198.51.100.1"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" {
		t.Errorf("the third: %d", w.Code)
	}
	admitted("10.0.0.1:1", "198.51.100.2")
	for range 3 { // who is no proxy, and the proxy for itself, are bounded by connections
		admitted("198.51.100.1:1", "198.51.100.1")
		admitted("10.0.0.1:1", "")
	}
	close(release)
	all.Wait()
	if len(g.shares.now) != 0 {
		t.Errorf("%v are under way", g.shares.now)
	}
}
