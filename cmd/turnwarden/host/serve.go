package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// Web is what the command line says of the web listener.
type Web struct{ Listen, ConfigFile, TelemetryPath string }

// Serve serves the web listener as --web.config.file says.
func (w Web) Serve(logger *slog.Logger) func(*http.Server, net.Listener) error {
	return func(server *http.Server, l net.Listener) error {
		systemd := false
		return toolkit.Serve(l, server, &toolkit.FlagConfig{WebConfigFile: &w.ConfigFile, WebSystemdSocket: &systemd}, logger)
	}
}

// Ended is the error of a server that has ended other than by Stop.
func Ended(err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// Stop lets requests under way end.
func Stop(g *gate.Gate) func(error) { return func(error) { g.Stop() } }

// Routes are those of the API, for whom it is open to now.
type Routes struct {
	build func(transport.Access) http.Handler
	now   atomic.Pointer[http.Handler]
}

// NewRoutes builds them for access.
func NewRoutes(build func(transport.Access) http.Handler, access transport.Access) *Routes {
	r := &Routes{build: build}
	r.Use(access)
	return r
}

// Use builds them anew.
func (r *Routes) Use(access transport.Access) {
	h := r.build(access)
	r.now.Store(&h)
}

// ServeHTTP implements http.Handler.
func (r *Routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	(*r.now.Load()).ServeHTTP(w, req)
}

// NewServer bounds what one connection may cost.
func NewServer(h http.Handler, on *gate.Gate, logger *slog.Logger) *http.Server {
	// A stream of events has no end of its own.
	ctx, end := context.WithCancel(context.Background())
	s := &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     h, ErrorLog: NewHTTPLog(logger), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	s.RegisterOnShutdown(end)
	on.Guard(s)
	return s
}

// ListenWeb binds the address before anything runs, as the other listeners are: a taken
// port is an error of the start, not of the run.
func ListenWeb(ctx context.Context, w Web, from *handover.Inherited) (*gate.Gate, error) {
	if w.ConfigFile != "" {
		if err := toolkit.Validate(w.ConfigFile); err != nil {
			return nil, fmt.Errorf("--web.config.file: %w", err)
		}
	}
	l, err := from.Listen(ctx, handover.Web, "tcp", w.Listen)
	if err != nil {
		return nil, fmt.Errorf("--web.listen-address: %w; stop what holds the port or name another", err)
	}
	return gate.New(l.(gate.Socket), connections(maxViewers, 4)), nil
}
