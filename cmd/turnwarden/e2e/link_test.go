package e2e

import (
	"io"
	"net"
	"sync"
	"testing"
)

// link is a way to a server that can be cut.
type link struct {
	listener net.Listener

	mu     sync.Mutex
	broken bool
	conns  []net.Conn
}

// newLink leads to a server until the test ends.
func newLink(t *testing.T, server string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener}
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
	})
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			l.add(near, far)
			for _, c := range [][2]net.Conn{{near, far}, {far, near}} {
				go func() {
					_, _ = io.Copy(c[0], c[1])
					_ = c[0].Close()
				}()
			}
		}
	}()
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

// add takes in two ends of a connection, or closes them.
func (l *link) add(ends ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = append(l.conns, ends...)
	if l.broken {
		l.end()
	}
}

func (l *link) end() {
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	l.end()
}

func (l *link) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = false
}
