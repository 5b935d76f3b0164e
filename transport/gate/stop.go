package gate

import (
	"context"
	"net"
	"time"
)

const (
	// arriving is how long who has connected may take to send the first request, at the end.
	arriving = 500 * time.Millisecond
	// ending is what requests under way have.
	ending = 5 * time.Second
)

// Stop lets nobody in any more, and requests under way end.
func (g *Gate) Stop() {
	_ = g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), ending)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); g.unanswered(func(net.Conn, *conn) {}) > 0 && time.Since(began) < arriving; {
		<-tick.C
	}
	g.unanswered(func(nc net.Conn, c *conn) {
		if c.idle != 0 {
			hangUp(nc) // the server would wait five seconds for it
		}
	})
	if err := g.server.Shutdown(ctx); err != nil {
		_ = g.server.Close() // they had their time
	}
}

// unanswered does f for those who have not been answered once, and counts them.
func (g *Gate) unanswered(f func(net.Conn, *conn)) (n int) {
	g.each(func(nc net.Conn, c *conn) {
		if !c.answered {
			n++
			f(nc, c)
		}
	})
	return n
}
