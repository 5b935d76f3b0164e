package host

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/cmd/turnwarden/handover"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestServerLog: what http.Server has to say is a line like all others; how much of it
// strangers cause is for debug alone.
func TestServerLog(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo:  {`level=ERROR msg="HTTP server" err="http: panic serving 127.0.0.1:`},
		slog.LevelDebug: {`level=DEBUG msg="HTTP server" err="http: TLS handshake error from 127.0.0.1:`, `level=ERROR msg="HTTP server" err="http: panic serving 127.0.0.1:`},
	} {
		t.Run(level.String(), func(t *testing.T) {
			var out realtest.Log
			l, err := ListenWeb(t.Context(), Web{Listen: "127.0.0.1:0"}, new(handover.Inherited))
			if err != nil {
				t.Fatal(err)
			}
			s := NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("of a test") }), l,
				slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level})))
			pair, err := tls.LoadX509KeyPair(realtest.Certificate(t, "127.0.0.1", time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}})) }()
			t.Cleanup(func() {
				_ = s.Close()
				if err := <-done; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			for range 10 { // as a port scan does
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n\r\n")
				_, _ = io.ReadAll(c) // until it has been dealt with
				_ = c.Close()
			}
			c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			_, _ = io.ReadAll(c)
			_ = c.Close()
			realtest.Eventually(t, 10*time.Second, func() error {
				for _, text := range want {
					if !strings.Contains(out.String(), text) {
						return fmt.Errorf("no %s in\n%s", text, out.String())
					}
				}
				return nil
			})
			for line := range strings.Lines(out.String()) {
				if !strings.HasPrefix(line, "time=") || level == slog.LevelInfo && strings.Contains(line, "handshake") {
					t.Errorf("line %q", line)
				}
			}
		})
	}
}
