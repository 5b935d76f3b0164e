package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/common/version"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service/calls"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/registry"
	"github.com/turnwarden/turnwarden/service/supervisor"
	"github.com/turnwarden/turnwarden/service/traffic"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
	"github.com/turnwarden/turnwarden/transport/gate"
	"github.com/turnwarden/turnwarden/transport/web"
)

// runNode is the wiring of one host.
//
//	signalling server ── GET /turncredential ──► api ──┐
//	Prometheus ───────── GET /metrics ─────────► web ──┤
//	                                                   ▼
//	ZooKeeper ◄── registrar ◄────────────────────── node.Node ──────► credential ──► userdb
//	                                                 ▲   │   ▲            (rotator)      ▲ turnadmin
//	                            NIC ──► traffic ─────┘   │   └── probe ──► turnserver ───┘
//	                                                     └── supervisor ──► (child)
//
// The parts first, then the actors in the order in which they stop.
func runNode(f flags, logger *slog.Logger, stdout io.Writer, s *signals, thread *supervisor.Thread) error {
	s.outlive()
	from, err := inherit(f.selfCheck)
	if err != nil {
		return refuse(err)
	}
	cfg, err := config.LoadNode(f.configFile)
	if err != nil {
		return refuse(err)
	}
	kept := journal.New(logger.Handler())
	childLogger := logger.With("part", "child") // whose lines are turnserver's words, not ours
	logger = slog.New(kept)
	if err := hideMemory(); err != nil {
		logger.Warn("a core dump could hold passwords", "err", err)
	}
	at, err := preflight(context.Background(), cfg, f, from, logger)
	if err != nil {
		return refuse(err)
	}
	defer at.close()
	if f.selfCheck {
		fmt.Fprintf(stdout, "turnwarden %s can go on\n", version.Version)
		return nil
	}
	logger.Info("starting turnwarden", "version", version.Info(), "node", cfg.Node, "coturn", at.version, "realm", at.conf.Realm)

	part := func(name string) *slog.Logger { return logger.With("part", name) }
	counts := metrics.New()
	counts.Reload.Reloaded(true)
	now := &current{logger: part("reload")}
	now.Store(at)
	n := node.New(at.facts(), part("node"))
	p := &parts{node: n, log: calls.NewLog(childLogger), journal: kept}
	if p.maintenance, err = node.OpenMaintenance(filepath.Join(cfg.Credentials.StateDir, "maintenance")); err != nil {
		return refuse(err)
	}
	p.supervisor = supervisor.New(now.starter(p.log, s.hurry, thread), restartPolicy(cfg), n.ChildChanged, part("supervisor"), counts.Supervisor)
	p.prober = probe.New(probeConfig(cfg),
		probe.Node{
			Target: n.Target, Credential: n.ProbeCredential, Notify: n.ProbeChanged,
			Owners:     func(pid int) error { return now.Load().checkPorts(pid) },
			RelayFree:  func() bool { return now.Load().relayFree() },
			Advertised: func(a netip.Addr) error { return now.Load().conf.CheckAdvertised(a) },
			Waited:     supervisor.Waited,
		},
		part("probe"), counts.Probe)
	p.credentials = credential.New(at.credentialConfig(),
		at.store(cfg), n, credential.NewFile(filepath.Join(cfg.Credentials.StateDir, stateFile[cfg.Credentials.Mode])),
		n.CredentialChanged, part("credential"), counts.Credential)
	cli := coturn.NewCLI(at.cliRuntime, func() int { return now.Load().conf.ListeningPort })
	p.sweeper = calls.NewSweeper(cli, part("sweeper"), counts.Cancelled)
	pid := func() int { return p.supervisor.Child().PID }
	p.census = calls.NewCensus(p.log, pid, cli, func(pid int) (int, error) { return now.Load().relaySockets(pid) },
		func() coturn.Version { return now.Load().running() }, part("census"))
	p.sockets = supervisor.NewSocketMeter(pid, uint16(at.conf.MinPort), uint16(at.conf.MaxPort), cfg.Traffic.Interval, part("sockets"))
	p.meter = traffic.NewMeter(at.source, trafficConfig(cfg), n.Sampled, part("traffic"))
	if len(cfg.Registry.ZooKeeper) > 0 {
		p.registrar = registry.New(registry.Config{
			Directory: at.directory, Node: cfg.Node, Path: cfg.Registry.Path, Interval: cfg.Traffic.Interval,
			PrometheusPath: cfg.Registry.PrometheusPath, Prometheus: at.nerve(), MaxDraining: cfg.Registry.MaxDraining,
		}, n.Publication, part("registry"), counts.Registry)
	}
	events := transport.NewEvents(n.Status, at.api.subscribers)
	reload := &reloader{flags: f, now: now, parts: p, logger: part("reload"), metrics: counts.Reload}
	emptied := drain.Parts{Node: n, Child: n, Stage: reload.stage}
	if p.registrar != nil {
		emptied.Lock = p.registrar.Draining()
	}
	p.drainer = drain.New(drainConfig(cfg, s.hurry), emptied, part("drain"))
	p.join(events.Kick)
	if from != nil {
		at.resume(from)
		p.supervisor.Adopt(at.adopter(at.command(p.log, s.hurry, thread), from))
		p.savers().restore(from.Node)
	}
	keeper, err := at.userdb.Keep(context.Background(), part("userdb"))
	if err != nil {
		return refuse(err)
	}
	counts.Observe(n.Status)

	routes := newRoutes(func(access transport.Access) http.Handler {
		return transport.NewAPIHandler(transport.NewEndpoints(n), counts.Instrument, transport.APIOptions{Access: access, Status: n.Status, Events: events})
	}, at.api.access)
	api := newServer(routes, at.api.gate, part("api"))
	now.tell = func(was, is *site) {
		n.Configure(is.facts())
		is.configure(p, s.hurry)
		if was.api != is.api {
			is.api.gate.Trust(is.api.access.Proxies)
			routes.use(is.api.access)
		}
	}
	pages, err := web.NewHandler(f.telemetryPath, counts.Handler(logger), n.Status, counts.Instrument)
	if err != nil {
		return refuse(err)
	}
	webRoutes := http.NewServeMux()
	webRoutes.Handle("/", pages)
	probes := &gate.Lasting{Next: metrics.ProbeHandler(func() []probe.Allow { return now.Load().cfg.Probe.Allowed() })}
	webRoutes.Handle("GET /probe", counts.Instrument("/probe", probes,
		http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusServiceUnavailable))
	webServer := newServer(webRoutes, at.web, part("web"))
	upgrade := &upgrader{
		at: at, now: now, parts: p, signals: s, thread: thread, logger: part("upgrade"), from: from,
		gates: []*gate.Gate{at.api.gate, at.web}, lasting: probes, requests: make(chan *admin.Reply, 1),
	}
	if s.subscribe != nil {
		reload.hangups, upgrade.asked = s.subscribe(syscall.SIGHUP), s.subscribe(syscall.SIGUSR2)
	}
	var adminServer *http.Server
	if at.admin != nil {
		handler := admin.WithUpgrade(admin.NewHandler(operated{n, p.drainer}, admin.Watched{Status: n.Status, Log: f.tail, Reload: reload.reload}), upgrade.request)
		adminServer = &http.Server{Handler: handler, ConnContext: admin.ConnContext, ErrorLog: newHTTPLog(part("admin")), ReadHeaderTimeout: 5 * time.Second}
		upgrade.admin = gate.New(at.admin.(gate.Socket), 0)
		upgrade.admin.Guard(adminServer)
	}

	stopped := make(chan struct{})
	defer close(stopped)
	notify := &notifier{nodeState(n.Status), part("notify"), func() time.Duration { return now.Load().stopLimit() }}
	g := &actors{logger: logger}
	add, addRun, addStop := g.add, g.addRun, g.addStop
	addRun("signals", func(ctx context.Context) error { return s.run(ctx, stopped) })
	addRun("upgrade", upgrade.run)
	addRun("notify", notify.run)
	addStop("unlist", n.Unlist)
	addRun("drain", p.drainer.Run)
	if p.registrar != nil {
		addRun("registry", p.registrar.Run)
	}
	addStop("node", n.Stop)
	addRun("credential", p.credentials.Run)
	addRun("summary", n.Summarize)
	addRun("sweeper", p.sweeper.Run)
	addRun("census", p.census.Run)
	addRun("probe", p.prober.Run)
	addRun("supervisor", p.supervisor.Run)
	addRun("log", p.log.Run)
	addRun("userdb", keeper.Run)
	addRun("sockets", p.sockets.Run)
	addRun("traffic", p.meter.Run)
	addRun("reload", reload.run)
	if upgrade.admin != nil {
		add("admin", func() error { return ended(adminServer.Serve(upgrade.admin)) }, stop(upgrade.admin))
	}
	addRun("files", func(ctx context.Context) error {
		return watch(ctx, func() []*watched { return now.Load().api.files }, part("files"), counts.FileUsable)
	})
	addRun("events", events.Run)
	add("api", func() error { return ended(api.Serve(at.api)) }, stop(at.api.gate))
	add("web", func() error { return ended(serveWeb(f, part("web"))(webServer, at.web)) }, stop(at.web))

	part("api").Info("listening", "address", at.api.Addr())
	part("web").Info("listening", "address", at.web.Addr())
	return g.run()
}

