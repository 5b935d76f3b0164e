package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/turnwarden/turnwarden/transport"
)

// maxConnections bounds what the API's callers may hold open, at some 20 KB each.
const maxConnections = 4096

// apiSite is where the API is served and who may call it.
type apiSite struct {
	net.Listener
	conns       *transport.Listener
	subscribers int // to events, at a time: half of the connections
	scheme      string
	access      transport.Access
	files       []*watched
}

// openAPI reads the files of the API and binds its address. Each error is one line that
// says what to do.
func openAPI(ctx context.Context, cfg APIConfig, listen listenFunc, logger *slog.Logger) (*apiSite, error) {
	a := &apiSite{scheme: "http", access: transport.Access{Origins: cfg.CORSOrigins, Rate: cfg.RateLimit}}
	a.access.Allow, a.access.Proxies = prefixes(cfg.AllowCIDRs), prefixes(cfg.TrustedProxies)
	if cfg.TokensFile != "" {
		tokens := transport.NewTokens(cfg.RateLimit)
		a.access.Tokens = tokens
		a.files = append(a.files, &watched{
			key: "api.tokens_file", paths: []string{cfg.TokensFile},
			use: func(contents [][]byte) error { return tokens.Replace(contents[0]) },
		})
	}
	var over transport.TLS
	if cfg.TLS.enabled() {
		a.scheme = "https"
		a.files = append(a.files, cfg.TLS.watched(&over))
	} else if host, _, _ := net.SplitHostPort(cfg.Listen); !loopback(host) {
		logger.Warn("whoever can read the network's traffic reads credentials and tokens; set api.tls, or have a proxy or a tunnel encrypt", "address", cfg.Listen)
	}
	for _, f := range a.files {
		if _, err := f.look(); err != nil {
			return nil, err
		}
	}
	if a.access.Tokens != nil && a.access.Tokens.Len() == 0 {
		logger.Warn("no token is in the file, so that nobody may call; turnwarden token NAME makes one", "path", cfg.TokensFile)
	}
	l, err := listen(ctx, fileAPI, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w; stop what holds the port or name another", err)
	}
	limit := connections()
	a.conns, a.subscribers = transport.NewListener(l.(*net.TCPListener), limit), limit/2
	a.Listener = a.conns
	if cfg.TLS.enabled() {
		a.Listener = tls.NewListener(a.conns, over.Config())
	}
	return a, nil
}

// connections leaves at least half of the file descriptors to everything else: with none
// left, nothing can be rotated, probed or registered.
func connections() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return maxConnections
	}
	return int(min(maxConnections, files.Cur/2))
}

// server returns what serves h there.
func (a *apiSite) server(h http.Handler) *http.Server {
	s := newServer(h)
	s.ConnState = a.conns.ConnState
	return s
}

// newServer bounds what one connection may cost.
func newServer(h http.Handler) *http.Server {
	// A stream of events has no end of its own.
	ctx, end := context.WithCancel(context.Background())
	s := &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	s.RegisterOnShutdown(end)
	return s
}

func (t ServerTLSConfig) enabled() bool { return t != ServerTLSConfig{} }

func (t ServerTLSConfig) watched(over *transport.TLS) *watched {
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
