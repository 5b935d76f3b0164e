package transport

import (
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"github.com/turnwarden/turnwarden/transport/gate"
)

// shares counts the requests under way of each client that comes through a proxy of ours.
// Who comes by himself is bounded by his connections.
type shares struct {
	mu  sync.Mutex
	now map[netip.Addr]int
}

func (s *shares) take(client netip.Addr, most int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now[client] >= most {
		return false
	}
	if s.now == nil {
		s.now = map[netip.Addr]int{}
	}
	s.now[client]++
	return true
}

func (s *shares) give(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now[client]--; s.now[client] == 0 {
		delete(s.now, client)
	}
}

// share allows each client behind a proxy its part of the requests under way.
func (g *guard) share(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := g.caller(r)
		if !client.IsValid() || client.IsLoopback() || within(client, g.Proxies) || !within(address(r.RemoteAddr), g.Proxies) {
			next.ServeHTTP(w, r)
			return
		}
		if client = gate.Client(client); !g.shares.take(client, g.PerClient) {
			w.Header().Set("Retry-After", "1")
			refuse(keepAccept(r.Context(), r), w, http.StatusTooManyRequests, "more than "+strconv.Itoa(g.PerClient)+" requests of your address at a time")
			return
		}
		defer g.shares.give(client)
		next.ServeHTTP(w, r)
	})
}
