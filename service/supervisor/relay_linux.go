package supervisor

import (
	"net/netip"
	"slices"
)

// UDPSockets counts the UDP sockets of this network namespace on the ports from
// low to high: with coturn's relay range, how many of its ports are taken.
func UDPSockets(low, high uint16) (int, error) {
	sockets, err := bound(within(low, high))
	n := 0
	for _, s := range sockets {
		if s.Network == "udp" {
			n++
		}
	}
	return n, err
}

// RelaySockets counts the sockets that pid holds on the ports from low to high: one
// for each relay over UDP, and a listening one for each over TCP (RFC 6062). The ports
// that it listens on for clients, which a wide range includes, are no relays.
func RelaySockets(pid int, low, high uint16, listening ...uint16) (int, error) {
	sockets, err := bound(within(low, high))
	if err != nil {
		return 0, err
	}
	own, err := inodes(pid)
	n := 0
	for _, s := range sockets {
		if own[s.Inode] && !slices.Contains(listening, s.Addr.Port()) {
			n++
		}
	}
	return n, err
}

func within(low, high uint16) func(netip.AddrPort) bool {
	return func(a netip.AddrPort) bool { return low <= a.Port() && a.Port() <= high }
}
