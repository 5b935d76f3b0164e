package web_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/transport/transporttest"
	"github.com/turnwarden/turnwarden/transport/web"
)

func pages(t *testing.T, status service.Status) http.Handler {
	t.Helper()
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "series\n") })
	h, err := web.NewHandler("/metrics", metrics, func() service.Status { return status }, transporttest.Plain)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReady(t *testing.T) {
	connected, away := directory.Status{State: directory.Connected}, directory.Status{State: directory.Disconnected}
	for name, c := range map[string]struct {
		change func(*service.Status)
		code   int
		body   string
	}{
		"standalone": {func(*service.Status) {}, 200, "ready\n"},
		"registered": {
			func(s *service.Status) { s.Registry = &registry.Status{Registered: true, Session: connected} }, 200,
			"ready\nregistry: registered\n",
		},
		"not registered yet": {
			func(s *service.Status) { s.Registry = &registry.Status{Session: connected} }, 200,
			"ready\nregistry: connected, not registered\n",
		},
		"ZooKeeper never seen": {
			func(s *service.Status) {
				s.Registry = &registry.Status{Session: directory.Status{State: directory.Connecting}, LastError: "no ZooKeeper session"}
			}, 200,
			"ready\nregistry: connecting: no ZooKeeper session\n",
		},
		"registered, and now away": {
			func(s *service.Status) {
				s.Registry = &registry.Status{Registered: true, Session: away, LastError: "no ZooKeeper session"}
			}, 200,
			"ready\nregistry: disconnected: no ZooKeeper session\n",
		},
		"name taken": {
			func(s *service.Status) {
				s.Registry = &registry.Status{Session: connected, Conflict: "10.0.0.6:13478 has it", LastError: "name conflict"}
			}, 200,
			"ready\nregistry: conflict: 10.0.0.6:13478 has it\n",
		},
		"full": {
			func(s *service.Status) { s.Probe.Full, s.Probe.FullCode = true, 486 }, 200,
			"ready\nfull: the TURN server answers 486 to an Allocate\n",
		},
		"another transport fails": {
			func(s *service.Status) {
				s.Probe.Answers = []probe.Answer{{Transport: probe.TLS, Failures: 3, Failing: true, Err: "tls: no answer"}}
			}, 200,
			"ready\nnote: probe: tls fails, and with it its clients: tls: no answer\n",
		},
		"draining": {func(s *service.Status) { s.Draining = true }, 503, "not ready\ndraining\n"},
		"nothing yet": {
			func(s *service.Status) {
				*s = service.Status{Child: supervisor.Child{State: supervisor.Starting}, Registry: &registry.Status{Session: connected}}
			}, 503,
			"not ready\nchild: starting\ncredential: none that is verified and valid\ntraffic: not measured yet\nregistry: connected, not registered\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			status := transporttest.Up()
			c.change(&status)
			s := transporttest.Serve(t, pages(t, status))
			response, body := transporttest.Ask(t, s, "GET", "/-/ready", nil)
			if response.StatusCode != c.code || body != c.body {
				t.Errorf("got %d %q\nwant %d %q", response.StatusCode, body, c.code, c.body)
			}
			if got := response.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type: got %q, want %q", got, "text/plain; charset=utf-8")
			}
			if got := response.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: got %q, want no-store", got)
			}
			if head, _ := transporttest.Ask(t, s, "HEAD", "/-/ready", nil); head.StatusCode != c.code {
				t.Errorf("HEAD: got %d, want %d", head.StatusCode, c.code)
			}
		})
	}
}

func TestWebPages(t *testing.T) {
	s := transporttest.Serve(t, pages(t, service.Status{})) // a node that serves nothing yet still answers for itself
	for name, c := range map[string]struct {
		method, path string
		code         int
		contains     []string
	}{
		"healthy":      {"GET", "/-/healthy", 200, []string{"healthy\n"}},
		"metrics":      {"GET", "/metrics", 200, []string{"series\n"}},
		"status":       {"GET", "/", 200, []string{"turnwarden", `href="/metrics"`, `href="/-/ready"`, `href="/-/healthy"`}},
		"post status":  {"POST", "/", 405, nil},
		"unknown":      {"GET", "/turncredential", 404, nil},
		"post metrics": {"POST", "/metrics", 405, nil},
		"post healthy": {"POST", "/-/healthy", 405, nil},
	} {
		t.Run(name, func(t *testing.T) {
			response, body := transporttest.Ask(t, s, c.method, c.path, nil)
			if response.StatusCode != c.code {
				t.Errorf("got %s, want %d", response.Status, c.code)
			}
			for _, want := range c.contains {
				if !strings.Contains(body, want) {
					t.Errorf("no %q in:\n%s", want, body)
				}
			}
		})
	}
}

func TestTelemetryPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"/metrics": true, "/node/turn-1/metrics": true, "/m.txt": true,
		"": false, "metrics": false, "/": false, "/metrics/": false, "//": false, "/-/ready": false, "/events": false, "/probe": false, "/{x": false, "/a b": false,
	} {
		_, err := web.NewHandler(path, http.NotFoundHandler(), transporttest.Up, transporttest.Plain)
		if ok != (err == nil) || !ok && !strings.HasPrefix(err.Error(), "--web.telemetry-path: found ") {
			t.Errorf("%q: got %v, want accepted = %t", path, err, ok)
		}
	}
}
