package supervisor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// Socket is a UDP socket, or a TCP socket that listens.
type Socket struct {
	Network string // "udp" or "tcp"
	Addr    netip.AddrPort
	UID     uint32 // of whoever opened it
	Inode   uint64
	PID     int    // a process that holds it; 0 = cannot be known
	Command string // the name of PID
}

// String says who holds the socket, or how to find out where we may not look.
func (s Socket) String() string {
	if s.PID != 0 {
		return fmt.Sprintf("%s %s is held by pid %d (%s)", s.Network, s.Addr, s.PID, s.Command)
	}
	return fmt.Sprintf("%s %s is held by a process of uid %d that cannot be seen from here; find it with: ss -lnp%c 'sport = :%d'",
		s.Network, s.Addr, s.UID, s.Network[0], s.Addr.Port())
}

// PortOwners lists the sockets on a port of this network namespace.
func PortOwners(port uint16) ([]Socket, error) {
	sockets, err := bound(func(a netip.AddrPort) bool { return a.Port() == port })
	if err != nil {
		return nil, err
	}
	return sockets, name(sockets)
}

// Foreign lists the sockets that take clients away from a child that listens on
// listen, where an address that is zero or unspecified means every address: the
// kernel lets two turnservers of one uid bind the same port, and splits the
// clients between them. ownPID is the child, 0 while none runs; all it holds is
// its own, as coturn opens a socket on the port for each of its threads.
func Foreign(ownPID int, listen []netip.AddrPort) ([]Socket, error) {
	match := func(a netip.AddrPort) bool {
		return slices.ContainsFunc(listen, func(l netip.AddrPort) bool { return conflict(a, l) })
	}
	first, err := others(ownPID, match)
	if err != nil || len(first) == 0 {
		return nil, err
	}
	// A socket that was closed after the kernel's list was read is held by
	// nobody any more. It is not in a second list, so two looks must agree.
	second, err := others(ownPID, match)
	if err != nil {
		return nil, err
	}
	foreign := slices.DeleteFunc(second, func(s Socket) bool {
		return !slices.ContainsFunc(first, func(f Socket) bool { return f.Inode == s.Inode })
	})
	return foreign, name(foreign)
}

// Listeners lists the UDP and the TCP addresses on which pid listens on one of
// the ports: where a turnserver.conf names no listening-ip, only coturn itself
// knows which addresses it took.
func Listeners(pid int, ports ...uint16) (udp, tcp []netip.AddrPort, err error) {
	sockets, err := bound(func(a netip.AddrPort) bool { return slices.Contains(ports, a.Port()) })
	if err != nil {
		return nil, nil, err
	}
	own, err := inodes(pid)
	if err != nil {
		return nil, nil, fmt.Errorf("read the sockets of pid %d: %w", pid, err)
	}
	for _, s := range sockets {
		switch {
		case !own[s.Inode]:
		case s.Network == "udp":
			udp = append(udp, s.Addr)
		default:
			tcp = append(tcp, s.Addr)
		}
	}
	return distinct(udp), distinct(tcp), nil
}

// distinct sorts, and drops the repetitions that come from a socket per thread.
func distinct(addrs []netip.AddrPort) []netip.AddrPort {
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return slices.Compact(addrs)
}

// conflict tells whether two sockets on these addresses meet the same packets.
// The kernel does not tell whether a socket on [::] takes IPv4 too. It does
// unless it asked not to, so it counts as every address.
func conflict(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	x, y := a.Addr().Unmap(), b.Addr().Unmap()
	every := func(ip netip.Addr) bool { return !ip.IsValid() || ip == netip.IPv6Unspecified() }
	switch {
	case every(x), every(y):
		return true
	case x.IsUnspecified(), y.IsUnspecified(): // 0.0.0.0
		return x.Is4() == y.Is4()
	default:
		return x.WithZone("") == y.WithZone("") // the kernel's list has no zones
	}
}

// bound lists the matching sockets of this network namespace, holders unknown.
func bound(match func(netip.AddrPort) bool) ([]Socket, error) {
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	var found []Socket
	add := func(network string, lines procfs.NetIPSocket, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("read the list of %s sockets: %w", network, err)
		}
		const listen = 10 // TCP_LISTEN; UDP sockets have no such state
		for _, l := range lines {
			ip, _ := netip.AddrFromSlice(l.LocalAddr)
			addr := netip.AddrPortFrom(ip.Unmap(), uint16(l.LocalPort))
			if (network == "udp" || l.St == listen) && match(addr) {
				found = append(found, Socket{Network: network, Addr: addr, UID: uint32(l.UID), Inode: l.Inode})
			}
		}
		return nil
	}
	udp, err4 := proc.NetUDP()
	udp6, err6 := proc.NetUDP6()
	// Deprecated for hosts with very many connections. Here one list in five
	// seconds is cheap, and netlink would be a second library for the same facts.
	tcp, errTCP4 := proc.NetTCP()   //nolint:staticcheck
	tcp6, errTCP6 := proc.NetTCP6() //nolint:staticcheck
	return found, errors.Join(
		add("udp", procfs.NetIPSocket(udp), err4), add("udp", procfs.NetIPSocket(udp6), err6),
		add("tcp", procfs.NetIPSocket(tcp), errTCP4), add("tcp", procfs.NetIPSocket(tcp6), errTCP6))
}

// others lists the matching sockets that pid does not hold.
func others(pid int, match func(netip.AddrPort) bool) ([]Socket, error) {
	sockets, err := bound(match)
	if err != nil || pid == 0 || len(sockets) == 0 {
		return sockets, err
	}
	own, err := inodes(pid)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		// Then its own sockets would look foreign.
		return nil, fmt.Errorf("read the sockets of our turnserver, pid %d: %w; run as its user, or as root with CAP_SYS_PTRACE", pid, err)
	}
	return slices.DeleteFunc(sockets, func(s Socket) bool { return own[s.Inode] }), nil
}

// name finds the processes that hold the sockets, as far as we may look.
func name(sockets []Socket) error {
	if len(sockets) == 0 {
		return nil
	}
	procs, err := procfs.AllProcs()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	slices.SortFunc(procs, func(a, b procfs.Proc) int { return cmp.Compare(a.PID, b.PID) })
	for _, p := range procs {
		held, err := inodes(p.PID)
		if err != nil {
			continue // it has ended, or is not ours to look into: PID stays 0
		}
		for i := range sockets {
			if s := &sockets[i]; s.PID == 0 && held[s.Inode] {
				s.PID = p.PID
				s.Command, _ = p.Comm()
			}
		}
	}
	return nil
}

// inodes are the sockets that pid holds.
func inodes(pid int) (map[uint64]bool, error) {
	held, _, err := descriptors(pid)
	return held, err
}

// descriptors are the sockets that pid holds, and how many files of all kinds.
func descriptors(pid int) (held map[uint64]bool, open int, err error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return nil, 0, err
	}
	targets, err := p.FileDescriptorTargets()
	if err != nil {
		return nil, 0, err
	}
	held = make(map[uint64]bool)
	for _, t := range targets {
		inode, isSocket := strings.CutPrefix(t, "socket:[")
		if !isSocket {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSuffix(inode, "]"), 10, 64); err == nil {
			held[n] = true
		}
	}
	return held, len(targets), nil
}
