package transport

import (
	"net/http"
	"strings"

	"github.com/turnwarden/turnwarden/service"
)

// Instrument observes the requests of one route; the name is the label, never
// the path that the client sent. The codes are those it may answer, so that the
// first answer with each is seen to be one more.
type Instrument func(route string, next http.Handler, codes ...int) http.Handler

// APIOptions are what a credential API may have beyond its routes.
type APIOptions struct {
	URIs   bool // GET /turncredential names the servers, too: a gateway's
	Access Access
	Status func() service.Status        // nil = there is no /v1/status
	Fleet  func() service.GatewayStatus // nil = there is no /v1/fleet
	Events *Events                      // nil = there is no /v1/events
}

// A route says what is answered where, and to whom.
type route struct {
	path    string
	handler http.Handler
	methods []string
	scope   string  // that a token needs
	refuse  refusal // how an error is told
}

// NewAPIHandler serves the credential API: one credential, in the shapes that the
// clients there are read.
func NewAPIHandler(e Endpoints, instrument Instrument, o APIOptions) http.Handler {
	plain := encodeSeed(seed)
	if o.URIs {
		plain = encodeSeed(seedOfFleet)
	}
	get := []string{http.MethodGet, http.MethodHead}
	guard := newGuard(o.Access)
	routes := []route{
		{"/turncredential", byFormat(e, credentials(e, decodeSeed, plain, seedRefusal)), get, ScopeCredential, seedRefusal},
		// Janus asks by POST unless it is told otherwise.
		{"/v1/turn", credentials(e, decodeForm, encodeAs(draft), problem), append(get, http.MethodPost), ScopeCredential, problem},
		{"/v1/ice", credentials(e, decodeForm, encodeAs(rtcConfiguration), problem), get, ScopeCredential, problem},
	}
	if o.Status != nil {
		routes = append(routes, route{"/v1/status", StatusHandler(o.Status), get, ScopeStatus, problem})
	}
	if e.Pick != nil {
		routes = append(routes, route{"/v1/pick", picks(e), get, ScopePick, problem})
	}
	if o.Fleet != nil {
		routes = append(routes, route{"/v1/fleet", fleetHandler(o.Fleet), get, ScopeStatus, problem})
	}
	if o.Events != nil {
		routes = append(routes, route{eventsPath, o.Events, []string{http.MethodGet}, ScopeEvents, problem})
	}
	var paths []string
	handlers := map[string]http.Handler{} // the paths are exact: there is nothing for a ServeMux to match
	for _, r := range routes {
		paths = append(paths, r.path)
		h := guard.protect(only(r.handler, r.refuse, r.methods...), r.scope, r.refuse)
		if r.path == "/v1/turn" {
			h = guard.keyParameter(h)
		}
		codes := append(guard.codes(), http.StatusOK)
		if r.scope == ScopeCredential || r.scope == ScopePick {
			codes = append(codes, http.StatusServiceUnavailable)
		}
		if r.path != eventsPath { // a stream has no duration to observe
			h = instrument(r.path, h, codes...)
		}
		handlers[r.path] = h
	}
	other := instrument("other", guard.protect(notFound(paths), "", problem), append(guard.codes(), http.StatusNotFound)...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		for strings.HasPrefix(path, "//") { // of a client whose base URL ends with a slash
			path = path[1:]
		}
		h, ok := handlers[path]
		if !ok {
			h = other
		}
		h.ServeHTTP(w, r)
	})
}

const eventsPath = "/v1/events"
