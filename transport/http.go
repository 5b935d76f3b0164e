package transport

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// Instrument observes the requests of one route; the name is the label, never
// the path that the client sent. The codes are those it may answer, so that the
// first answer with each is seen to be one more.
type Instrument func(route string, next http.Handler, codes ...int) http.Handler

// NewAPIHandler serves the credential API: GET and HEAD /turncredential.
func NewAPIHandler(e Endpoints, instrument Instrument) http.Handler {
	credential := kithttp.NewServer(e.Credential, decodeCredential, encodeCredential,
		kithttp.ServerBefore(keepAccept),
		kithttp.ServerErrorEncoder(encodeError))
	mux := http.NewServeMux()
	mux.Handle("/turncredential", instrument("/turncredential", only(credential, http.MethodGet, http.MethodHead), http.StatusOK, http.StatusServiceUnavailable))
	mux.Handle("/", instrument("other", http.HandlerFunc(notFound), http.StatusNotFound))
	return mux
}

type acceptKey struct{}

// keepAccept keeps what the form of the reply depends on. The header may come in
// several lines (RFC 9110, 5.3), of which go-kit's own helper keeps the first.
func keepAccept(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, acceptKey{}, strings.Join(r.Header.Values("Accept"), ","))
}

func decodeCredential(_ context.Context, r *http.Request) (any, error) {
	if r.URL.RawQuery == "" {
		return service.CredentialRequest{}, nil
	}
	q := r.URL.Query()
	return service.CredentialRequest{UserID: q.Get("userid"), TTL: q.Get("ttl")}, nil
}

func encodeCredential(ctx context.Context, w http.ResponseWriter, response any) error {
	writeSeed(ctx, w, http.StatusOK, seedCredential(make([]byte, 0, 256), response.(service.Credential)))
	return nil
}

func encodeError(ctx context.Context, err error, w http.ResponseWriter) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, service.ErrNoCredential):
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, service.ErrBadRequest):
		code = http.StatusBadRequest
	}
	writeSeed(ctx, w, code, seedError(nil, err.Error()))
}

// writeSeed writes a body of the seed's form. It is text/plain, as it always was,
// unless the client asks for JSON by name: a client of old may refuse anything else.
func writeSeed(ctx context.Context, w http.ResponseWriter, code int, body []byte) {
	accept, _ := ctx.Value(acceptKey{}).(string)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if namesJSON(accept) {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
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

// only answers other methods with 405 in the seed's envelope.
func only(next http.Handler, methods ...string) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Allow", allow)
		writeSeed(keepAccept(r.Context(), r), w, http.StatusMethodNotAllowed, seedError(nil, "method not allowed; use "+allow))
	})
}

// notFound answers what has no route with RFC 9457 problem details.
func notFound(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte(`{"title":"Not Found","status":404,"detail":"the credential API answers GET /turncredential"}`))
}
