package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// What callers of the API and those who look at the web listener may hold open, at some
// 20 KB each.
const (
	maxConnections = 4096
	maxViewers     = 1024
)

// apiSite is where the API is served and who may call it.
type apiSite struct {
	net.Listener
	gate        *gate.Gate
	subscribers int // to events, at a time: half of the connections
	scheme      string
	over        *transport.TLS
	access      transport.Access
	files       []*watched
}

// openAPI reads the files of the API and binds its address. Each error is one line that
// says what to do.
func openAPI(ctx context.Context, cfg config.API, listen listenFunc, logger *slog.Logger) (*apiSite, error) {
	a := &apiSite{scheme: "http", over: new(transport.TLS)}
	if cfg.TLS.Enabled() {
		a.scheme = "https"
	} else if host, _, _ := net.SplitHostPort(cfg.Listen); !transport.Loopback(host) {
		logger.Warn("whoever can read the network's traffic reads credentials and tokens; set api.tls, or have a proxy or a tunnel encrypt", "address", cfg.Listen)
	}
	a, err := a.with(cfg, logger)
	if err != nil {
		return nil, err
	}
	l, err := listen(ctx, fileAPI, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w; stop what holds the port or name another", err)
	}
	limit := connections(maxConnections, 2)
	a.gate, a.subscribers = gate.New(l.(gate.Socket), limit), limit/2
	a.gate.Trust(a.access.Proxies)
	a.Listener = a.gate
	if cfg.TLS.Enabled() {
		a.Listener = tls.NewListener(a.gate, a.over.Config())
	}
	return a, nil
}

// with returns the same site for others to call, and with other files: it reads those. On
// an error all is as it was, the certificate too.
func (a *apiSite) with(cfg config.API, logger *slog.Logger) (*apiSite, error) {
	next := *a
	next.access = transport.Access{Origins: cfg.CORSOrigins, Rate: cfg.RateLimit, Allow: config.Prefixes(cfg.AllowCIDRs), Proxies: config.Prefixes(cfg.TrustedProxies)}
	next.access.PerClient = max(1, connections(maxConnections, 2)/8)
	next.files = nil
	if cfg.TokensFile != "" {
		tokens := transport.NewTokens(cfg.RateLimit)
		next.access.Tokens = tokens
		next.files = append(next.files, &watched{
			key: "api.tokens_file", paths: []string{cfg.TokensFile},
			use: func(contents [][]byte) error { return tokens.Replace(contents[0]) },
		})
	}
	if cfg.TLS.Enabled() {
		next.files = append(next.files, watchedTLS(cfg.TLS, a.over))
	}
	for _, f := range next.files {
		if _, err := f.look(); err != nil {
			return nil, err
		}
	}
	if tokens := next.access.Tokens; tokens != nil && tokens.Len() == 0 {
		logger.Warn("no token is in the file, so that nobody may call; turnwarden token NAME makes one", "path", cfg.TokensFile)
	}
	return &next, nil
}

// connections bounds them, and takes no more than a part of the file descriptors: with none
// left, nothing can be rotated, probed or registered.
func connections(most, part uint64) int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return int(most)
	}
	return int(min(most, files.Cur/part))
}

// routes are those of the API, for whom it is open to now.
type routes struct {
	build func(transport.Access) http.Handler
	now   atomic.Pointer[http.Handler]
}

func newRoutes(build func(transport.Access) http.Handler, access transport.Access) *routes {
	r := &routes{build: build}
	r.use(access)
	return r
}

func (r *routes) use(access transport.Access) {
	h := r.build(access)
	r.now.Store(&h)
}

func (r *routes) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	(*r.now.Load()).ServeHTTP(w, req)
}

// newServer bounds what one connection may cost.
func newServer(h http.Handler, on *gate.Gate, logger *slog.Logger) *http.Server {
	// A stream of events has no end of its own.
	ctx, end := context.WithCancel(context.Background())
	s := &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     h, ErrorLog: newHTTPLog(logger), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	s.RegisterOnShutdown(end)
	on.Guard(s)
	return s
}

func watchedTLS(t config.ServerTLS, over *transport.TLS) *watched {
	w := &watched{key: "api.tls", paths: []string{t.CertFile, t.KeyFile}}
	if t.ClientCAFile != "" {
		w.paths = append(w.paths, t.ClientCAFile)
	}
	w.use = func(contents [][]byte) error {
		var clientCA []byte
		if len(contents) > 2 {
			clientCA = contents[2]
		}
		return over.Replace(contents[0], contents[1], clientCA)
	}
	return w
}
