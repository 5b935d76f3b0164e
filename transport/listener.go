package transport

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Listener bounds how many connections a server has, and so its memory and its file
// descriptors. When there are too many, those that have been idle for longest are
// closed: who only holds connections open does not keep others out, as a listener would
// that stops accepting.
type Listener struct {
	*net.TCPListener
	limit int
	turns atomic.Int64 // how often a connection has become idle

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// NewListener bounds the connections of l.
func NewListener(l *net.TCPListener, limit int) *Listener {
	return &Listener{TCPListener: l, limit: limit, conns: map[*conn]struct{}{}}
}

type conn struct {
	*net.TCPConn
	listener *Listener
	idle     atomic.Int64 // since which turn; 0 = a request is being answered
	answered atomic.Bool  // one has been
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	tcp, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	c := &conn{TCPConn: tcp, listener: l}
	c.idle.Store(l.turns.Add(1))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	if len(l.conns) > l.limit {
		l.makeRoom()
	}
	return c, nil
}

// makeRoom closes up to half of what is idle, the oldest first, and so many at once that
// a flood of connections does not cost a look at all of them for each. With all others
// busy, it is the new one that goes.
func (l *Listener) makeRoom() {
	type idle struct {
		conn  *conn
		since int64
	}
	var all []idle
	for c := range l.conns {
		if since := c.idle.Load(); since != 0 {
			all = append(all, idle{c, since})
		}
	}
	slices.SortFunc(all, func(a, b idle) int { return int(a.since - b.since) })
	for _, i := range all[:min((len(all)+1)/2, 1+l.limit/16)] {
		_ = i.conn.TCPConn.Close() // not conn.Close, which would lock again
		delete(l.conns, i.conn)
	}
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.TCPConn.Close()
}

// ConnState is for the http.Server that l is for.
func (l *Listener) ConnState(nc net.Conn, state http.ConnState) {
	if over, ok := nc.(*tls.Conn); ok {
		nc = over.NetConn()
	}
	c, ok := nc.(*conn)
	switch {
	case !ok:
	case state == http.StateActive:
		c.idle.Store(0)
	case state == http.StateIdle:
		c.idle.Store(l.turns.Add(1))
		c.answered.Store(true)
	}
}

// arriving is how long who has connected may take to send the first request, at the end.
const arriving = 500 * time.Millisecond

// Shutdown lets nobody in any more and is then that of the http.Server that l is for,
// which by itself leaves those unanswered who have connected and whose first request is
// still on its way.
func (l *Listener) Shutdown(ctx context.Context, s *http.Server) error {
	_ = l.Close() // who comes now is told so
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); len(l.unanswered()) > 0 && time.Since(began) < arriving && ctx.Err() == nil; {
		<-tick.C
	}
	for _, c := range l.unanswered() {
		if c.idle.Load() != 0 {
			_ = c.Close() // s would wait five seconds for it
		}
	}
	return s.Shutdown(ctx)
}

func (l *Listener) unanswered() (all []*conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if !c.answered.Load() {
			all = append(all, c)
		}
	}
	return all
}
