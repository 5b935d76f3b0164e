package transport

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kithttp "github.com/go-kit/kit/transport/http"

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

func credentials(e Endpoints, decode kithttp.DecodeRequestFunc, encode kithttp.EncodeResponseFunc, refuse refusal) http.Handler {
	return kithttp.NewServer(e.Credential, decode, encode, kithttp.ServerBefore(keepAccept), kithttp.ServerErrorEncoder(encodeError(refuse)))
}

// byFormat hands requests that name another format to the handler of that format.
func byFormat(e Endpoints, plain http.Handler) http.Handler {
	handlers := map[string]http.Handler{"": plain}
	var names []string
	for _, f := range formats {
		handlers[f.name] = credentials(e, decodeSeed, encodeAs(f.shape), seedRefusal)
		names = append(names, f.name)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := plain
		if q := r.URL.RawQuery; strings.Contains(q, "format") || strings.Contains(q, "%") { // else there is no need to parse it twice
			format := r.URL.Query().Get("format")
			if h = handlers[format]; h == nil {
				seedRefusal(keepAccept(r.Context(), r), w, http.StatusBadRequest,
					fmt.Sprintf("%s: format: accepted are %s, and none for the plain reply", service.ErrBadRequest, strings.Join(names, ", ")))
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

type wantsJSON struct{}

// keepAccept keeps what the form of the reply depends on. The header may come in
// several lines (RFC 9110, 5.3), of which go-kit's own helper keeps the first.
func keepAccept(ctx context.Context, r *http.Request) context.Context {
	if !slices.ContainsFunc(r.Header["Accept"], namesJSON) {
		return ctx
	}
	return context.WithValue(ctx, wantsJSON{}, true)
}

func decodeSeed(_ context.Context, r *http.Request) (any, error) {
	if r.URL.RawQuery == "" {
		return service.CredentialRequest{}, nil
	}
	var c service.CredentialRequest
	for key, value := range parameters(r.URL.RawQuery) {
		switch { // of a name that comes twice, the first that says something counts
		case key == "userid" && c.UserID == "":
			c.UserID = value
		case key == "ttl" && c.TTL == "":
			c.TTL = value
		case key == "region" && c.Region == "":
			c.Region = value
		case key == "zone" && c.Zone == "":
			c.Zone = value
		}
	}
	return c, nil
}

// maxForm is far more than the parameters can take.
const maxForm = 4 << 10

// decodeForm reads the parameters of draft-uberti-behave-turn-rest-00, from the query
// and, of a POST, from the body. userid is accepted for username, so that it means the
// same everywhere.
func decodeForm(_ context.Context, r *http.Request) (any, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return nil, fmt.Errorf("%w: read the parameters: %w", service.ErrBadRequest, err)
	}
	if s := r.Form.Get("service"); s != "" && s != "turn" {
		return nil, fmt.Errorf("%w: service: accepted is turn", service.ErrBadRequest)
	}
	return service.CredentialRequest{
		UserID: cmp.Or(r.Form.Get("username"), r.Form.Get("userid")), TTL: r.Form.Get("ttl"), Region: r.Form.Get("region"), Zone: r.Form.Get("zone"),
	}, nil
}

// parameters hands out the readable pairs of a query, as url.ParseQuery has them, without
// making a map of them at each request.
func parameters(query string) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		for query != "" {
			var pair string
			pair, query, _ = strings.Cut(query, "&")
			if pair == "" || strings.Contains(pair, ";") {
				continue
			}
			key, value, _ := strings.Cut(pair, "=")
			key, keyErr := url.QueryUnescape(key)
			value, err := url.QueryUnescape(value)
			if keyErr == nil && err == nil && !yield(key, value) {
				return
			}
		}
	}
}

// bodies are what the replies of the seed's kind are built in.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// encodeSeed writes a reply of the seed's kind.
func encodeSeed(s shape) kithttp.EncodeResponseFunc {
	var expires expiry
	return func(ctx context.Context, w http.ResponseWriter, response any) error {
		c := response.(service.Credential)
		expires.write(w, c)
		body := bodies.Get().(*[]byte)
		*body = s((*body)[:0], c, time.Time{})
		writeSeed(ctx, w, http.StatusOK, *body)
		bodies.Put(body)
		return nil
	}
}

// encodeAs writes a reply that names servers, which is JSON whatever is asked for.
func encodeAs(s shape) kithttp.EncodeResponseFunc {
	var expires expiry
	return func(_ context.Context, w http.ResponseWriter, response any) error {
		c := response.(service.Credential)
		if len(c.URIs) == 0 {
			return errNoURIs
		}
		expires.write(w, c)
		write(w, http.StatusOK, applicationJSON, s(make([]byte, 0, 512), c, time.Now()))
		return nil
	}
}

// expiry writes until when a credential is good, for those who would keep it. It keeps
// the text of the last one, for the next mostly ends in the same second.
type expiry struct{ last atomic.Pointer[expiryText] }

type expiryText struct {
	unix  int64
	value []string
}

func (e *expiry) write(w http.ResponseWriter, c service.Credential) {
	text := e.last.Load()
	if text == nil || text.unix != c.Expires.Unix() {
		text = &expiryText{c.Expires.Unix(), []string{c.Expires.UTC().Format(http.TimeFormat)}}
		e.last.Store(text)
	}
	w.Header()["Expires"] = text.value
}

// Values that are never written to: Header.Set would make a slice at each request.
var (
	textPlain       = []string{"text/plain; charset=utf-8"}
	applicationJSON = []string{"application/json"}
	noStore         = []string{"no-store"}
	problemJSON     = []string{"application/problem+json"}
	noSniff         = []string{"nosniff"}
)

// writeSeed writes a body of the seed's form. It is text/plain, as it always was,
// unless the client asks for JSON by name: a client of old may refuse anything else.
func writeSeed(ctx context.Context, w http.ResponseWriter, code int, body []byte) {
	contentType := textPlain
	if ctx.Value(wantsJSON{}) != nil {
		contentType = applicationJSON
	}
	write(w, code, contentType, body)
}

func write(w http.ResponseWriter, code int, contentType []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = contentType
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(code)
	_, _ = w.Write(body) // the client has gone; there is nobody to tell
}

// namesJSON says whether an Accept header names application/json with a weight
// above 0 (RFC 9110, 12.5.1). A wildcard does not name it.
func namesJSON(accept string) bool {
	for item := range strings.SplitSeq(accept, ",") {
		t, params, err := mime.ParseMediaType(item)
		if err != nil || t != "application/json" {
			continue
		}
		if q, err := strconv.ParseFloat(params["q"], 64); params["q"] == "" || err == nil && q > 0 {
			return true
		}
	}
	return false
}
