package transport

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

// A refusal answers a request with an error, as clients of the route read errors.
type refusal func(ctx context.Context, w http.ResponseWriter, code int, message string)

// seedRefusal keeps to the seed's envelope.
func seedRefusal(ctx context.Context, w http.ResponseWriter, code int, message string) {
	writeSeed(ctx, w, code, seedError(nil, message))
}

// problem answers with RFC 9457 problem details.
func problem(_ context.Context, w http.ResponseWriter, code int, message string) {
	body, _ := json.Marshal(struct { // strings and numbers always marshal
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(code), code, message})
	write(w, code, problemJSON, body)
}

// encodeError turns the errors of a service into codes.
func encodeError(refuse refusal) kithttp.ErrorEncoder {
	return func(ctx context.Context, err error, w http.ResponseWriter) {
		code := http.StatusInternalServerError
		switch {
		case errors.Is(err, service.ErrNoCredential), errors.Is(err, service.ErrNoServer):
			code = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
		case errors.Is(err, service.ErrBadRequest):
			code = http.StatusBadRequest
		}
		refuse(ctx, w, code, err.Error())
	}
}

// only answers other methods with 405.
func only(next http.Handler, refuse refusal, methods ...string) http.Handler {
	allow := strings.Join(methods, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(methods, r.Method) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Allow", allow)
		refuse(keepAccept(r.Context(), r), w, http.StatusMethodNotAllowed, "method not allowed; use "+allow)
	})
}

// notFound says what there is instead.
func notFound(paths []string) http.Handler {
	detail := "no such route; there are " + strings.Join(paths, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { problem(r.Context(), w, http.StatusNotFound, detail) })
}
