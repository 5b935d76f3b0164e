package host

import (
	"github.com/prometheus/common/version"

	"encoding/json"
	"net"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/node"
)

// What the parts are told of a site, at the start and when it has changed.

func (s *Host) Facts() node.Facts {
	return node.Facts{
		Node: s.Config.Node, Mode: coturn.Mode(s.Config.Credentials.Mode), Region: s.Config.Registry.Region, Zone: s.Config.Registry.Zone,
		RESTAddr: s.restAddr, RESTScheme: s.API.scheme, URIs: s.Conf.URIs(s.outside, TLSName(s.Conf, s.Config.Registry.Advertise)), Version: version.Version, Coturn: s.Version, RelayPorts: s.relayPorts(),
		RotateEvery: s.Config.Credentials.RotateEvery, ProbeTimeout: s.Config.Probe.Timeout, NoSTUN: s.Conf.NoSTUN, RelayFree: s.RelayFree,
		Running: s.Running, Listeners: s.listeners, LoopbackPeers: s.Conf.AllowLoopbackPeers,
	}
}

// Running is the release of the child, which is not always the installed one.
func (s *Host) Running() coturn.Version {
	if r := s.runtime.Load(); r != nil {
		return r.Version
	}
	return s.Version
}

// Nerve is what Prometheus' nerve_sd_configs reads: where our metrics are.
func (s *Host) Nerve() []byte {
	addr := s.Web.Addr().(*net.TCPAddr).AddrPort()
	host := addr.Addr().Unmap().String()
	if addr.Addr().IsUnspecified() {
		host, _, _ = net.SplitHostPort(s.restAddr)
	}
	data, _ := json.Marshal(struct { // strings and numbers always marshal
		Host string `json:"host"`
		Port uint16 `json:"port"`
		Name string `json:"name"`
	}{host, addr.Port(), s.Config.Node})
	return data
}
