// Package gate is where connections come in. It bounds how many there are, and a server
// behind it can be parked for a while and stopped without a client noticing: whoever has
// connected is answered. http.Server.Shutdown is no such thing: it leaves those unanswered
// who have connected and whose first request is still on its way.
package gate

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Socket is what the kernel queues connections on.
type Socket interface {
	net.Listener
	SetDeadline(t time.Time) error
	syscall.Conn
}

// Gate is a socket with the connections of the server that it guards.
type Gate struct {
	Socket
	limit  int
	server *http.Server

	listening sync.Once

	mu      sync.Mutex
	conns   map[net.Conn]*conn
	clients map[netip.Addr]map[net.Conn]*conn // the same, by whose they are
	proxies []netip.Prefix
	turns   int64         // how often a connection has become idle
	opened  chan struct{} // closed while the gate is open
	parked  chan struct{} // closed while nobody is let in

	closed    chan struct{} // at the end
	closeOnce sync.Once
}

type conn struct {
	leave    context.CancelCauseFunc // ends its requests' contexts
	client   netip.Addr              // zero = nobody in particular
	idle     int64                   // since which turn; 0 = a request is being answered
	answered bool                    // one has been
}

// New returns an open gate. It bounds the connections and so their memory and file
// descriptors: when there are too many, those that have been idle for longest are closed.
// Who only holds connections open does not keep others out, as a listener would that
// stops accepting. One client has an eighth at most. A limit of 0 is none.
func New(s Socket, limit int) *Gate {
	g := &Gate{
		Socket: s, limit: limit, conns: map[net.Conn]*conn{}, clients: map[netip.Addr]map[net.Conn]*conn{},
		opened: make(chan struct{}), parked: make(chan struct{}), closed: make(chan struct{}),
	}
	close(g.opened)
	return g
}

// Guard follows the connections of the server, which is to serve on the gate, perhaps with
// TLS in between.
func (g *Gate) Guard(s *http.Server) {
	g.server = s
	with := s.ConnContext
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if with != nil {
			ctx = with(ctx, c)
		}
		return g.enter(ctx, c)
	}
	s.ConnState = g.follow
}

func (g *Gate) enter(ctx context.Context, c net.Conn) context.Context {
	ctx, leave := context.WithCancelCause(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turns++
	entered := &conn{leave: leave, idle: g.turns}
	g.conns[c] = entered
	g.join(c, entered)
	if g.limit > 0 && len(g.conns) > g.limit {
		g.makeRoom(g.conns, 1+g.limit/16)
	}
	return ctx
}

func (g *Gate) follow(nc net.Conn, state http.ConnState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.conns[nc]
	switch {
	case c == nil: // it had to make room
	case state == http.StateActive:
		c.idle = 0
	case state == http.StateIdle:
		g.turns++
		c.idle, c.answered = g.turns, true
	case state != http.StateNew:
		g.forget(nc, c)
	}
}

// makeRoom closes up to half of what is idle, the oldest first, and so many at once that
// a flood of connections does not cost a look at all of them for each. With all others
// busy, it is the new one that goes.
func (g *Gate) makeRoom(among map[net.Conn]*conn, most int) {
	var idle []net.Conn
	for nc, c := range among {
		if c.idle != 0 {
			idle = append(idle, nc)
		}
	}
	slices.SortFunc(idle, func(a, b net.Conn) int { return int(g.conns[a].idle - g.conns[b].idle) })
	for _, nc := range idle[:min((len(idle)+1)/2, most)] {
		hangUp(nc)
		g.forget(nc, g.conns[nc])
	}
}

func (g *Gate) forget(nc net.Conn, c *conn) {
	c.leave(nil)
	delete(g.conns, nc)
	g.part(nc, c)
}

// hangUp says no farewell, for which TLS would wait.
func hangUp(nc net.Conn) {
	if over, ok := nc.(*tls.Conn); ok {
		nc = over.NetConn()
	}
	_ = nc.Close()
}

// Accept implements net.Listener for the server.
func (g *Gate) Accept() (net.Conn, error) {
	g.listening.Do(func() { guarded(g.server) })
	for {
		c, err := g.Socket.Accept()
		if err == nil {
			return c, nil
		}
		g.mu.Lock()
		opened, parked := g.opened, g.parked
		g.mu.Unlock()
		select {
		case <-g.closed:
			return nil, http.ErrServerClosed
		default:
		}
		if !os.IsTimeout(err) {
			return nil, err
		}
		select {
		case <-opened: // again already
		default:
			close(parked)
		}
		select {
		case <-opened:
		case <-g.closed:
			return nil, http.ErrServerClosed
		}
	}
}

// Close implements net.Listener: who comes now is told so.
func (g *Gate) Close() error {
	g.closeOnce.Do(func() { close(g.closed) })
	return g.Socket.Close()
}