// nerve is what Prometheus' nerve_sd_configs reads: where our metrics are.
func (s *site) nerve() []byte {
	addr := s.web.Addr().(*net.TCPAddr).AddrPort()
	host := addr.Addr().Unmap().String()
	if addr.Addr().IsUnspecified() {
		host, _, _ = net.SplitHostPort(s.restAddr)
	}
	data, _ := json.Marshal(struct { // strings and numbers always marshal
		Host string `json:"host"`
		Port uint16 `json:"port"`
		Name string `json:"name"`
	}{host, addr.Port(), s.cfg.Node})
	return data
}

// stateFile keeps the generations of each mode apart: those of one are none of the
// other's.
var stateFile = map[string]string{"user": "credentials.json", "secret": "secrets.json"}

// store is where credentials are written for turnserver to find.
func (s *site) store(cfg config.Node) credential.Store {
	if cfg.Credentials.Mode == "secret" {
		return sqlite.NewSecrets(s.userdb)
	}
	if cfg.Credentials.UserDB == "sqlite" {
		return sqlite.NewUsers(s.userdb)
	}
	return turnadmin.New(cfg.Coturn.Turnadmin, s.userdb.File, s.userdb)
}

// serveWeb serves the web listener as --web.config.file says.
func serveWeb(f flags, logger *slog.Logger) func(*http.Server, net.Listener) error {
	return func(server *http.Server, l net.Listener) error {
		systemd := false
		return toolkit.Serve(l, server, &toolkit.FlagConfig{WebConfigFile: &f.webConfigFile, WebSystemdSocket: &systemd}, logger)
	}
}

func ended(err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve HTTP: %w", err)
}

// stop lets requests under way end.
func stop(g *gate.Gate) func(error) { return func(error) { g.Stop() } }
