package supervisor

import "net/netip"

// UDPSockets counts the UDP sockets of this network namespace on the ports from
// low to high: with coturn's relay range, how many of its ports are taken.
func UDPSockets(low, high uint16) (int, error) {
	sockets, err := bound(func(a netip.AddrPort) bool { return low <= a.Port() && a.Port() <= high })
	n := 0
	for _, s := range sockets {
		if s.Network == "udp" {
			n++
		}
	}
	return n, err
}
