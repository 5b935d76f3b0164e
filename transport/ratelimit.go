package transport

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	"golang.org/x/time/rate"

	"github.com/turnwarden/turnwarden/transport/gate"
)

// newLimiter allows that many requests per second, and as many at once; nil = any number.
func newLimiter(perSecond float64) *rate.Limiter {
	if perSecond == 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(1, int(math.Ceil(perSecond))))
}

// admit says whether the limiter has room for one more request, and answers 429 if not.
func admit(l *rate.Limiter, w http.ResponseWriter, r *http.Request, refuse refusal) bool {
	if l == nil || l.Allow() {
		return true
	}
	wait := math.Ceil(1 / float64(l.Limit()))
	w.Header().Set("Retry-After", strconv.FormatFloat(max(1, wait), 'f', 0, 64))
	refuse(keepAccept(r.Context(), r), w, http.StatusTooManyRequests,
		"more than "+strconv.FormatFloat(float64(l.Limit()), 'f', -1, 64)+" requests per second")
	return false
}

// maxAddresses bounds the memory of a flood from many addresses, some 200 bytes each.
const maxAddresses = 1 << 14

// addressLimits has a limiter for each address that called lately. The younger half is
// full at maxAddresses and takes the place of the older then: who has not called since
// the last such change begins anew.
type addressLimits struct {
	perSecond float64

	mu         sync.Mutex
	young, old map[netip.Addr]*rate.Limiter
}

func (a *addressLimits) of(addr netip.Addr) *rate.Limiter {
	addr = gate.Client(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if l, ok := a.young[addr]; ok {
		return l
	}
	l, ok := a.old[addr]
	if !ok {
		l = newLimiter(a.perSecond)
	}
	if a.young == nil || len(a.young) >= maxAddresses {
		a.young, a.old = map[netip.Addr]*rate.Limiter{}, a.young
	}
	a.young[addr] = l
	return l
}

// limitAddress allows each address its rate.
func (g *guard) limitAddress(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if admit(g.addresses.of(g.caller(r)), w, r, refuse) {
			next.ServeHTTP(w, r)
		}
	})
}
