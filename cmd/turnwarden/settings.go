package main

import (
	"time"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/config"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/credential"
	"github.com/turnwarden/turnwarden/service/node"
	"github.com/turnwarden/turnwarden/service/probe"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// What the parts are told of a site, at the start and when it has changed.

func (s *site) facts() node.Facts {
	return node.Facts{
		Node: s.cfg.Node, Mode: coturn.Mode(s.cfg.Credentials.Mode), Region: s.cfg.Registry.Region, Zone: s.cfg.Registry.Zone,
		RESTAddr: s.restAddr, RESTScheme: s.api.scheme, URIs: s.conf.URIs(s.outside, tlsName(s.conf, s.cfg.Registry.Advertise)), Version: version.Version, Coturn: s.version, RelayPorts: s.relayPorts(),
		RotateEvery: s.cfg.Credentials.RotateEvery, ProbeTimeout: s.cfg.Probe.Timeout, NoSTUN: s.conf.NoSTUN, RelayFree: s.relayFree,
		Running: s.running, Listeners: s.listeners, LoopbackPeers: s.conf.AllowLoopbackPeers,
	}
}

// running is the release of the child, which is not always the installed one.
func (s *site) running() coturn.Version {
	if r := s.runtime.Load(); r != nil {
		return r.Version
	}
	return s.version
}

// configure tells the parts that have settings of their own.
func (s *site) configure(p *parts, hurry <-chan struct{}) {
	p.supervisor.Configure(restartPolicy(s.cfg))
	p.prober.Configure(probeConfig(s.cfg))
	p.credentials.Configure(s.credentialConfig())
	p.meter.Configure(s.source, trafficConfig(s.cfg))
	p.sockets.Configure(uint16(s.conf.MinPort), uint16(s.conf.MaxPort), s.cfg.Traffic.Interval)
	p.drainer.Configure(drainConfig(s.cfg, hurry))
	if p.registrar != nil {
		p.registrar.Configure(s.cfg.Traffic.Interval, s.cfg.Registry.MaxDraining, s.nerve())
	}
}

func restartPolicy(cfg config.Node) supervisor.Policy {
	return supervisor.Policy{Delay: cfg.Coturn.RestartDelay, Max: cfg.Coturn.RestartDelayMax, StableAfter: cfg.Coturn.StableAfter}
}

func probeConfig(cfg config.Node) probe.Config {
	return probe.Config{Interval: cfg.Probe.Interval, Timeout: cfg.Probe.Timeout, FailAfter: cfg.Probe.FailAfter}
}

func (s *site) credentialConfig() credential.Config {
	return credential.Config{Node: s.cfg.Node, Realm: s.conf.Realm, Lifetime: s.cfg.Credentials.Lifetime, RotateEvery: s.cfg.Credentials.RotateEvery}
}

// stopLimit is what an orderly stop may take.
func (s *site) stopLimit() time.Duration {
	return s.cfg.Coturn.DrainTimeout + s.cfg.Coturn.StopTimeout + 15*time.Second
}
