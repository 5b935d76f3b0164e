// Package host is what this machine gives a node: the files, listeners and addresses that are
// found, checked and taken before the start, the child that is started with them, and what a
// reload puts in their place.
package host

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// Host is the configuration and what was found out about this machine: all that the
// parts need. A reload makes another one, which is the same but for what has changed.
type Host struct {
	Config config.Node
	server
	as        *syscall.Credential // whom the child runs as; nil = as we do
	UserDB    sqlite.DB
	Source    *traffic.Procfs
	Directory directory.Config
	restAddr  string
	outside   netip.Addr // the default route's source address; invalid without one
	lock      *os.File
	Web       *gate.Gate
	API       *API
	Admin     net.Listener // nil without one

	agreed map[string]string // what an upgrade in place cannot change

	// runtime is what the last child was started with.
	runtime *atomic.Pointer[coturn.Runtime]
	child   *atomic.Pointer[supervisor.ChildProcess] // that was started or adopted last
}

// server is what turnserver is started with.
type server struct {
	turnserver string // absolute
	Version    coturn.Version
	Conf       *coturn.Conf
	warnings   []string // about conf
	sum        string   // of its file
}

// Open checks all that can be checked before anything is started, and takes
// what nobody else may have: the lock and the listeners. Each error is one line
// that says what to do.
//
// Nothing is taken, nor looked for, that an earlier image of this process has taken or
// started, and handed over: it goes on.
func Open(ctx context.Context, cfg config.Node, web Web, from *handover.Inherited, logger *slog.Logger) (_ *Host, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := &Host{Config: cfg, runtime: new(atomic.Pointer[coturn.Runtime]), child: new(atomic.Pointer[supervisor.ChildProcess])}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, step := range []func() error{
		func() (err error) { s.server, err = findServer(ctx, cfg); s.warn(logger); return err },
		func() (err error) { s.as, err = RunAs(cfg, s.Conf, logger); return err },
		func() error { s.agreed = s.agreement(web.Listen); return from.Check(s.agreed) },
		func() error { return OwnAddresses(ctx, s.Conf) },
		func() error { return s.openStateDir(from) },
		func() error { return s.freePorts(from, logger) },
		func() error { return s.prepareUserDB(ctx, from) },
		func() error { return s.findInterfaces(logger) },
		func() (err error) { s.Web, err = ListenWeb(ctx, web, from); return err },
		func() (err error) {
			s.API, err = OpenAPI(ctx, cfg.API, cfg.Registry.Advertise, from, logger)
			return err
		},
		func() error { return s.listenAdmin(ctx, from, logger) },
		func() error { return s.prepareRegistry(logger) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close gives back what Open has taken.
func (h *Host) Close() {
	if h.lock != nil {
		h.lock.Close()
	}
	if h.API != nil {
		h.API.Close()
	}
	if h.Web != nil {
		h.Web.Close()
	}
	if h.Admin != nil {
		h.Admin.Close()
	}
}

// findServer reads all that turnserver is started with.
func findServer(ctx context.Context, cfg config.Node) (s server, err error) {
	s.turnserver = cfg.Coturn.Turnserver
	if strings.Contains(s.turnserver, "/") { // the child has another working directory
		if s.turnserver, err = filepath.Abs(s.turnserver); err != nil {
			return s, fmt.Errorf("coturn.turnserver: %w", err)
		}
	}
	build, err := coturn.Detect(ctx, s.turnserver)
	if err != nil {
		return s, err
	}
	s.Version = build.Version
	if s.Conf, err = cfg.Turnserver(); err != nil {
		return s, err
	}
	content, err := os.ReadFile(cfg.Coturn.ConfigFile)
	if err != nil {
		return s, fmt.Errorf("coturn.config_file: %w", err)
	}
	s.sum = fmt.Sprintf("%x", sha256.Sum256(content))
	s.warnings = append(s.Conf.Warnings, s.Conf.Check(build)...)
	return s, nil
}

// warn says what is worth knowing about turnserver and its file, once for each that is used.
func (s *server) warn(logger *slog.Logger) {
	if s.Version.Untried() {
		logger.Warn("coturn is newer than any that this turnwarden was tried with: compare its counters with turnserver's own", "coturn", s.Version, "newest", coturn.Newest)
	}
	for _, w := range s.warnings {
		logger.Warn("turnserver.conf", "line", w)
	}
}

// openStateDir creates the directory, mode 0711 so that the child's uid can reach
// its configuration and list nothing, and locks it.
func (h *Host) openStateDir(from *handover.Inherited) (err error) {
	if h.lock = from.File(handover.Lock); h.lock != nil {
		return nil
	}
	dir := h.Config.Credentials.StateDir
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("credentials.state_dir: %w; create it, owned by uid %d, or name another", err, os.Geteuid())
	}
	h.lock, err = lockStateDir(dir)
	return err
}

// Rendered is the path of the configuration that turnserver gets.
func Rendered(cfg config.Node) string {
	dir, err := filepath.Abs(cfg.Credentials.StateDir)
	if err != nil {
		dir = cfg.Credentials.StateDir
	}
	return filepath.Join(dir, "turnserver.conf")
}

// FindSource finds what is measured, and the address that this host has outside.
func FindSource(cfg config.Node, conf *coturn.Conf) (source *traffic.Procfs, outside netip.Addr, err error) {
	host, err := traffic.ReadHost()
	if err != nil {
		return nil, outside, err
	}
	names, err := host.Select(cfg.Traffic.Interface, conf.RelayIPs, conf.ListeningIPs)
	if err == nil {
		source, err = traffic.NewProcfs("/proc", "/sys", names)
	}
	return source, host.DefaultSource, err
}

func (h *Host) findInterfaces(logger *slog.Logger) (err error) {
	if h.Source, h.outside, err = FindSource(h.Config, h.Conf); err != nil {
		return err
	}
	if err := traffic.CheckCapacity(h.Source, TrafficConfig(h.Config)); err != nil {
		if len(h.Config.Registry.ZooKeeper) > 0 {
			return err
		}
		logger.Warn("headroom is unknown; nothing depends on it while registry.zookeeper is empty", "err", err)
	}
	return nil
}

// TrafficConfig is what the meter is told.
func TrafficConfig(cfg config.Node) traffic.Config {
	return traffic.Config{CapacityMbps: float64(cfg.Traffic.CapacityMbps), Direction: cfg.Traffic.Direction, Interval: cfg.Traffic.Interval}
}
