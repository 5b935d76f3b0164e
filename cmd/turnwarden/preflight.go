package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/exporter-toolkit/web"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// site is the configuration and what was found out about this machine: all that the
// parts need. A reload makes another one, which is the same but for what has changed.
type site struct {
	cfg config.Node
	server
	as        *syscall.Credential // whom the child runs as; nil = as we do
	userdb    sqlite.DB
	source    *traffic.Procfs
	directory directory.Config
	restAddr  string
	outside   netip.Addr // the default route's source address; invalid without one
	lock      *os.File
	web       *gate.Gate
	api       *apiSite
	admin     net.Listener // nil without one

	kept map[string]string // what an upgrade in place cannot change

	// runtime is what the last child was started with.
	runtime *atomic.Pointer[coturn.Runtime]
	child   *atomic.Pointer[supervisor.ChildProcess] // that was started or adopted last
}

// server is what turnserver is started with.
type server struct {
	turnserver string // absolute
	version    coturn.Version
	conf       *coturn.Conf
	warnings   []string // about conf
	sum        string   // of its file
}

// preflight checks all that can be checked before anything is started, and takes
// what nobody else may have: the lock and the listeners. Each error is one line
// that says what to do.
//
// With a heritage nothing is taken, nor looked for, that an earlier image of this process
// has taken or started: it goes on.
func preflight(ctx context.Context, cfg config.Node, f flags, from *heritage, logger *slog.Logger) (_ *site, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := &site{cfg: cfg, runtime: new(atomic.Pointer[coturn.Runtime]), child: new(atomic.Pointer[supervisor.ChildProcess])}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	for _, step := range []func() error{
		func() (err error) { s.server, err = findServer(ctx, cfg); s.warn(logger); return err },
		func() error { return s.findUser(cfg, logger) },
		func() error { return s.keep(cfg, f, from) },
		func() error { return s.ownAddresses(ctx) },
		func() error { return s.openStateDir(cfg, from) },
		func() error { return s.freePorts(renderedPath(cfg), from, logger) },
		func() error { return s.prepareUserDB(ctx, cfg, from) },
		func() error { return s.findInterfaces(cfg, logger) },
		func() (err error) { s.web, err = listenWeb(ctx, f, from.listen); return err },
		func() (err error) { s.api, err = openAPI(ctx, cfg.API, from.listen, logger); return err },
		func() error { return s.listenAdmin(ctx, cfg, from, logger) },
		func() error { return s.prepareRegistry(cfg, logger) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *site) close() {
	if s.lock != nil {
		s.lock.Close()
	}
	if s.api != nil {
		s.api.Close()
	}
	if s.web != nil {
		s.web.Close()
	}
	if s.admin != nil {
		s.admin.Close()
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
	s.version = build.Version
	if s.conf, err = readConf(cfg); err != nil {
		return s, err
	}
	content, err := os.ReadFile(cfg.Coturn.ConfigFile)
	if err != nil {
		return s, fmt.Errorf("coturn.config_file: %w", err)
	}
	s.sum = fmt.Sprintf("%x", sha256.Sum256(content))
	s.warnings = append(s.conf.Warnings, s.conf.Check(build)...)
	return s, nil
}

// warn says what is worth knowing about turnserver and its file, once for each that is used.
func (s *server) warn(logger *slog.Logger) {
	if s.version.Untried() {
		logger.Warn("coturn is newer than any that this turnwarden was tried with: compare its counters with turnserver's own", "coturn", s.version, "newest", coturn.Newest)
	}
	for _, w := range s.warnings {
		logger.Warn("turnserver.conf", "line", w)
	}
}

// findUser resolves whom the child runs as: coturn.user, or what proc-user said.
func (s *site) findUser(cfg config.Node, logger *slog.Logger) error {
	name, key := cfg.Coturn.User, "coturn.user"
	if name == "" && s.conf.ProcUser != "" {
		name, key = s.conf.ProcUser, "proc-user"
	}
	if name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("%s: %w; name an existing user", key, err)
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	if int(uid) == os.Geteuid() {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: only root can run turnserver as %s, and this is uid %d; start turnwarden as root or as %s", key, name, os.Geteuid(), name)
	}
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if groups, err := u.GroupIds(); err == nil {
		for _, g := range groups {
			if id, err := strconv.ParseUint(g, 10, 32); err == nil {
				s.as.Groups = append(s.as.Groups, uint32(id))
			}
		}
	}
	logger.Debug("turnserver runs as another user", "user", name)
	return nil
}

// openStateDir creates the directory, mode 0711 so that the child's uid can reach
// its configuration and list nothing, and locks it.
func (s *site) openStateDir(cfg config.Node, from *heritage) error {
	if from != nil {
		s.lock = from.file(fileLock)
		return nil
	}
	dir := cfg.Credentials.StateDir
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("credentials.state_dir: %w; create it, owned by uid %d, or name another", err, os.Geteuid())
	}
	lock, err := lockStateDir(dir)
	s.lock = lock
	return err
}

// ownAddresses refuses addresses that are not this host's. With a foreign
// listening-ip coturn serves nobody and exits after a minute; with a foreign
// relay-ip, such as the public side of a NAT, each Allocate costs 131,070 lines of
// log and ends in 508.
func (s *site) ownAddresses(ctx context.Context) error {
	var lc net.ListenConfig
	for option, addrs := range map[string][]netip.Addr{"listening-ip": s.conf.ListeningIPs, "relay-ip": s.conf.RelayIPs} {
		for _, a := range addrs {
			p, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(a, 0).String())
			if err != nil {
				return fmt.Errorf("%s: %s=%s is no address of this host (%w); name one that `ip addr` shows, and a NAT's public address in external-ip", s.conf.Path, option, a, err)
			}
			_ = p.Close()
		}
	}
	return nil
}

func renderedPath(cfg config.Node) string {
	dir, err := filepath.Abs(cfg.Credentials.StateDir)
	if err != nil {
		dir = cfg.Credentials.StateDir
	}
	return filepath.Join(dir, "turnserver.conf")
}

// freePorts ends what a killed turnwarden left behind, and refuses to start
// beside anybody else's server: SO_REUSEPORT would let both run and split the
// clients between them.
func (s *site) freePorts(rendered string, from *heritage, logger *slog.Logger) error {
	if from != nil {
		return nil // our own child has them, and the prober looks for others
	}
	orphans, err := supervisor.Orphans(rendered)
	if err != nil {
		return fmt.Errorf("look for a turnserver of an earlier run: %w", err)
	}
	for _, pid := range orphans {
		logger.Warn("killing the turnserver that an earlier turnwarden left behind", "pid", pid)
		if err := supervisor.KillOrphan(pid, rendered); err != nil {
			return fmt.Errorf("kill turnserver %d of an earlier run: %w; kill it by hand", pid, err)
		}
	}
	return s.checkPorts(0)
}

// listening is what turnserver will listen on, as far as its configuration says.
func (s *site) listening() []netip.AddrPort {
	ports := []int{s.conf.ListeningPort}
	if s.conf.TLS || s.conf.DTLS {
		ports = append(ports, s.conf.TLSListeningPort)
	}
	addrs := s.conf.ListeningIPs
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	var all []netip.AddrPort
	for _, port := range ports {
		for _, a := range addrs {
			all = append(all, netip.AddrPortFrom(a, uint16(port)))
		}
	}
	return all
}

// checkPorts names whoever but pid holds one of turnserver's ports.
func (s *site) checkPorts(pid int) error {
	foreign, err := supervisor.Foreign(pid, s.listening())
	if err != nil {
		return fmt.Errorf("look for other servers on turnserver's ports: %w", err)
	}
	if len(foreign) > 0 {
		return fmt.Errorf("%s; stop it, or give one of the two another listening-port", foreign[0])
	}
	return nil
}

func (s *site) prepareUserDB(ctx context.Context, cfg config.Node, from *heritage) error {
	s.userdb = sqlite.DB{File: userdb.File{Path: s.conf.UserDB, Realm: s.conf.Realm, As: s.as}}
	if from != nil {
		return nil // it is in use
	}
	if err := turnadmin.Check(cfg.Coturn.Turnadmin); err != nil {
		return err
	}
	return s.userdb.Prepare(ctx, func(ctx context.Context) error {
		return turnadmin.Complete(ctx, cfg.Coturn.Turnadmin, s.userdb.File)
	})
}

// findSource finds what is measured.
func (s *site) findSource(cfg config.Node) error {
	host, err := traffic.ReadHost()
	if err != nil {
		return err
	}
	s.outside = host.DefaultSource
	names, err := host.Select(cfg.Traffic.Interface, s.conf.RelayIPs, s.conf.ListeningIPs)
	if err != nil {
		return err
	}
	s.source, err = traffic.NewProcfs("/proc", "/sys", names)
	return err
}

func (s *site) findInterfaces(cfg config.Node, logger *slog.Logger) error {
	if err := s.findSource(cfg); err != nil {
		return err
	}
	if err := traffic.CheckCapacity(s.source, trafficConfig(cfg)); err != nil {
		if len(cfg.Registry.ZooKeeper) > 0 {
			return err
		}
		logger.Warn("headroom is unknown; nothing depends on it while registry.zookeeper is empty", "err", err)
	}
	return nil
}

func trafficConfig(cfg config.Node) traffic.Config {
	return traffic.Config{CapacityMbps: float64(cfg.Traffic.CapacityMbps), Direction: cfg.Traffic.Direction, Interval: cfg.Traffic.Interval}
}

// listenWeb binds the address before anything runs, as the other listeners are: a taken
// port is an error of the start, not of the run.
func listenWeb(ctx context.Context, f flags, listen listenFunc) (*gate.Gate, error) {
	if f.webConfigFile != "" {
		if err := web.Validate(f.webConfigFile); err != nil {
			return nil, fmt.Errorf("--web.config.file: %w", err)
		}
	}
	l, err := listen(ctx, fileWeb, "tcp", f.webListen)
	if err != nil {
		return nil, fmt.Errorf("--web.listen-address: %w; stop what holds the port or name another", err)
	}
	return gate.New(l.(gate.Socket), connections(maxViewers, 4)), nil
}
