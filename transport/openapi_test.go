package transport_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

const openapi = "openapi.yaml"

func document(tb testing.TB) *openapi3.T {
	tb.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(openapi)
	if err != nil {
		tb.Fatal(err)
	}
	if err := doc.Validate(tb.Context(), openapi3.EnableExamplesValidation()); err != nil {
		tb.Fatal(err)
	}
	return doc
}

// troubled is a node of which all that may be wrong is told.
func troubled(now time.Time) service.Status {
	s := busy(now)
	s.Child = supervisor.Child{State: supervisor.Backoff, NextStart: now, HaltCause: "open_relay", StartError: "no such file", LastExit: supervisor.Exit{Code: 1, At: now}}
	s.Probe.Err, s.Credential.Failure, s.Traffic.Err = "no answer", "store: locked", "no such device"
	s.Registry.Conflict, s.Registry.LastError = "another host", "no quorum"
	return s
}

// exchange is a request and the code that it gets. target may hold %s, for the token.
type exchange struct {
	on             string // which API: see apis
	method, target string
	accept         string
	code           int
	times          int // 0 = once; only the last answer counts
}

// exchanges are all answers that there are: TestOpenAPI fails where one is missing.
func exchanges() []exchange {
	var all []exchange
	for path, methods := range map[string][]string{"/turncredential": {"GET"}, "/v1/turn": {"GET", "POST"}, "/v1/ice": {"GET"}, "/v1/status": {"GET"}, "/v1/pick": {"GET"}, "/v1/fleet": {"GET"}, "/v1/events": {"GET"}} {
		other := "tokens, scope pick"
		if path == "/v1/pick" {
			other = "tokens, scope credential"
		}
		for _, m := range methods {
			all = append(all, exchange{on: "open", method: m, target: path, code: 200}, exchange{on: "tokens", method: m, target: path, code: 401},
				exchange{on: other, method: m, target: path, code: 403}, exchange{on: "elsewhere", method: m, target: path, code: 403}, exchange{on: "rebound", method: m, target: path, code: 421})
			for on, times := range map[string]int{"slow": 2, "slow token": 2} {
				all = append(all, exchange{on: on, method: m, target: path, code: 429, times: times})
			}
		}
		all = append(all, exchange{on: "open", method: "DELETE", target: path, code: 405})
		for _, m := range methods {
			if !slices.Contains([]string{"/turncredential", "/v1/turn", "/v1/ice"}, path) {
				continue
			}
			nowhere := path
			if path == "/turncredential" {
				nowhere += "?format=ice"
			}
			all = append(all, exchange{on: "without address", method: m, target: nowhere, code: 500}, exchange{on: "secret", method: m, target: path + "?ttl=x", code: 400},
				exchange{on: "secret", method: m, target: path + "?userid=alice&ttl=60", code: 200}, exchange{on: "none", method: m, target: path, code: 503})
		}
	}
	for _, format := range []string{"ice", "turn", "array"} {
		all = append(all, exchange{on: "open", method: "GET", target: "/turncredential?format=" + format, code: 200})
	}
	for _, e := range slices.Clone(all) { // the seed's replies come as JSON, too
		if strings.HasPrefix(e.target, "/turncredential") {
			e.accept = asJSON
			all = append(all, e)
		}
	}
	return append(all,
		exchange{on: "gateway", method: "GET", target: "/turncredential", code: 200}, exchange{on: "gateway", method: "GET", target: "/turncredential", accept: asJSON, code: 200},
		exchange{on: "troubled", method: "GET", target: "/v1/status", code: 200}, exchange{on: "crowded", method: "GET", target: "/v1/events", code: 503},
		exchange{on: "open", method: "GET", target: "/turncredential?format=xml", code: 400}, exchange{on: "open", method: "GET", target: "/v1/turn?service=stun", code: 400},
		exchange{on: "open", method: "GET", target: "/v1/pick?n=9", code: 400}, exchange{on: "none", method: "GET", target: "/v1/pick", code: 503},
		exchange{on: "troubled", method: "GET", target: "/v1/fleet", code: 200}, exchange{on: "open", method: "GET", target: "/nowhere", code: 404}, exchange{on: "tokens", method: "GET", target: "/nowhere", code: 401},
	)
}

// everything is a node and a gateway at once, so that one API has every route.
type everything struct {
	service.Service
	err error
}

func (e everything) Pick(context.Context, service.PickRequest) ([]service.Server, error) {
	return []service.Server{service.ServerOf(transporttest.Node("turn-1", "up", 812.4))}, e.err
}

