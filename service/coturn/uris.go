package coturn

import (
	"fmt"
	"net/netip"
	"slices"
)

// URIs are what a client may be given to reach this host, as in RFC 7065: one
// for each address and each transport that is on. Where coturn listens on every
// address, fallback stands for them; an external address takes the place of
// the one behind it.
func (c *Conf) URIs(fallback netip.Addr) []string {
	var uris []string
	for _, ip := range c.reachable(fallback) {
		if c.UDP {
			uris = append(uris, uri("turn", ip, c.ListeningPort, "udp"))
		}
		if c.TCP {
			uris = append(uris, uri("turn", ip, c.ListeningPort, "tcp"))
		}
		if c.TLS {
			uris = append(uris, uri("turns", ip, c.TLSListeningPort, "tcp"))
		}
	}
	return uris
}

// reachable are the addresses to tell clients, each once.
func (c *Conf) reachable(fallback netip.Addr) []netip.Addr {
	listening := c.ListeningIPs
	if len(listening) == 0 {
		listening = []netip.Addr{fallback}
	}
	var ips []netip.Addr
	for _, ip := range listening {
		if ip.IsUnspecified() {
			ip = fallback
		}
		if ip = c.external(ip); ip.IsValid() && !slices.Contains(ips, ip) {
			ips = append(ips, ip)
		}
	}
	return ips
}

// external is what the NAT in front of the host makes of one of its addresses.
func (c *Conf) external(ip netip.Addr) netip.Addr {
	for _, e := range c.ExternalIPs {
		if e.Private == ip || !e.Private.IsValid() && e.Public.Is4() == ip.Is4() {
			return e.Public
		}
	}
	return ip
}

func uri(scheme string, ip netip.Addr, port int, transport string) string {
	return fmt.Sprintf("%s:%v?transport=%s", scheme, netip.AddrPortFrom(ip, uint16(port)), transport)
}
