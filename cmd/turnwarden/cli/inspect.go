package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/kit/metrics/discard"
	"golang.org/x/sys/unix"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/directory"
	"github.com/turnwarden/turnwarden/service/doctor"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/service/userdb"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
)

// inspect looks at all that doctor judges, and changes nothing: no lock, no listener, no
// node that stays.
func inspect(ctx context.Context, configFile string) doctor.Patient {
	p := doctor.Patient{Now: time.Now(), Standalone: true, Clock: clockTrouble(), CoturnService: coturnService()}
	cfg, err := config.LoadNode(configFile)
	p.ConfigErrors = oneLine(err)
	if err != nil {
		return p // its paths are not known
	}
	quiet := slog.New(slog.DiscardHandler)
	p.Turnadmin, p.SQLite = text(turnadmin.Check(cfg.Coturn.Turnadmin)), text(sqlite.Check())
	build, err := coturn.Detect(ctx, cfg.Coturn.Turnserver)
	if err != nil {
		p.Turnserver = err.Error()
	}
	p.Version = [3]int{build.Version.Major, build.Version.Minor, build.Version.Patch}
	p.Newest = [3]int{coturn.Newest.Major, coturn.Newest.Minor, coturn.Newest.Patch}
	p.Standalone = len(cfg.Registry.ZooKeeper) == 0
	p.APIExposed = cfg.API.Exposed()
	p.StateDir, p.DiskFree = cfg.Credentials.StateDir, diskFree(cfg.Credentials.StateDir)
	p.OpenFiles, p.ReceiveBufferMax = openFiles(), receiveBufferMax()
	p.Secrets = secretFiles(cfg)

	p.Conf.Path = cfg.Coturn.ConfigFile
	data, err := os.ReadFile(cfg.Coturn.ConfigFile)
	if err != nil {
		_, err = cfg.Turnserver() // in its words
		p.Conf.Errors = oneLine(err)
		return p
	}
	lines, ended := strings.CutSuffix(string(data), "\n")
	p.Conf.Lines, p.Conf.Unended = strings.Split(lines, "\n"), !ended
	for _, o := range coturn.Options(string(data)) {
		p.Conf.Options = append(p.Conf.Options, doctor.Option(o))
	}
	conf, err := cfg.Turnserver()
	if err != nil {
		p.Conf.Errors = oneLine(err)
		return p
	}
	p.Conf.Warnings = append(conf.Warnings, conf.Check(build)...)
	p.RelayIPs = conf.RelayIPs
	if len(p.RelayIPs) == 0 {
		p.RelayIPs = conf.ListeningIPs
	}
	for _, e := range conf.ExternalIPs {
		p.ExternalIPs = append(p.ExternalIPs, e.Public)
	}
	as, err := host.RunAs(cfg, conf, quiet)
	if err != nil {
		p.Conf.Errors = append(p.Conf.Errors, oneLine(err)...)
	}
	if conf.Cert != "" && conf.Key != "" {
		p.Certificate = certificate(conf, conf.URIs(netip.Addr{}, host.TLSName(conf, cfg.Registry.Advertise)))
		p.Secrets = append(p.Secrets, privateKey(ctx, conf.Key, as))
	}
	p.Addresses = text(host.OwnAddresses(ctx, conf))
	p.Ports = text(portsBut(conf, host.Rendered(cfg)))
	p.UserDB = text(sqlite.DB{File: userdb.File{Path: conf.UserDB, Realm: conf.Realm, As: as}}.Check(ctx))
	source, outside, err := host.FindSource(cfg, conf)
	p.DefaultSource = outside
	if err != nil {
		p.Interface = err.Error()
	} else {
		p.Capacity, p.CapacityMbps = capacity(cfg, source)
	}
	if !p.Standalone {
		p.Advertised, p.ZooKeeper, p.ZooKeeperWrite = registration(ctx, cfg, outside, quiet)
	}
	return p
}

func text(err error) string { return strings.Join(oneLine(err), "; ") }

// portsBut is checkPorts for a host that may be serving: its own child is no stranger.
func portsBut(conf *coturn.Conf, rendered string) error {
	own, err := supervisor.Orphans(rendered)
	if err != nil || len(own) == 0 {
		return host.CheckPorts(conf, 0)
	}
	return host.CheckPorts(conf, own[0])
}

// capacity says why the capacity of the interfaces is not known, and what it is.
func capacity(cfg config.Node, source *traffic.Procfs) (unknown string, mbps float64) {
	mbps = float64(cfg.Traffic.CapacityMbps)
	if r, err := source.Read(); err == nil && mbps == 0 {
		for _, d := range r.Devices {
			mbps += d.SpeedMbps
		}
	}
	return text(traffic.CheckCapacity(source, host.TrafficConfig(cfg))), mbps
}

// zooKeeperLimit bounds the wait for a session.
const zooKeeperLimit = 5 * time.Second

