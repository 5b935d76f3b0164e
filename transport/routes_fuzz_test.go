package transport_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// everyRoute has a node's routes and a gateway's.
func everyRoute() []exchange {
	return []exchange{
		{method: "GET", target: "/turncredential"},
		{method: "GET", target: "/v1/turn"},
		{method: "POST", target: "/v1/turn"},
		{method: "GET", target: "/v1/ice"},
		{method: "GET", target: "/v1/status"},
		{method: "GET", target: "/v1/events"},
		{method: "GET", target: "/v1/pick"},
		{method: "GET", target: "/v1/fleet"},
		{method: "GET", target: "/nowhere"},
	}
}

// FuzzRoutes: whatever the parameters and the headers are, every route of a node and of a
// gateway answers as openapi.yaml says, and nobody gets in without a token.
func FuzzRoutes(f *testing.F) {
	doc := document(f)
	openapi3filter.RegisterBodyDecoder("text/event-stream", func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		b, err := io.ReadAll(r)
		return string(b), err
	})
	f.Cleanup(func() { openapi3filter.UnregisterBodyDecoder("text/event-stream") })
	all, secrets := tokens(f, 0, "a")
	events := transport.NewEvents((&changing{s: busy(time.Now().UTC())}).status, 1)
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan error, 1)
	go func() { done <- events.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	p := &recording{Service: transporttest.MintingNode(f, "secret")}
	api := func(a transport.Access) http.Handler {
		s, gateway := busy(time.Now().UTC()), transporttest.Fleet(transporttest.Node("turn-1", "up", 812.4))
		return transport.NewAPIHandler(transport.NewEndpoints(p), transporttest.Plain, transport.APIOptions{
			URIs: true, Access: a, Status: func() service.Status { return s }, Fleet: func() service.GatewayStatus { return gateway }, Events: events,
		})
	}
	open, guarded := api(transport.Access{}), api(transport.Access{
		Tokens: all, Allow: prefixes("192.0.2.0/24"), Proxies: prefixes("198.51.100.0/24"), Origins: []string{"https://app.example.org"},
	})
	for i := range everyRoute() {
		f.Add(uint8(i), "2", "eu", "eu-a", "room 7", "600", "alice", "bob", "ice", "turn", "application/json", "Bearer x", "192.0.2.1", "AAAAAAAA-1", "https://app.example.org")
		f.Add(uint8(i), "-0", "\x00", "\xff", strings.Repeat("ž", 256), "1e9", "a:b", "\u202e\r\n", "%", "stun", "application/json;q=\"", "Basic", ",192.0.2.1%eth0:1", "-", "null")
	}
	f.Fuzz(func(t *testing.T, which uint8, n, region, zone, client, ttl, userid, username, format, kind, accept, authorization, forwarded, last, origin string) {
		e := everyRoute()[int(which)%len(everyRoute())]
		values := url.Values{}
		for name, value := range map[string]string{"n": n, "region": region, "zone": zone, "client": client, "ttl": ttl, "userid": userid, "username": username, "format": format, "service": kind} {
			if value != "" {
				values.Set(name, value)
			}
		}
		ask := func(h http.Handler) (*http.Request, *httptest.ResponseRecorder) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if e.target == "/v1/events" {
				cancel() // after what there is to say now
			}
			r := httptest.NewRequestWithContext(ctx, e.method, e.target, nil)
			if r.RemoteAddr = anywhere; e.method == "POST" {
				r = httptest.NewRequestWithContext(ctx, e.method, e.target, strings.NewReader(values.Encode()))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			} else {
				r.URL.RawQuery = values.Encode()
			}
			for name, value := range map[string]string{"Accept": accept, "Authorization": authorization, "X-Forwarded-For": forwarded, "Last-Event-Id": last, "Origin": origin} {
				r.Header[name] = []string{value}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(streaming{w}, r)
			return r, w
		}

		r, w := ask(open)
		answer := w.Result()
		described, err := describedResponse(doc, e.target, e.method, answer)
		if err != nil {
			t.Fatal(err)
		}
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, Route: described},
			Status:                 answer.StatusCode, Header: answer.Header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), input.SetBodyBytes(w.Body.Bytes())); err != nil {
			t.Errorf("%s %s: %d %s: %v", e.method, r.URL, w.Code, w.Body, err)
		}
		if w.Code >= 500 {
			t.Errorf("%s %s: %d %s", e.method, r.URL, w.Code, w.Body)
		}
		if e.target == "/v1/pick" {
			p.check(t, w, n, region, zone, client)
		}

		if strings.Contains(authorization, secrets[0]) {
			return // the fuzzer cannot find it
		}
		if _, w := ask(guarded); w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden || strings.Contains(w.Body.String(), secrets[0]) {
			t.Errorf("%s %s without a token: %d %s", e.method, r.URL, w.Code, w.Body)
		}
	})
}

// recording is a node that is a gateway, too, and knows what it was asked for.
type recording struct {
	service.Service
	asked *service.PickRequest
}

func (p *recording) Pick(_ context.Context, r service.PickRequest) ([]service.Server, error) {
	p.asked = &r
	return []service.Server{service.ServerOf(transporttest.Node("turn-1", "up", 812.4))}, nil
}

// check holds an answer of /v1/pick against what was asked: it is passed on as it stands,
// or refused.
func (p *recording) check(t *testing.T, w *httptest.ResponseRecorder, n, region, zone, client string) {
	t.Helper()
	want := service.PickRequest{N: 1, Region: region, Zone: zone, Client: client}
	ok := utf8.RuneCountInString(region) <= 64 && utf8.RuneCountInString(zone) <= 64 && utf8.RuneCountInString(client) <= 256
	if n != "" {
		var err error
		want.N, err = strconv.Atoi(n)
		ok = ok && err == nil && want.N >= 1 && want.N <= 8
	}
	asked := p.asked
	p.asked = nil
	if ok != (w.Code == http.StatusOK) || ok != (asked != nil) || ok && *asked != want {
		t.Errorf("n=%q: %d, asked for %+v, want %+v", n, w.Code, asked, want)
	}
}

// streaming is a recorder that is willing to be written to for long.
type streaming struct{ *httptest.ResponseRecorder }

func (streaming) SetWriteDeadline(time.Time) error { return nil }
