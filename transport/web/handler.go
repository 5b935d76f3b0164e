package web

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/web/page"
)

// NewHandler serves the operators' listener: metrics, health, readiness and the
// status page. Nothing on it is secret.
func NewHandler(telemetryPath string, metrics http.Handler, status func() service.Status, instrument transport.Instrument) (http.Handler, error) {
	return newHandler(telemetryPath, metrics, func(links []page.Link) page.Page { return nodePage(status(), links) }, func() (bool, []string) { return readiness(status()) }, instrument)
}

// NewGatewayHandler serves that of a gateway.
func NewGatewayHandler(telemetryPath string, metrics http.Handler, status func() service.GatewayStatus, instrument transport.Instrument) (http.Handler, error) {
	return newHandler(telemetryPath, metrics, func(links []page.Link) page.Page { return gatewayPage(status(), links) }, func() (bool, []string) { return gatewayReadiness(status()) }, instrument)
}

func newHandler(telemetryPath string, metrics http.Handler, build func([]page.Link) page.Page, ready func() (bool, []string), instrument transport.Instrument) (http.Handler, error) {
	if !regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`).MatchString(telemetryPath) || strings.HasPrefix(telemetryPath, "/-/") || telemetryPath == "/events" || telemetryPath == "/probe" {
		return nil, fmt.Errorf("--web.telemetry-path: found %q; accepted: a path like /metrics, not /events, not /probe, not below /-/", telemetryPath)
	}
	links := []page.Link{{Path: telemetryPath, Text: "metrics"}, {Path: "/-/ready", Text: "ready"}, {Path: "/-/healthy", Text: "healthy"}}
	shown := func() page.Page { return build(links) }
	mux := http.NewServeMux()
	mux.Handle("GET "+telemetryPath, instrument(telemetryPath, metrics, http.StatusOK, http.StatusServiceUnavailable))
	mux.Handle("GET /-/healthy", instrument("/-/healthy", http.HandlerFunc(healthy), http.StatusOK))
	mux.Handle("GET /-/ready", instrument("/-/ready", readyHandler(ready), http.StatusOK, http.StatusServiceUnavailable))
	mux.Handle("GET /{$}", instrument("/", page.View(shown), http.StatusOK))
	mux.Handle("GET /events", page.Events(shown)) // a stream has no duration to observe
	return mux, nil
}

func healthy(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy\n") }

// readyHandler answers 200 or 503, with the reasons.
func readyHandler(ready func() (ok bool, lines []string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok, lines := ready()
		code, word := http.StatusOK, "ready"
		if !ok {
			code, word = http.StatusServiceUnavailable, "not ready"
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, strings.Join(append([]string{word}, lines...), "\n")+"\n")
	})
}

// readiness says whether the node serves. Trouble with ZooKeeper is named and leaves it
// at that: calls are served all the same.
func readiness(s service.Status) (ok bool, lines []string) {
	reasons := service.Readiness(s)
	for _, r := range reasons {
		lines = append(lines, r.Text)
	}
	for _, n := range service.Notes(s) {
		lines = append(lines, "note: "+n)
	}
	if s.Registry != nil {
		lines = append(lines, "registry: "+registration(*s.Registry))
	}
	return service.Ready(reasons), lines
}

// gatewayReadiness says whether there is a server to hand out.
func gatewayReadiness(s service.GatewayStatus) (ok bool, lines []string) {
	if why := s.Why(); why != "" {
		lines = append(lines, why)
	}
	return len(lines) == 0, append(lines, "zookeeper: "+sight(s))
}

// sight says in words how well the gateway sees the fleet.
func sight(s service.GatewayStatus) string {
	word := string(s.Session.State)
	switch {
	case s.Session.LastError != "":
		word += ": " + s.Session.LastError
	case s.Fleet.Confirmed.IsZero():
	case !s.Fleet.Live(s.At):
		word += ", silent for " + duration(s.At.Sub(s.Fleet.Confirmed))
	}
	if s.Fleet.Complete && !s.Fleet.Live(s.At) {
		word += "; serving the fleet as it was last seen"
	}
	return word
}

// registration says in words where the registration stands.
func registration(r service.Registration) string {
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
