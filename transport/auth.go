package transport

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/rs/cors"

	"github.com/turnwarden/turnwarden/transport/sse"
)

// Access says who may call. All that is set has to be passed; what is not set is not in
// the way of a request at all.
type Access struct {
	Tokens  *Tokens        // nil = no token is asked for
	Allow   []netip.Prefix // addresses that may call; none = all
	Proxies []netip.Prefix // whose X-Forwarded-For is believed
	Origins []string       // of the web pages that may read answers
	Rate    float64        // requests per second of an address, where there are no tokens; 0 = no limit
	Hosts   *Hosts         // that requests may be for where no token is asked for; nil = any
	// PerClient is how many requests of one address behind a proxy may be under way; 0 = any number.
	PerClient int
}

// guard is the one that asks.
type guard struct {
	Access
	origins   *cors.Cors
	addresses *addressLimits
	shares    shares
}

func newGuard(a Access) *guard {
	g := &guard{Access: a, addresses: &addressLimits{perSecond: a.Rate}}
	if len(a.Origins) > 0 { // to cors, none means all
		g.origins = cors.New(cors.Options{
			AllowedOrigins: a.Origins,
			AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
			AllowedHeaders: []string{"Authorization", "Last-Event-ID"},
			ExposedHeaders: []string{"Retry-After"},
			MaxAge:         600,
		})
	}
	return g
}

// protect has a route's callers asked for what is required of them.
func (g *guard) protect(next http.Handler, scope string, refuse refusal) http.Handler {
	if g.Tokens == nil && scope == ScopeEvents && len(g.Proxies) > 0 {
		streams := next
		next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			streams.ServeHTTP(w, sse.WithCaller(r, sse.Network(g.caller(r))))
		})
	}
	switch {
	case g.Tokens != nil:
		next = g.authorize(next, scope, refuse)
	case g.Rate > 0:
		next = g.limitAddress(next, refuse)
	}
	if g.looksAtHost() {
		next = g.misdirected(next, refuse)
	}
	if len(g.Allow) > 0 {
		next = g.allow(next, refuse)
	}
	if g.sharing() {
		next = g.share(next, refuse)
	}
	if g.origins != nil {
		next = g.origins.Handler(next) // outermost: a preflight request brings no token
	}
	return next
}

func (g *guard) looksAtHost() bool { return g.Tokens == nil && g.Hosts != nil }

func (g *guard) sharing() bool { return len(g.Proxies) > 0 && g.PerClient > 0 }

// codes are the codes that this may add to those of a route.
func (g *guard) codes() []int {
	var codes []int
	if g.Tokens != nil {
		codes = append(codes, http.StatusUnauthorized)
	}
	if g.Tokens != nil || len(g.Allow) > 0 {
		codes = append(codes, http.StatusForbidden)
	}
	if g.looksAtHost() {
		codes = append(codes, http.StatusMisdirectedRequest)
	}
	if g.Tokens != nil || g.Rate > 0 || g.sharing() {
		codes = append(codes, http.StatusTooManyRequests)
	}
	return codes
}

// authorize wants a token of the scope (RFC 6750), and keeps its caller to its rate.
func (g *guard) authorize(next http.Handler, scope string, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, given := bearer(r)
		t := g.Tokens.find(secret)
		switch {
		case t == nil:
			challenge, message := `Bearer realm="turnwarden"`, "no token; send Authorization: Bearer TOKEN"
			if given {
				challenge, message = challenge+`, error="invalid_token"`, "the token is not known here"
			}
			w.Header().Set("WWW-Authenticate", challenge)
			refuse(keepAccept(r.Context(), r), w, http.StatusUnauthorized, message)
		case scope != "" && !slices.Contains(t.scopes, scope):
			refuse(keepAccept(r.Context(), r), w, http.StatusForbidden, "the token "+t.name+" has no scope "+scope)
		case admit(t.limiter, w, r, refuse):
			if scope == ScopeEvents { // one token has its part of the streams
				r = sse.WithCaller(r, "token "+t.name)
			}
			next.ServeHTTP(w, r)
		}
	})
}

func bearer(r *http.Request) (secret string, given bool) {
	const scheme = "Bearer "
	h := r.Header.Get("Authorization")
	if len(h) >= len(scheme) && strings.EqualFold(h[:len(scheme)], scheme) {
		return strings.TrimSpace(h[len(scheme):]), true
	}
	return "", h != ""
}

// keyParameter takes the token from where draft-uberti-behave-turn-rest-00 has it: key,
// which Janus also sends as api. It is for clients that can send no header.
func (g *guard) keyParameter(next http.Handler) http.Handler {
	if g.Tokens == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			q := r.URL.Query()
			for _, name := range []string{"key", "api"} {
				if key := q.Get(name); key != "" {
					r.Header.Set("Authorization", "Bearer "+key)
					break
				}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// allow refuses callers from elsewhere.
func (g *guard) allow(next http.Handler, refuse refusal) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if within(g.caller(r), g.Allow) {
			next.ServeHTTP(w, r)
			return
		}
		refuse(keepAccept(r.Context(), r), w, http.StatusForbidden, "your address is not in api.allow_cidrs")
	})
}

// caller is the address that a request comes from. A proxy of ours has appended to
// X-Forwarded-For who called it; what stands further left anybody may have made up. The
// zero address stands for one that cannot be known.
func (g *guard) caller(r *http.Request) netip.Addr {
	addr := address(r.RemoteAddr)
	if len(g.Proxies) == 0 {
		return addr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(addr, g.Proxies); i-- {
		if hop := strings.TrimSpace(hops[i]); hop != "" {
			addr = address(hop)
		}
	}
	return addr
}

// address reads an address with or without a port.
func address(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	a, _ := netip.ParseAddr(s)
	return a.Unmap().WithZone("")
}

func within(a netip.Addr, prefixes []netip.Prefix) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}
