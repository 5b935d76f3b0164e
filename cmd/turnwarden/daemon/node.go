package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/upgrade"
	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
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
func runNode(o commandLine, logger *slog.Logger, tail *journal.Tail, stdout io.Writer, s *signals, thread *supervisor.Thread) error {
	from, err := handover.Inherit(o.selfCheck)
	if err != nil {
		return service.Refuse(err)
	}
	cfg, err := config.LoadNode(o.config)
	if err != nil {
		return service.Refuse(err)
	}
	kept := journal.New(logger.Handler())
	childLogger := logger.With("part", "turnserver") // whose lines are turnserver's words, not ours
	logger = slog.New(kept)
	if err := host.HideMemory(); err != nil {
		logger.Warn("a core dump could hold passwords", "err", err)
	}
	at, err := host.Open(context.Background(), cfg, o.web, from, logger)
	if err != nil {
		return service.Refuse(err)
	}
	defer at.Close()
	if o.selfCheck {
		fmt.Fprintf(stdout, "turnwarden %s can go on\n", version.Version)
		return nil
	}
	logger.Info("starting turnwarden", "version", version.Info(), "node", cfg.Node, "coturn", at.Version, "realm", at.Conf.Realm)

	part := func(name string) *slog.Logger { return logger.With("part", name) }
	counts := metrics.New()
	counts.Reload.Reloaded(true)
	now := &host.Current{Logger: part("reload")}
	now.Store(at)
	n := node.New(at.Facts(), part("node"))
	p := &parts{node: n, log: calls.NewLog(childLogger), journal: kept}
	if p.maintenance, err = node.OpenMaintenance(filepath.Join(cfg.Credentials.StateDir, "maintenance")); err != nil {
		return service.Refuse(err)
	}
	p.supervisor = supervisor.New(now.Starter(p.log, s.hurry, thread), restartPolicy(cfg), n.ChildChanged, part("supervisor"), counts.Supervisor)
	p.prober = probe.New(probeConfig(cfg),
		probe.Node{
			Target: n.Target, Credential: n.ProbeCredential, Notify: n.ProbeChanged,
			Owners:     func(pid int) error { return host.CheckPorts(now.Load().Conf, pid) },
			RelayFree:  func() bool { return now.Load().RelayFree() },
			Advertised: func(a netip.Addr) error { return now.Load().Conf.CheckAdvertised(a) },
			Waited:     supervisor.Waited,
		},
		part("probe"), counts.Probe)
	p.credentials = credential.New(credentialConfig(at),
		at.Store(), n, credential.NewFile(host.StateFile(cfg)),
		n.CredentialChanged, part("credential"), counts.Credential)
	cli := coturn.NewCLI(at.CLIRuntime, func() int { return now.Load().Conf.ListeningPort })
	p.sweeper = calls.NewSweeper(cli, part("sweeper"), counts.Cancelled)
	pid := func() int { return p.supervisor.Child().PID }
	p.census = calls.NewCensus(p.log, pid, cli, func(pid int) (int, error) { return now.Load().RelaySockets(pid) },
		func() coturn.Version { return now.Load().Running() }, part("census"))
	p.sockets = supervisor.NewSocketMeter(pid, uint16(at.Conf.MinPort), uint16(at.Conf.MaxPort), cfg.Traffic.Interval, part("sockets"))
	p.meter = traffic.NewMeter(at.Source, host.TrafficConfig(cfg), n.Sampled, part("traffic"))
	if len(cfg.Registry.ZooKeeper) > 0 {
		p.registrar = registry.New(registry.Config{
			Directory: at.Directory, Node: cfg.Node, Path: cfg.Registry.Path, Interval: cfg.Traffic.Interval,
			PrometheusPath: cfg.Registry.PrometheusPath, Prometheus: at.Nerve(), MaxDraining: cfg.Registry.MaxDraining,
		}, n.Publication, part("registry"), counts.Registry)
	}
	events := transport.NewEvents(n.Status, at.API.Subscribers)
	reload := &host.Reloader{Path: o.config, Web: o.web, Now: now, Status: n.Status, Supervisor: p.supervisor, Logger: part("reload"), Reloaded: counts.Reload.Reloaded}
	emptied := drain.Parts{Node: n, Child: n, Stage: reload.Stage}
	if p.registrar != nil {
		emptied.Lock = p.registrar.Draining()
	}
	p.drainer = drain.New(drainConfig(cfg, s.hurry), emptied, part("drain"))
	reload.Drain = p.drainer.Drain
	p.join(events.Kick)
	if !from.Fresh() {
		p.supervisor.Adopt(at.Restore(from, at.Command(p.log, s.hurry, thread)))
		p.savers().Restore(from.Node)
	}
	keeper, err := at.UserDB.Keep(context.Background(), part("userdb"))
	if err != nil {
		return service.Refuse(err)
	}
	counts.Observe(n.Status)

	routes := host.NewRoutes(func(access transport.Access) http.Handler {
		return transport.NewAPIHandler(transport.NewEndpoints(n), counts.Instrument, transport.APIOptions{Access: access, Status: n.Status, Events: events})
	}, at.API.Access)
	api := host.NewServer(routes, at.API.Gate, part("api"))
	now.Tell = func(was, is *host.Host) {
		n.Configure(is.Facts())
		configure(is, p, s.hurry)
		if was.API != is.API {
			is.API.Gate.Trust(is.API.Access.Proxies)
			routes.Use(is.API.Access)
		}
	}
	pages, err := web.NewHandler(o.web.TelemetryPath, counts.Handler(logger), n.Status, counts.Instrument)
	if err != nil {
		return service.Refuse(err)
	}
	webRoutes := http.NewServeMux()
	webRoutes.Handle("/", pages)
	probes := &gate.Lasting{Next: metrics.ProbeHandler(func() []probe.Allow { return now.Load().Config.Probe.Allowed() })}
	webRoutes.Handle("GET /probe", counts.Instrument("/probe", probes,
		http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusServiceUnavailable))
	webServer := host.NewServer(webRoutes, at.Web, part("web"))
	upgrader := &upgrade.Upgrader{
		Now: now, Parts: p, Alone: s.alone, Thread: thread, Logger: part("upgrade"), From: from,
		Gates: []*gate.Gate{at.API.Gate, at.Web}, Lasting: probes, Requests: make(chan *admin.Reply, 1),
	}
	reload.Hangups, upgrader.Asked = s.subscribe(syscall.SIGHUP), s.subscribe(syscall.SIGUSR2)
	var adminServer *http.Server
	if at.Admin != nil {
		handler := admin.WithUpgrade(admin.NewHandler(operated{n, p.drainer}, admin.Watched{Status: n.Status, Log: tail, Reload: reload.Reload}), upgrader.Request)
		adminServer = &http.Server{Handler: handler, ConnContext: admin.ConnContext, ErrorLog: host.NewHTTPLog(part("admin")), ReadHeaderTimeout: 5 * time.Second}
		upgrader.Admin = gate.New(at.Admin.(gate.Socket), 0)
		upgrader.Admin.Guard(adminServer)
	}

	stopped := make(chan struct{})
	defer close(stopped)
	notify := &notifier{nodeState(n.Status), part("notify"), func() time.Duration { return stopLimit(now.Load().Config) }}
	g := &actors{logger: logger}
	add, addRun, addStop := g.add, g.addRun, g.addStop
	addRun("signals", func(ctx context.Context) error { return s.run(ctx, stopped) })
	addRun("upgrade", upgrader.Run)
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
	addRun("reload", reload.Run)
	if upgrader.Admin != nil {
		add("admin", func() error { return host.Ended(adminServer.Serve(upgrader.Admin)) }, host.Stop(upgrader.Admin))
	}
	addRun("files", func(ctx context.Context) error {
		return host.Watch(ctx, func() []*host.Watched { return now.Load().API.Files }, part("files"), counts.FileUsable)
	})
	addRun("events", events.Run)
	add("api", func() error { return host.Ended(api.Serve(at.API)) }, host.Stop(at.API.Gate))
	add("web", func() error { return host.Ended(o.web.Serve(part("web"))(webServer, at.Web)) }, host.Stop(at.Web))

	part("api").Info("listening", "address", at.API.Addr())
	part("web").Info("listening", "address", at.Web.Addr())
	return g.run()
}
