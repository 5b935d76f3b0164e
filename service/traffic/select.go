package traffic

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Auto is the value of traffic.interface that leaves the choice to Select.
const Auto = "auto"

// Host is what the choice of interfaces depends on.
type Host struct {
	Interfaces    []Interface
	DefaultSource netip.Addr // invalid without a default route
}

// Interface is a network interface and the addresses it owns.
type Interface struct {
	Name  string
	Addrs []netip.Addr
}

// ReadHost asks the kernel.
func ReadHost() (Host, error) {
	var h Host
	interfaces, err := net.Interfaces()
	if err != nil {
		return h, fmt.Errorf("list network interfaces: %w", err)
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // The interface went away since the list was made.
		}
		owned := Interface{Name: i.Name}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				owned.Addrs = append(owned.Addrs, prefix.Addr().Unmap())
			}
		}
		h.Interfaces = append(h.Interfaces, owned)
	}
	// A host without a default route can still be measured by name or address.
	h.DefaultSource, _ = DefaultSource()
	return h, nil
}

// Select turns traffic.interface into the interfaces to measure. Named ones are
// summed, so each counts once. Auto takes those that own a relay address, else
// those that own a listening address, else the default route's.
func (h Host) Select(names []string, relay, listening []netip.Addr) ([]string, error) {
	if len(names) == 0 || slices.Equal(names, []string{Auto}) {
		return h.selectAuto(relay, listening)
	}
	var selected []string
	for _, name := range names {
		if !slices.ContainsFunc(h.Interfaces, func(i Interface) bool { return i.Name == name }) {
			return nil, fmt.Errorf("traffic.interface: no network interface %q; this host has %s: name one of them or write %s",
				name, h.list(), Auto)
		}
		if !slices.Contains(selected, name) {
			selected = append(selected, name)
		}
	}
	return selected, nil
}

func (h Host) selectAuto(relay, listening []netip.Addr) ([]string, error) {
	for _, addrs := range [][]netip.Addr{relay, listening, {h.DefaultSource}} {
		if owners := h.owners(addrs); len(owners) > 0 {
			return owners, nil
		}
	}
	return nil, fmt.Errorf("traffic.interface: %s found no interface with a relay-ip or listening-ip, and no default route; this host has %s: name one of them",
		Auto, h.list())
}

func (h Host) owners(addrs []netip.Addr) []string {
	var names []string
	for _, i := range h.Interfaces {
		if slices.ContainsFunc(addrs, i.owns) {
			names = append(names, i.Name)
		}
	}
	return names
}

func (i Interface) owns(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(i.Addrs, func(own netip.Addr) bool {
		// All of 127.0.0.0/8 is local although lo lists 127.0.0.1 alone.
		return own == addr || own.IsLoopback() && addr.IsLoopback() && own.Is4() == addr.Is4()
	})
}

func (h Host) list() string {
	var names []string
	for _, i := range h.Interfaces {
		names = append(names, i.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// DefaultSource is the address that this host sends from by default. Connecting
// a UDP socket makes the kernel choose it and sends no packet. The peers are
// a.root-servers.net: public, and on nobody's list of addresses to drop, as the
// blocks reserved for documentation (RFC 5737) are.
func DefaultSource() (netip.Addr, error) {
	var first error
	for _, peer := range []string{"198.41.0.4:53", "[2001:503:ba3e::2:30]:53"} {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(peer)))
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		local := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		_ = conn.Close()
		return local.Unmap(), nil
	}
	return netip.Addr{}, fmt.Errorf("find the default route's source address: %w", first)
}