// apis are the servers that the exchanges are on, each with the headers that are sent.
func apis(t *testing.T, secret service.Service) (handlers map[string]func() http.Handler, headers map[string]http.Header) {
	t.Helper()
	now := time.Now().UTC()
	all, s := tokens(t, 0, "ours", "picker scope=pick", "slow rate=0.001", "caller scope=credential")
	open := func() transport.APIOptions {
		_, events := watched(t, 100)
		held := transporttest.Node("turn-2", "up", 300)
		held.Held = true
		fleet := transporttest.Fleet(transporttest.Node("turn-1", "full", 0), held)
		return transport.APIOptions{Status: func() service.Status { return busy(now) }, Fleet: func() service.GatewayStatus { return fleet }, Events: events}
	}
	with := func(svc service.Service, change func(*transport.APIOptions)) func() http.Handler {
		return func() http.Handler {
			o := open()
			change(&o)
			e := everything{Service: svc}
			if _, err := svc.Credential(t.Context(), service.CredentialRequest{}); err != nil {
				e.err = service.ErrNoServer
			}
			return transport.NewAPIHandler(transport.NewEndpoints(e), transporttest.Plain, o)
		}
	}
	access := func(a transport.Access) func(*transport.APIOptions) {
		return func(o *transport.APIOptions) { o.Access = a }
	}
	nothing := func(*transport.APIOptions) {}
	homeless := good
	homeless.credential.URIs = nil
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	return map[string]func() http.Handler{
		"open": with(good, nothing), "secret": with(secret, nothing), "none": with(none, nothing), "without address": with(homeless, nothing),
		"gateway": with(good, func(o *transport.APIOptions) { o.URIs = true }),
		"troubled": with(good, func(o *transport.APIOptions) {
			o.Status = func() service.Status { return troubled(now) }
			status := o.Fleet()
			status.Session = directory.Status{State: directory.Disconnected, LastError: "connection refused"}
			o.Fleet = func() service.GatewayStatus { return status }
		}),
		"crowded":   with(good, func(o *transport.APIOptions) { _, o.Events = watched(t, 0) }),
		"rebound":   rebound(with(good, access(transport.Access{Hosts: &transport.Hosts{}}))),
		"elsewhere": with(good, access(transport.Access{Allow: prefixes("192.0.2.0/24")})),
		"slow":      with(good, access(transport.Access{Rate: 0.001})),
		"tokens":    with(good, access(transport.Access{Tokens: all})), "tokens, scope pick": with(good, access(transport.Access{Tokens: all})),
		"tokens, scope credential": with(good, access(transport.Access{Tokens: all})),
		"slow token": func() http.Handler {
			again := transport.NewTokens(0.001) // a limit that nobody has used up
			if err := again.Replace([]byte(sumLine("slow", s[2]))); err != nil {
				t.Fatal(err)
			}
			return with(good, access(transport.Access{Tokens: again}))()
		},
	}, map[string]http.Header{"tokens, scope pick": bearer(s[1]), "tokens, scope credential": bearer(s[3]), "slow token": bearer(s[2])}
}

// rebound is an API to which a web page has had a name of its own lead.
func rebound(api func() http.Handler) func() http.Handler {
	return func() http.Handler {
		h := api()
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Host = "evil.example"
			h.ServeHTTP(w, r)
		})
	}
}

// TestOpenAPI holds real answers against openapi.yaml, and that against them: every route,
// every code, every type and every field of it has been seen.
func TestOpenAPI(t *testing.T) {
	doc := document(t)
	openapi3filter.RegisterBodyDecoder("text/event-stream", func(r io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
		b, err := io.ReadAll(r)
		return string(b), err
	})
	t.Cleanup(func() { openapi3filter.UnregisterBodyDecoder("text/event-stream") })
	handlers, headers := apis(t, transporttest.MintingNode(t, "secret"))
	seen := seen{}
	for _, e := range exchanges() {
		s := httptest.NewServer(handlers[e.on]())
		var response *http.Response
		var request *http.Request
		var body []byte
		for range max(1, e.times) {
			request, response, body = send(t, s, e, headers[e.on])
		}
		s.CloseClientConnections()
		s.Close()
		what := fmt.Sprintf("%s, %s %s: %s %s", e.on, e.method, e.target, response.Status, body)
		if response.StatusCode != e.code {
			t.Errorf("%s; want %d", what, e.code)
			continue
		}
		path, _, _ := strings.Cut(e.target, "?")
		described, err := describedResponse(doc, path, e.method, response)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		input := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, Route: described},
			Status:                 response.StatusCode, Header: response.Header, Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
		}
		if err := openapi3filter.ValidateResponse(t.Context(), input.SetBodyBytes(body)); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		contentType, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		seen.response(t, described.Operation, path+" "+e.method, e.code, contentType, body)
	}
	for id := range described(doc) {
		if !seen[id] {
			t.Errorf("%s says of %s what no exchange has shown", openapi, id)
		}
	}
	_, _, body := send(t, transporttest.Serve(t, handlers["open"]()), exchange{method: "GET", target: "/nowhere"}, nil)
	for path := range doc.Paths.Map() {
		if !strings.Contains(string(body), path) {
			t.Errorf("there is no route %s: %s", path, body)
		}
	}
	_, routes, _ := strings.Cut(strings.TrimSuffix(string(body), `"}`), "there are ")
	for path := range strings.SplitSeq(routes, ", ") {
		if doc.Paths.Find(path) == nil {
			t.Errorf("%s says nothing of %s", openapi, path)
		}
	}
}

