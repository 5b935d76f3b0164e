package transport

import (
	"container/list"
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

// maxAddresses bounds the memory of a flood from many addresses, some 300 bytes each.
const maxAddresses = 1 << 15

// addressLimits has a limiter for each address that called lately. When there are too many,
// the idlest is forgotten, if it would be allowed as much as a new one. While even that one
// is in the middle of a flood, those that come anew share one limiter.
type addressLimits struct {
	perSecond float64

	mu     sync.Mutex
	known  map[netip.Addr]*list.Element
	recent list.List // of *addressLimit, the last caller first
	others *rate.Limiter
}

type addressLimit struct {
	addr netip.Addr
	*rate.Limiter
}

func (a *addressLimits) of(addr netip.Addr) *rate.Limiter {
	addr = gate.Client(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.known[addr]; ok {
		a.recent.MoveToFront(e)
		return e.Value.(*addressLimit).Limiter
	}
	if a.known == nil {
		a.known, a.others = map[netip.Addr]*list.Element{}, newLimiter(a.perSecond)
	}
	if len(a.known) >= maxAddresses {
		idlest := a.recent.Back()
		l := idlest.Value.(*addressLimit)
		if l.Tokens() < float64(l.Burst()) {
			return a.others
		}
		a.recent.Remove(idlest)
		delete(a.known, l.addr)
	}
	l := &addressLimit{addr, newLimiter(a.perSecond)}
	a.known[addr] = a.recent.PushFront(l)
	return l.Limiter
}

// limitAddress allows each address its rate.
func (g *guard) limitAddress(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if admit(g.addresses.of(g.caller(r)), w, r, refuse) {
			next.ServeHTTP(w, r)
		}
	})
}
