package coturn

import (
	"fmt"
	"net/netip"
	"slices"
)

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
