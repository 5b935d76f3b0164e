package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// ErrParked is why a request's context has ended.
var ErrParked = errors.New("turnwarden is being upgraded")

// Park lets nobody in any more and returns when nobody is here; whoever comes waits in the
// kernel's queue. What has no request is closed at once, the context of a request ends
// after the patience, and what takes longer than the limit is cut.
func (g *Gate) Park(ctx context.Context, patience, limit time.Duration) error {
	g.mu.Lock()
	g.opened = make(chan struct{})
	parked := g.parked
	g.mu.Unlock()
	_ = g.SetDeadline(time.Unix(1, 0)) // one that is closed lets nobody in either
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		g.server.SetKeepAlivesEnabled(false) // which closes what is idle, but for HTTP/2
		since := time.Since(began)
		here := g.each(func(nc net.Conn, c *conn) {
			if since >= patience {
				c.leave(ErrParked)
			}
			if since >= limit || c.answered && c.idle != 0 {
				_ = nc.Close()
			}
		})
		select {
		case <-parked:
			if here == 0 {
				return nil
			}
		default:
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait for %d requests at %s: %w", here, g.Addr(), ctx.Err())
		}
	}
}

// each does f for every connection and returns how many there are.
func (g *Gate) each(f func(net.Conn, *conn)) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	for nc, c := range g.conns {
		f(nc, c)
	}
	return len(g.conns)
}

// Open lets clients in again.
func (g *Gate) Open() {
	g.server.SetKeepAlivesEnabled(true)
	_ = g.SetDeadline(time.Time{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked = make(chan struct{})
	close(g.opened)
}
