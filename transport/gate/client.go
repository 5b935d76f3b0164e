package gate

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
)

// share is the part of all connections that one client may have.
const share = 8

// Client returns what stands for a client: its address or, of IPv6, the /64, for whoever
// has one of its addresses has them all.
func Client(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		p, _ := addr.Prefix(64) // 64 bits are in every IPv6 address
		addr = p.Addr()
	}
	return addr
}

// Trust has proxies be no clients: they bring many, whom the handler behind the gate tells
// apart. This host itself is none either.
func (g *Gate) Trust(proxies []netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.proxies = proxies
}

// PerClient returns how many connections one client may have; 0 = any number.
func (g *Gate) PerClient() int { return (g.limit + share - 1) / share }

// client returns who has connected; the zero address is nobody in particular.
func (g *Gate) client(nc net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	addr := ap.Addr().Unmap().WithZone("")
	if err != nil || addr.IsLoopback() || slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Addr{}
	}
	return Client(addr)
}

// join counts a connection to its client's.
func (g *Gate) join(nc net.Conn, c *conn) {
	if c.client = g.client(nc); g.limit == 0 || !c.client.IsValid() {
		return
	}
	mine := g.clients[c.client]
	if mine == nil {
		mine = map[net.Conn]*conn{}
		g.clients[c.client] = mine
	}
	mine[nc] = c
	if len(mine) > g.PerClient() {
		g.makeRoom(mine, 1)
	}
}

func (g *Gate) part(nc net.Conn, c *conn) {
	if mine := g.clients[c.client]; mine != nil {
		if delete(mine, nc); len(mine) == 0 {
			delete(g.clients, c.client)
		}
	}
}

// guarded has the server's handler see whole requests. It is done when the server listens
// and not before: what is put in front of the handler until then, as a request for a
// password, answers requests whose body nobody reads, too.
func guarded(s *http.Server) {
	if s.Handler == nil {
		s.Handler = http.NotFoundHandler()
	}
	s.Handler = bodies(s.Handler)
}
