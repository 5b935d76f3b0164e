package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// bounded serves h on at most limit connections and returns the address.
func bounded(t *testing.T, limit int, h http.Handler) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := New(l.(Socket), limit)
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	g.Guard(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(g) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// request asks over c, whose answer must be a 200.
func request(c net.Conn, path string) error {
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: turnwarden\r\n\r\n", path); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// open counts those of the connections that the server has not closed. Nothing is written
// to them that could be read.
func open(conns []net.Conn) int {
	n := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			n++
		}
	}
	return n
}

// TestIdleConnectionsMakeRoom: who holds connections open keeps nobody out, whether they
// have said nothing, half of a request, or a whole one.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	const limit, held = 32, 200
	for name, say := range map[string]string{"nothing": "", "half a request": "GET / HTTP/1.1\r\nX: ", "a whole one": "-"} {
		t.Run(name, func(t *testing.T) {
			addr := bounded(t, limit, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			var conns []net.Conn
			for range held {
				c := connect(t, addr)
				conns = append(conns, c)
				if say == "-" {
					if err := request(c, "/"); err != nil {
						t.Fatal(err)
					}
				} else if _, err := c.Write([]byte(say)); err != nil {
					t.Fatal(err)
				}
				if len(conns)%10 == 0 { // an honest caller among them
					if err := request(connect(t, addr), "/"); err != nil {
						t.Fatalf("after %d connections: %v", len(conns), err)
					}
				}
			}
			realtest.Eventually(t, 20*time.Second, func() error {
				if n := open(conns); n > limit {
					return fmt.Errorf("%d of %d connections are open, the limit is %d", n, held, limit)
				}
				return nil
			})
			if open(conns) == 0 {
				t.Error("none is left: more was closed than had to be")
			}
			if open(conns[held-5:]) == 0 {
				t.Error("the youngest were closed before the oldest")
			}
		})
	}
}

// TestBusyConnectionsStay: those that are being answered are not closed for a new one,
// which is refused, and there is room again when they are done.
func TestBusyConnectionsStay(t *testing.T) {
	const limit = 8
	release, under := make(chan struct{}), atomic.Int32{}
	addr := bounded(t, limit, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			under.Add(1)
			<-release
		}
	}))
	answers := make(chan error, limit)
	for range limit {
		c := connect(t, addr)
		go func() { answers <- request(c, "/slow") }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	realtest.Eventually(t, 20*time.Second, func() error {
		if n := under.Load(); n < limit {
			return fmt.Errorf("%d requests under way", n)
		}
		return ctx.Err()
	})
	if err := request(connect(t, addr), "/"); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("one more: %v; want it closed at once", err)
	}
	close(release)
	for range limit {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := request(connect(t, addr), "/"); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// At the end whoever has connected is answered, though the request comes only then; who
// sends none is not waited for, nor is who has been answered.
func TestStop(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := New(l.(Socket), 10)
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ReadHeaderTimeout: time.Minute}
	g.Guard(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(g) }()
	late, mute, kept := connect(t, l.Addr().String()), connect(t, l.Addr().String()), connect(t, l.Addr().String())
	if err := request(kept, "/"); err != nil { // who has come before has been let in
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		g.Stop()
	}()
	if err := <-served; err == nil {
		t.Error("Serve goes on")
	}
	if err := request(late, "/"); err != nil {
		t.Errorf("a request that was on its way: %v", err)
	}
	if err := mute.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := mute.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("who sends nothing is kept")
	}
	<-over
}
