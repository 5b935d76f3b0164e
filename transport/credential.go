package transport

import (
	"cmp"
	"context"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	kithttp "github.com/go-kit/kit/transport/http"

	"github.com/turnwarden/turnwarden/service"
)

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

// writeSeed writes a body of the seed's form. It is text/plain, as it always was,
// unless the client asks for JSON by name: a client of old may refuse anything else.
func writeSeed(ctx context.Context, w http.ResponseWriter, code int, body []byte) {
	contentType := textPlain
	if ctx.Value(wantsJSON{}) != nil {
		contentType = applicationJSON
	}
	write(w, code, contentType, body)
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
