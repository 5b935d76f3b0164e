package host

import (
	"encoding/json"
	"net"

	"github.com/prometheus/common/version"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/node"
)

// Facts are what the node is told, at the start and when the host has changed.
func (h *Host) Facts() node.Facts {
	return node.Facts{
		Node: h.Config.Node, Mode: coturn.Mode(h.Config.Credentials.Mode), Region: h.Config.Registry.Region, Zone: h.Config.Registry.Zone,
		RESTAddr: h.restAddr, RESTScheme: h.API.scheme, URIs: h.Conf.URIs(h.outside, TLSName(h.Conf, h.Config.Registry.Advertise)), Version: version.Version, Coturn: h.Version, RelayPorts: h.relayPorts(),
		RotateEvery: h.Config.Credentials.RotateEvery, ProbeTimeout: h.Config.Probe.Timeout, NoSTUN: h.Conf.NoSTUN, RelayFree: h.RelayFree,
		Running: h.Running, Listeners: h.listeners, LoopbackPeers: h.Conf.AllowLoopbackPeers,
		Commands: service.Commands{
			Resume: "turnwarden resume", Restart: "turnwarden restart", MaintenanceOff: "turnwarden maintenance off", NoLock: "--no-lock",
		},
	}
}

// Running is the release of the child, which is not always the installed one.
func (h *Host) Running() coturn.Version {
	if r := h.runtime.Load(); r != nil {
		return r.Version
	}
	return h.Version
}

// Nerve is what Prometheus' nerve_sd_configs reads: where our metrics are.
func (h *Host) Nerve() []byte {
	addr := h.Web.Addr().(*net.TCPAddr).AddrPort()
	host := addr.Addr().Unmap().String()
	if addr.Addr().IsUnspecified() {
		host, _, _ = net.SplitHostPort(h.restAddr)
	}
	data, _ := json.Marshal(struct { // strings and numbers always marshal
		Host string `json:"host"`
		Port uint16 `json:"port"`
		Name string `json:"name"`
	}{host, addr.Port(), h.Config.Node})
	return data
}
