package coturn

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
)

// URIs are what a client may be given to reach this host, as in RFC 7065: one
// for each address and each transport that is on. Where coturn listens on every
// address, fallback stands for them; an external address takes the place of
// the one behind it. Clients hold a certificate against the URI, so tlsName,
// unless it is empty, stands for the addresses in those with TLS.
func (c *Conf) URIs(fallback netip.Addr, tlsName string) []string {
	var uris []string
	for i, ip := range c.reachable(fallback) {
		if c.UDP {
			uris = append(uris, uri("turn", ip.String(), c.ListeningPort, "udp"))
		}
		if c.TCP {
			uris = append(uris, uri("turn", ip.String(), c.ListeningPort, "tcp"))
		}
		switch {
		case c.TLS && tlsName == "":
			uris = append(uris, uri("turns", ip.String(), c.TLSListeningPort, "tcp"))
		case c.TLS && i == 0:
			uris = append(uris, uri("turns", tlsName, c.TLSListeningPort, "tcp"))
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

func uri(scheme, host string, port int, transport string) string {
	return fmt.Sprintf("%s:%s?transport=%s", scheme, net.JoinHostPort(host, strconv.Itoa(port)), transport)
}

// CheckAdvertised says why clients should not have been told this relayed address,
// nil if it is what the configuration announces. coturn replaces an address only
// where external-ip names exactly that one, or none, as the private side: with any
// other it tells clients the private one, and warns of nothing (4.6.1).
func (c *Conf) CheckAdvertised(relayed netip.Addr) error {
	var public []netip.Addr
	for _, e := range c.ExternalIPs {
		if e.Public.Is4() == relayed.Is4() {
			public = append(public, e.Public)
		}
	}
	own := c.RelayIPs
	if len(own) == 0 {
		own = c.ListeningIPs
	}
	private := !relayed.IsGlobalUnicast() || relayed.IsPrivate()
	switch {
	case slices.Contains(public, relayed):
		return nil
	case len(public) > 0 && private:
		return fmt.Errorf("clients are told the relayed address %v, though external-ip says %v: write external-ip=PUBLIC/%v, or PUBLIC alone", relayed, public, relayed)
	case len(own) > 0 && !slices.Contains(own, relayed) && !slices.ContainsFunc(own, netip.Addr.IsUnspecified):
		return fmt.Errorf("clients are told the relayed address %v, which is none of this host's %v nor an external-ip", relayed, own)
	}
	return nil
}
