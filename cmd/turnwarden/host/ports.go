package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

// OwnAddresses refuses addresses that are not this host's. With a foreign
// listening-ip coturn serves nobody and exits after a minute; with a foreign
// relay-ip, such as the public side of a NAT, each Allocate costs 131,070 lines of
// log and ends in 508.
func OwnAddresses(ctx context.Context, conf *coturn.Conf) error {
	var lc net.ListenConfig
	for option, addrs := range map[string][]netip.Addr{"listening-ip": conf.ListeningIPs, "relay-ip": conf.RelayIPs} {
		for _, a := range addrs {
			p, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(a, 0).String())
			if err != nil {
				return fmt.Errorf("%s: %s=%s is no address of this host (%w); name one that `ip addr` shows, and a NAT's public address in external-ip", conf.Path, option, a, err)
			}
			_ = p.Close()
		}
	}
	return nil
}

// freePorts ends what a killed turnwarden left behind, and refuses to start
// beside anybody else's server: SO_REUSEPORT would let both run and split the
// clients between them.
func (h *Host) freePorts(from *handover.Inherited, logger *slog.Logger) error {
	if !from.Fresh() {
		return nil // our own child has them, and the prober looks for others
	}
	rendered := Rendered(h.Config)
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
	return CheckPorts(h.Conf, 0)
}

// listening is what turnserver will listen on, as far as its configuration says.
func listening(conf *coturn.Conf) []netip.AddrPort {
	ports := []int{conf.ListeningPort}
	if conf.TLS || conf.DTLS {
		ports = append(ports, conf.TLSListeningPort)
	}
	addrs := conf.ListeningIPs
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

// CheckPorts names whoever but pid holds one of turnserver's ports.
func CheckPorts(conf *coturn.Conf, pid int) error {
	foreign, err := supervisor.Foreign(pid, listening(conf))
	if err != nil {
		return fmt.Errorf("look for other servers on turnserver's ports: %w", err)
	}
	if len(foreign) > 0 {
		return fmt.Errorf("%s; stop it, or give one of the two another listening-port", foreign[0])
	}
	return nil
}
