package transport

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/transport/page"
)

// NewWebHandler serves the operators' listener: metrics, health, readiness and the
// status page. Nothing on it is secret.
func NewWebHandler(telemetryPath string, metrics http.Handler, status func() service.Status, instrument Instrument) (http.Handler, error) {
	if !regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`).MatchString(telemetryPath) || strings.HasPrefix(telemetryPath, "/-/") || telemetryPath == "/events" || telemetryPath == "/probe" {
		return nil, fmt.Errorf("--web.telemetry-path: found %q; accepted: a path like /metrics, not /events, not /probe, not below /-/", telemetryPath)
	}
	build := func() page.Page {
		return nodePage(status(), []page.Link{{Path: telemetryPath, Text: "metrics"}, {Path: "/-/ready", Text: "ready"}, {Path: "/-/healthy", Text: "healthy"}})
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+telemetryPath, instrument(telemetryPath, metrics, http.StatusOK, http.StatusServiceUnavailable))
	mux.Handle("GET /-/healthy", instrument("/-/healthy", http.HandlerFunc(healthy), http.StatusOK))
	mux.Handle("GET /-/ready", instrument("/-/ready", readiness(status), http.StatusOK, http.StatusServiceUnavailable))
	mux.Handle("GET /{$}", instrument("/", page.View(build), http.StatusOK))
	mux.Handle("GET /events", page.Events(build)) // a stream has no duration to observe
	return mux, nil
}

func healthy(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy\n") }

// readiness answers 200 while the node serves. Trouble with ZooKeeper is named
// but leaves it 200: calls are served all the same.
func readiness(status func() service.Status) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		reasons := service.Readiness(s)
		var b strings.Builder
		code := http.StatusOK
		if service.Ready(reasons) {
			b.WriteString("ready\n")
		} else {
			code = http.StatusServiceUnavailable
			b.WriteString("not ready\n")
		}
		for _, r := range reasons {
			b.WriteString(r.Text + "\n")
		}
		for _, n := range service.Notes(s) {
			b.WriteString("note: " + n + "\n")
		}
		if s.Registry != nil {
			b.WriteString("registry: " + registration(*s.Registry) + "\n")
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, b.String())
	})
}

// registration says in words where the registration stands.
func registration(r registry.Status) string {
	switch {
	case r.Conflict != "":
		return "conflict: " + r.Conflict
	case r.Registered && r.LastError == "":
		return "registered"
	case r.LastError != "":
		return fmt.Sprintf("%s: %s", r.Session.State, r.LastError)
	default:
		return fmt.Sprintf("%s, not registered", r.Session.State)
	}
}
