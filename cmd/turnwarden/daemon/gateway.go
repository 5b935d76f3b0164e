package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/metrics"
	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/gateway"
	"github.com/turnwarden/turnwarden/service/journal"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/gate"
	"github.com/turnwarden/turnwarden/transport/web"
)

// runGateway is the wiring of a gateway.
//
//	signalling server ── GET /turncredential, /v1/pick ──► api ──┐
//	HAProxy ──────────── agent-check ────────────────────► agent ┤
//	Prometheus ───────── GET /metrics ───────────────────► web ──┤
//	                                                             ▼
//	ZooKeeper ──► fleet.Watcher ──► fleet.Picker ──► gateway.Gateway ── GET /turncredential ──► nodes
//
// The parts first, then the actors in the order in which they stop.
func runGateway(o commandLine, logger *slog.Logger, s *signals) error {
	cfg, err := config.LoadGateway(o.config)
	if err != nil {
		return service.Refuse(err)
	}
	kept := journal.New(logger.Handler())
	logger = slog.New(kept)
	if err := host.HideMemory(); err != nil {
		logger.Warn("a core dump could hold passwords", "err", err)
	}
	at, err := prepareGateway(context.Background(), cfg, o.web, logger)
	if err != nil {
		return service.Refuse(err)
	}
	defer at.close()
	logger.Info("starting turnwarden gateway", "version", version.Info(), "address", cfg.Registry.ZooKeeper, "path", cfg.Registry.Path)

	part := func(name string) *slog.Logger { return logger.With("part", name) }
	counts := metrics.NewGateway()
	var events *transport.Events
	at.fleet.Changed = func() { events.Kick() }
	at.fleet.Logger, at.fleet.Metrics = part("fleet"), counts.Gateway
	nodes := transport.NewNodeClient(at.node)
	if err := at.useNodeToken(cfg.Gateway.Node, nodes); err != nil {
		return service.Refuse(err)
	}
	whole := gateway.New(at.fleet, nodes)
	status := func() service.GatewayStatus {
		s := whole.Status()
		s.Journal = kept.Lines()
		return s
	}
	events = transport.NewFleetEvents(status, at.api.Subscribers)
	counts.ObserveGateway(status)
	api := host.NewServer(transport.NewAPIHandler(transport.NewEndpoints(whole), counts.Instrument, transport.APIOptions{
		URIs: true, Access: at.api.Access, Fleet: status, Events: events,
	}), at.api.Gate, part("api"))
	pages, err := web.NewGatewayHandler(o.web.TelemetryPath, counts.Handler(logger), status, counts.Instrument)
	if err != nil {
		return service.Refuse(err)
	}
	webServer := host.NewServer(pages, at.web, part("web"))

	stopped := make(chan struct{})
	defer close(stopped)
	notify := &notifier{gatewayState(status), part("notify"), func() time.Duration { return 15 * time.Second }}
	g := &actors{logger: logger}
	add, addRun, addStop := g.add, g.addRun, g.addStop
	addRun("signals", func(ctx context.Context) error { return s.run(ctx, stopped) })
	addRun("notify", notify.run)
	addStop("unready", whole.Stop)
	add("api", func() error { return host.Ended(api.Serve(at.api)) }, host.Stop(at.api.Gate)) // what is under way still needs the fleet
	if at.agent != nil {
		agent := transport.NewAgent(status)
		addRun("agent", func(ctx context.Context) error { return agent.Serve(ctx, at.agent) })
	}
	addRun("events", events.Run)
	addRun("fleet", whole.Run)
	if len(at.files) > 0 {
		addRun("files", func(ctx context.Context) error {
			return host.Watch(ctx, func() []*host.Watched { return at.files }, part("files"), counts.FileUsable)
		})
	}
	add("web", func() error { return host.Ended(o.web.Serve(part("web"))(webServer, at.web)) }, host.Stop(at.web))

	part("api").Info("listening", "address", at.api.Addr())
	part("web").Info("listening", "address", at.web.Addr())
	return g.run()
}

// gatewaySite is what was found out and opened before the start.
type gatewaySite struct {
	fleet gateway.Config
	node  transport.NodeAccess
	api   *host.API
	web   *gate.Gate
	agent net.Listener // nil without one
	files []*host.Watched
}

func prepareGateway(ctx context.Context, cfg config.Gateway, web host.Web, logger *slog.Logger) (_ *gatewaySite, err error) {
	s := &gatewaySite{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	s.fleet = gateway.Config{
		Fleet: fleet.Config{Path: cfg.Registry.Path}, HedgeAfter: cfg.Gateway.HedgeAfter,
		Rules: fleet.Rules{
			Algorithm: fleet.Algorithm(cfg.Gateway.Algorithm), Region: cfg.Gateway.Region, Zone: cfg.Gateway.Zone, ReserveMbps: cfg.Gateway.ReserveMbps,
		},
	}
	names, prefixes, _ := config.SplitHosts(cfg.Gateway.Node.Hosts) // check has seen them
	s.node = transport.NodeAccess{Names: names, Prefixes: prefixes, Allow: config.Prefixes(cfg.Gateway.Node.AllowCIDRs), InsecureHTTP: cfg.Gateway.Node.InsecureHTTP}
	if s.fleet.Fleet.Directory, err = cfg.Registry.Session(); err != nil {
		return nil, err
	}
	n := cfg.Gateway.Node
	if s.node.TLS, err = (config.TLS{CAFile: n.CAFile, CertFile: n.CertFile, KeyFile: n.KeyFile}).Client(); err != nil {
		return nil, fmt.Errorf("gateway.node: %w", err)
	}
	if s.web, err = host.ListenWeb(ctx, web, new(handover.Inherited)); err != nil {
		return nil, err
	}
	if s.api, err = host.OpenAPI(ctx, cfg.API, "", new(handover.Inherited), logger); err != nil {
		return nil, err
	}
	s.files = s.api.Files
	if cfg.Gateway.AgentListen != "" {
		if s.agent, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Gateway.AgentListen); err != nil {
			return nil, fmt.Errorf("gateway.agent_listen: %w; stop what holds the port or name another", err)
		}
	}
	return s, nil
}

func (s *gatewaySite) close() {
	if s.api != nil {
		_ = s.api.Close()
	}
	if s.web != nil {
		_ = s.web.Close()
	}
	if s.agent != nil {
		_ = s.agent.Close()
	}
}

// useNodeToken reads the file of the token now, and again when it changes.
func (s *gatewaySite) useNodeToken(cfg config.NodeAccess, nodes *transport.NodeClient) error {
	if cfg.TokenFile == "" {
		return nil
	}
	file := &host.Watched{Key: "gateway.node.token_file", Paths: []string{cfg.TokenFile}, Use: func(contents [][]byte) error {
		token := string(bytes.TrimSpace(contents[0]))
		if token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
			return errors.New("found no token; accepted: one line with the token that turnwarden token NAME printed")
		}
		nodes.SetToken(service.Secret(token))
		return nil
	}}
	s.files = append(s.files, file)
	_, err := file.Look()
	return err
}
