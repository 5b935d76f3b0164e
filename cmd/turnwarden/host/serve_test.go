package host

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
)

// TestWebConnections: who holds connections to the web listener open, which has no
// tokens and is on every address, takes neither all files nor the place of others.
func TestWebConnections(t *testing.T) {
	t.Parallel()
	l, err := ListenWeb(t.Context(), Web{Listen: "127.0.0.1:0"}, new(handover.Inherited))
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "healthy\n") }),
		l, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	const held = maxViewers + 200
	var conns []net.Conn
	for i := range held {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
		if r, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("connection %d: %v, %v", i, r, err)
		}
		conns = append(conns, c)
	}
	open := 0
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := io.ReadAll(c); errors.Is(err, net.ErrClosed) || err == nil {
			continue
		}
		open++
	}
	if open > maxViewers || open < maxViewers/2 {
		t.Errorf("%d of %d connections are open, want %d at most", open, held, maxViewers)
	}
}
