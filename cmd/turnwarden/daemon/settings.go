package daemon

import (
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/drain"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// noticeIntervals is how many intervals a reader may take to notice that a record has
// changed: one that sees it stand still for longer gives the node up.
const noticeIntervals = 3

func drainConfig(cfg config.Node, hurry <-chan struct{}) drain.Config {
	return drain.Config{
		Limit:          cfg.Coturn.DrainTimeout,
		Notice:         max(noticeIntervals*cfg.Traffic.Interval, cfg.Registry.SessionTimeout),
		SessionTimeout: cfg.Registry.SessionTimeout, Hurry: hurry,
	}
}

// configure tells the parts that have settings of their own.
func configure(at *host.Host, p *parts, hurry <-chan struct{}) {
	p.supervisor.Configure(restartPolicy(at.Config))
	p.prober.Configure(probeConfig(at.Config))
	p.credentials.Configure(credentialConfig(at))
	p.meter.Configure(at.Source, host.TrafficConfig(at.Config))
	p.sockets.Configure(uint16(at.Conf.MinPort), uint16(at.Conf.MaxPort), at.Config.Traffic.Interval)
	p.drainer.Configure(drainConfig(at.Config, hurry))
	if p.registrar != nil {
		p.registrar.Configure(at.Config.Traffic.Interval, at.Config.Registry.MaxDraining, at.Nerve())
	}
}

func restartPolicy(cfg config.Node) supervisor.Policy {
	return supervisor.Policy{Delay: cfg.Coturn.RestartDelay, Max: cfg.Coturn.RestartDelayMax, StableAfter: cfg.Coturn.StableAfter}
}

func probeConfig(cfg config.Node) probe.Config {
	return probe.Config{Interval: cfg.Probe.Interval, Timeout: cfg.Probe.Timeout, FailAfter: cfg.Probe.FailAfter}
}

func credentialConfig(at *host.Host) credential.Config {
	return credential.Config{Node: at.Config.Node, Realm: at.Conf.Realm, Lifetime: at.Config.Credentials.Lifetime, RotateEvery: at.Config.Credentials.RotateEvery}
}

// stopLimit is what an orderly stop may take.
func stopLimit(cfg config.Node) time.Duration {
	return cfg.Coturn.DrainTimeout + cfg.Coturn.StopTimeout + 15*time.Second
}