// registration says what the record would advertise, why ZooKeeper does not answer, and
// why it does not let us write. It writes a node of its own beside the records, which no
// reader looks at, and removes it.
func registration(ctx context.Context, cfg config.Node, outside netip.Addr, logger *slog.Logger) (advertise, unreachable, forbidden string) {
	api, _ := netip.ParseAddrPort(cfg.API.Listen)
	if address, _ := host.Advertised(cfg.Registry.Advertise, api, outside); address != "" {
		advertise, _, _ = net.SplitHostPort(address)
	}
	d, err := cfg.Directory()
	if err != nil {
		return advertise, "", err.Error()
	}
	d.StateFile = "" // the sessions of a running node are its own
	ctx, cancel := context.WithTimeout(ctx, zooKeeperLimit)
	defer cancel()
	session := directory.New(d, logger, directory.Metrics{Operations: discard.NewCounter(), Failures: discard.NewCounter()})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = session.Run(ctx) // it ends with ctx
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for session.Status().State != directory.Connected {
		select {
		case <-session.Changed():
		case <-ctx.Done():
			return advertise, fmt.Sprintf("no session with %s within %v: %s", strings.Join(cfg.Registry.ZooKeeper, ", "), zooKeeperLimit, session.Status().LastError), ""
		}
	}
	node := session.Node(path.Join(path.Dir(cfg.Registry.Path), "doctor-"+strconv.FormatInt(time.Now().UnixNano(), 36)), func(_, _ []byte) bool { return true })
	err = node.Put([]byte("{}"))
	if err == nil {
		err = node.Delete()
	}
	return advertise, "", text(err)
}

// clockTrouble asks the kernel whether anything keeps its clock right (adjtimex(2)).
func clockTrouble() string {
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err == nil && state == unix.TIME_ERROR {
		return "nothing keeps the clock in sync with the time (adjtimex: TIME_ERROR)"
	}
	return ""
}

// coturnService is Debian's own unit, if it is active or would be at the next boot.
func coturnService() string {
	const unit = "coturn.service"
	for _, sign := range []string{"/sys/fs/cgroup/system.slice/" + unit, "/etc/systemd/system/multi-user.target.wants/" + unit} {
		if _, err := os.Stat(sign); err == nil {
			return unit
		}
	}
	return ""
}

func openFiles() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return l.Max
}

func receiveBufferMax() int {
	data, _ := os.ReadFile("/proc/sys/net/core/rmem_max")
	n, _ := strconv.Atoi(strings.TrimSpace(string(data))) // 0 = unknown
	return n
}

// diskFree is what is left for dir, or for the directory that it would be made in.
func diskFree(dir string) uint64 {
	var fs unix.Statfs_t
	for dir, _ = filepath.Abs(dir); unix.Statfs(dir, &fs) != nil; dir = filepath.Dir(dir) {
		if dir == filepath.Dir(dir) {
			return 0
		}
	}
	return fs.Bavail * uint64(fs.Bsize)
}

// secretFiles are those that exist; what is missing is an error of the configuration.
func secretFiles(cfg config.Node) (all []doctor.SecretFile) {
	for _, f := range []doctor.SecretFile{
		{What: "credentials.state_dir", Path: cfg.Credentials.StateDir},
		{What: "state file", Path: host.StateFile(cfg)},
		{What: "registry.auth_file", Path: cfg.Registry.AuthFile},
		{What: "registry.tls.key_file", Path: cfg.Registry.TLS.KeyFile},
		{What: "api.tls.key_file", Path: cfg.API.TLS.KeyFile},
	} {
		if info, err := os.Stat(f.Path); err == nil {
			f.Mode = info.Mode()
			all = append(all, f)
		}
	}
	return all
}

// certificate reads what turnserver would serve, to clients that have been given uris.
func certificate(conf *coturn.Conf, uris []string) *doctor.Certificate {
	c := &doctor.Certificate{Path: conf.Cert}
	pair, err := tls.LoadX509KeyPair(conf.Cert, conf.Key)
	if err != nil {
		c.Err = text(err)
		return c
	}
	c.NotAfter = pair.Leaf.NotAfter
	for _, u := range uris {
		if address, secure := strings.CutPrefix(u, "turns:"); secure {
			address, _, _ = strings.Cut(address, "?")
			if host, _, err := net.SplitHostPort(address); err == nil && pair.Leaf.VerifyHostname(host) != nil {
				c.NotFor = append(c.NotFor, host)
			}
		}
	}
	return c
}

func privateKey(ctx context.Context, path string, as *syscall.Credential) doctor.SecretFile {
	f := doctor.SecretFile{What: "pkey", Path: path}
	if info, err := os.Stat(f.Path); err == nil {
		f.Mode = info.Mode()
	}
	f.Unreadable = text(coturn.CheckReadable(ctx, f.Path, as))
	return f
}
