package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is what the kernel queues connections on.
type socket interface {
	net.Listener
	SetDeadline(t time.Time) error
	syscall.Conn
}

// door is a server that can be shut for a while without a client noticing: whoever is
// here is answered, and whoever comes waits in the kernel's queue. http.Server.Shutdown
// is no such thing: it leaves those unanswered who have connected and whose request is
// still on its way.
type door struct {
	server   *http.Server
	listener net.Listener // on the socket, perhaps with TLS over it
	socket   socket
	serve    func(*http.Server, net.Listener) error

	mu     sync.Mutex
	conns  map[net.Conn]*guest
	opened chan struct{} // closed while the door is open
	parked chan struct{} // closed while nobody is let in

	closed    chan struct{} // at the end
	closeOnce sync.Once
}

// guest is a connection.
type guest struct {
	leave context.CancelCauseFunc // ends its requests' contexts
	idle  bool
}

// newDoor returns a door that is open as soon as it runs.
func newDoor(server *http.Server, l net.Listener, on socket, serve func(*http.Server, net.Listener) error) *door {
	d := &door{
		server: server, listener: l, socket: on, serve: serve, conns: map[net.Conn]*guest{},
		opened: make(chan struct{}), parked: make(chan struct{}), closed: make(chan struct{}),
	}
	close(d.opened)
	with, state := server.ConnContext, server.ConnState
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if with != nil {
			ctx = with(ctx, c)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conns[c] = &guest{leave: cancel}
		return ctx
	}
	server.ConnState = func(c net.Conn, s http.ConnState) {
		if state != nil {
			state(c, s)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		switch g := d.conns[c]; s {
		case http.StateClosed, http.StateHijacked:
			g.leave(nil)
			delete(d.conns, c)
		default:
			g.idle = s == http.StateIdle
		}
	}
	return d
}

// run serves until end.
func (d *door) run() error { return ended(d.serve(d.server, d)) }

// errShut is why a request's context has ended.
var errShut = errors.New("turnwarden is being upgraded")

// lasting is a handler that heeds its context, takes long, and is to be answered all the
// same when the door is shut.
type lasting struct {
	next    http.Handler
	running atomic.Int64
}

func (l *lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.running.Add(1)
	defer l.running.Add(-1)
	l.next.ServeHTTP(w, r.WithContext(context.WithoutCancel(r.Context())))
}

// wait returns when nobody is being answered, or could have been for long enough.
func (l *lasting) wait(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); l.running.Load() > 0 && time.Since(began) < lastingLimit && ctx.Err() == nil; {
		<-tick.C
	}
}

// shut lets nobody in any more and returns when nobody is here. What has no request is
// closed at once, the context of a request ends after the patience, and what takes longer
// than the limit is cut.
func (d *door) shut(ctx context.Context, patience, limit time.Duration) error {
	d.mu.Lock()
	d.opened = make(chan struct{})
	parked := d.parked
	d.mu.Unlock()
	_ = d.socket.SetDeadline(time.Unix(1, 0)) // one that is closed lets nobody in either
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		d.server.SetKeepAlivesEnabled(false) // which closes what is idle, but for HTTP/2
		since := time.Since(began)
		here := d.each(func(c net.Conn, g *guest) {
			if since >= patience {
				g.leave(errShut)
			}
			if since >= limit || g.idle {
				_ = c.Close()
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
			return fmt.Errorf("wait for %d requests at %s: %w", here, d.Addr(), ctx.Err())
		}
	}
}

// each does f for every connection and returns how many there are.
func (d *door) each(f func(net.Conn, *guest)) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, g := range d.conns {
		f(c, g)
	}
	return len(d.conns)
}

// open lets clients in again.
func (d *door) open() {
	d.server.SetKeepAlivesEnabled(true)
	_ = d.socket.SetDeadline(time.Time{})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.parked = make(chan struct{})
	close(d.opened)
}

// end shuts the door for good.
func (d *door) end(err error) { shutdown(d.server, d.socket)(err) }

// Accept implements net.Listener for the server.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.listener.Accept()
		if !os.IsTimeout(err) {
			return c, err
		}
		d.mu.Lock()
		opened, parked := d.opened, d.parked
		d.mu.Unlock()
		select {
		case <-opened: // again already
		case <-d.closed:
			return nil, net.ErrClosed
		default:
			close(parked)
		}
		select {
		case <-opened:
		case <-d.closed:
			return nil, net.ErrClosed
		}
	}
}

// Close implements net.Listener for the server. The socket is closed by whoever has
// opened it.
func (d *door) Close() error {
	d.closeOnce.Do(func() { close(d.closed) })
	return d.socket.SetDeadline(time.Unix(1, 0))
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr { return d.listener.Addr() }