// send asks and reads the answer: all of it, or three events.
func send(t *testing.T, s *httptest.Server, e exchange, header http.Header) (*http.Request, *http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, e.method, s.URL+e.target, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	if e.accept != "" {
		r.Header.Set("Accept", e.accept)
	}
	response, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Header.Get("Content-Type") != "text/event-stream" {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, response, body
	}
	var body []byte
	for b := make([]byte, 4096); bytes.Count(body, []byte("\n\n")) < 4; {
		n, err := response.Body.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		body = append(body, b[:n]...)
	}
	return r, response, body
}

// describedResponse finds the operation, or makes one of the answers that are the same for all.
func describedResponse(doc *openapi3.T, path, method string, r *http.Response) (*routers.Route, error) {
	item := doc.Paths.Find(path)
	name := ""
	switch {
	case item == nil && r.StatusCode == http.StatusUnauthorized:
		name = "Unauthorized"
	case item == nil:
		name = "NotFound"
	case r.StatusCode == http.StatusMethodNotAllowed && path == "/turncredential":
		name = "SeedMethodNotAllowed"
	case r.StatusCode == http.StatusMethodNotAllowed:
		name = "MethodNotAllowed"
	}
	if name == "" {
		operation := item.GetOperation(method)
		if operation == nil {
			return nil, fmt.Errorf("no operation %s", method)
		}
		return &routers.Route{Spec: doc, Path: path, PathItem: item, Method: method, Operation: operation}, nil
	}
	answer := openapi3.NewResponses(openapi3.WithStatus(r.StatusCode, &openapi3.ResponseRef{Ref: "#/components/responses/" + name, Value: doc.Components.Responses[name].Value}))
	return &routers.Route{Spec: doc, Path: path, PathItem: &openapi3.PathItem{}, Method: method, Operation: &openapi3.Operation{Responses: answer}}, nil
}

// seen is what answers have shown: "/v1/ice GET 200 application/json", "Status.pid".
type seen map[string]bool

func described(doc *openapi3.T) map[string]bool {
	all := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, operation := range item.Operations() {
			for code, response := range operation.Responses.Map() {
				for contentType := range response.Value.Content {
					all[path+" "+method+" "+code+" "+contentType] = true
				}
			}
		}
	}
	for name := range doc.Components.Responses {
		all["response "+name] = true
	}
	for name, schema := range doc.Components.Schemas {
		for property := range schema.Value.Properties {
			all[name+"."+property] = true
		}
	}
	return all
}

func (s seen) response(t *testing.T, o *openapi3.Operation, what string, code int, contentType string, body []byte) {
	t.Helper()
	s[fmt.Sprint(what, " ", code, " ", contentType)] = true
	ref := o.Responses.Status(code)
	s["response "+strings.TrimPrefix(ref.Ref, "#/components/responses/")] = true
	var value any
	if json.Unmarshal(body, &value) != nil {
		return
	}
	schema := ref.Value.Content.Get(contentType).Schema
	all := schema.Value.OneOf
	if len(all) == 0 {
		all = openapi3.SchemaRefs{schema}
	}
	for _, one := range all {
		if one.Value.VisitJSON(value) == nil {
			s.fields(one, value)
		}
	}
}

func (s seen) fields(schema *openapi3.SchemaRef, value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			if p := schema.Value.Properties[key]; p != nil {
				s[strings.TrimPrefix(schema.Ref, "#/components/schemas/")+"."+key] = true
				s.fields(p, field)
			}
		}
	case []any:
		for _, item := range v {
			s.fields(schema.Value.Items, item)
		}
	}
}

// TestAPIDoc keeps docs/api.md equal to openapi.yaml.
func TestAPIDoc(t *testing.T) {
	const path = "../docs/api.md"
	text := apiDoc(document(t))
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(path)
	if err != nil || string(committed) != text {
		t.Errorf("%s is not what %s says (%v): run make generate", path, openapi, err)
	}
}
