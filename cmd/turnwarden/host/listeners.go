package host

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"syscall"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// What callers of the API and those who look at the web listener may hold open, at some
// 20 KB each.
const (
	maxConnections = 4096
	maxViewers     = 1024
)

// API is where the API is served and who may call it.
type API struct {
	net.Listener
	Gate        *gate.Gate
	Subscribers int // to events, at a time: half of the connections
	scheme      string
	over        *transport.TLS
	Access      transport.Access
	Files       []*Watched
}

// OpenAPI reads the files of the API and binds its address. Each error is one line that
// says what to do.
func OpenAPI(ctx context.Context, cfg config.API, advertise string, from *handover.Inherited, logger *slog.Logger) (*API, error) {
	a := &API{scheme: "http", over: new(transport.TLS)}
	if cfg.TLS.Enabled() {
		a.scheme = "https"
	} else if host, _, _ := net.SplitHostPort(cfg.Listen); !transport.Loopback(host) {
		logger.Warn("whoever can read the network's traffic reads credentials and tokens; set api.tls, or have a proxy or a tunnel encrypt", "address", cfg.Listen)
	}
	a, err := a.with(cfg, advertise, logger)
	if err != nil {
		return nil, err
	}
	l, err := from.Listen(ctx, handover.API, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("api.listen: %w; stop what holds the port or name another", err)
	}
	limit := connections(maxConnections, 2)
	a.Gate, a.Subscribers = gate.New(l.(gate.Socket), limit), limit/2
	a.Gate.Trust(a.Access.Proxies)
	a.Listener = a.Gate
	if cfg.TLS.Enabled() {
		a.Listener = tls.NewListener(a.Gate, a.over.Config())
	}
	return a, nil
}

// with returns the same API for others to call, and with other files: it reads those. On
// an error all is as it was, the certificate too.
func (a *API) with(cfg config.API, advertise string, logger *slog.Logger) (*API, error) {
	next := *a
	next.Access = transport.Access{Origins: cfg.CORSOrigins, Rate: cfg.RateLimit, Allow: config.Prefixes(cfg.AllowCIDRs), Proxies: config.Prefixes(cfg.TrustedProxies)}
	next.Access.Hosts = &transport.Hosts{Names: append(slices.Clone(cfg.Hosts), hostOf(advertise))}
	if cfg.TLS.Enabled() {
		next.Access.Hosts.Over = a.over
	}
	next.Access.PerClient = max(1, connections(maxConnections, 2)/8)
	next.Files = nil
	if cfg.TokensFile != "" {
		tokens := transport.NewTokens(cfg.RateLimit)
		next.Access.Tokens = tokens
		next.Files = append(next.Files, &Watched{
			Key: "api.tokens_file", Paths: []string{cfg.TokensFile},
			Use: func(contents [][]byte) error { return tokens.Replace(contents[0]) },
		})
	}
	if cfg.TLS.Enabled() {
		next.Files = append(next.Files, watchedTLS(cfg.TLS, a.over))
	}
	for _, f := range next.Files {
		if _, err := f.Look(); err != nil {
			return nil, err
		}
	}
	if tokens := next.Access.Tokens; tokens != nil && tokens.Len() == 0 {
		logger.Warn("no token is in the file, so that nobody may call; turnwarden token NAME makes one", "path", cfg.TokensFile)
	}
	return &next, nil
}

// hostOf takes the port off, if there is one.
func hostOf(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return s
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

func watchedTLS(t config.ServerTLS, over *transport.TLS) *Watched {
	w := &Watched{Key: "api.tls", Paths: []string{t.CertFile, t.KeyFile}}
	if t.ClientCAFile != "" {
		w.Paths = append(w.Paths, t.ClientCAFile)
	}
	w.Use = func(contents [][]byte) error {
		var clientCA []byte
		if len(contents) > 2 {
			clientCA = contents[2]
		}
		return over.Replace(contents[0], contents[1], clientCA)
	}
	return w
}
