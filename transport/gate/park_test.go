package gate

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// visitor is a client that says and hears what the test wants, when it wants.
type visitor struct {
	net.Conn
	t *testing.T
}

func visit(t *testing.T, g *Gate) visitor {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return visitor{c, t}
}

func (v visitor) say(text string) {
	v.t.Helper()
	if _, err := io.WriteString(v, text); err != nil {
		v.t.Fatal(err)
	}
}

func (v visitor) hear(want string) {
	v.t.Helper()
	_ = v.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(v), nil)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != want {
		v.t.Errorf("heard %q, %v; want %q", body, err, want)
	}
}

// silence proves that nothing is heard, and that the connection stands.
func (v visitor) silence() {
	v.t.Helper()
	_ = v.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := v.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		v.t.Errorf("%d bytes, %v; want silence", n, err)
	}
}

func ask(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: turnwarden\r\n\r\n" }

// TestPark: whoever is here when the gate is parked is answered, whoever comes waits, and who
// wants nothing is sent away.
func TestPark(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/quick", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "quick") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
		fmt.Fprint(w, "slow")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
		fmt.Fprint(w, context.Cause(r.Context()))
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := New(l.(Socket), 0)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	g.Guard(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(g) }()

	for range 2 { // twice, as after an upgrade that has failed
		idle, slow, stream, half := visit(t, g), visit(t, g), visit(t, g), visit(t, g)
		idle.say(ask("/quick"))
		idle.hear("quick")
		slow.say(ask("/slow"))
		<-begun
		stream.say(ask("/stream"))
		<-begun
		request := ask("/quick")
		half.say(request[:20])
		realtest.Eventually(t, 20*time.Second, func() error {
			if n := g.each(func(net.Conn, *conn) {}); n != 4 {
				return fmt.Errorf("%d are here", n)
			}
			return nil
		})
		shut := make(chan error, 1)
		go func() { shut <- g.Park(t.Context(), 0, time.Minute) }()
		stream.hear(ErrParked.Error())
		_ = idle.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("who wants nothing: %v", err)
		}
		late := visit(t, g)
		late.say(ask("/quick"))
		late.silence()
		select {
		case err := <-shut:
			t.Fatalf("shut with two unanswered: %v", err)
		default:
		}
		half.say(request[20:])
		half.hear("quick")
		release <- struct{}{}
		slow.hear("slow")
		if err := <-shut; err != nil {
			t.Fatal(err)
		}
		late.silence()
		g.Open()
		late.hear("quick")
		late.Close()
	}
	cut := visit(t, g)
	cut.say(ask("/slow"))
	<-begun
	shut := make(chan error, 1)
	go func() { shut <- g.Park(t.Context(), 0, time.Millisecond) }()
	_ = cut.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := cut.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("beyond the limit: %v", err)
	}
	release <- struct{}{}
	if err := <-shut; err != nil {
		t.Error(err)
	}
	g.Stop() // while it is shut
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestParkGivesUp: who cannot be waited for any longer is served on.
func TestParkGivesUp(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-release
		fmt.Fprint(w, "slow")
	})
	g := New(l.(Socket), 0)
	s := &http.Server{Handler: slow, ReadHeaderTimeout: time.Minute}
	g.Guard(s)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(g) }()
	v := visit(t, g)
	v.say(ask("/"))
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Park(ctx, 0, time.Minute); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 requests") {
		t.Errorf("shut = %v", err)
	}
	g.Open()
	release <- struct{}{}
	v.hear("slow")
	g.Stop()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// TestParkHTTP2: who is kept and wants nothing does not hold the gate, whatever he speaks.
func TestParkHTTP2(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.StartTLS() // for its certificates
	defer s.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
	g := New(l.(Socket), 0)
	h := &http.Server{Handler: handler, TLSConfig: s.TLS.Clone(), ReadHeaderTimeout: time.Minute}
	g.Guard(h)
	ended := make(chan error, 1)
	go func() { ended <- h.ServeTLS(g, "", "") }()
	get := func() {
		t.Helper()
		resp, err := s.Client().Get("https://" + g.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "HTTP/2.0" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	for range 2 {
		get()
		began := time.Now()
		if err := g.Park(t.Context(), time.Minute, time.Minute); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("shut after %v", took)
		}
		g.Open()
	}
	g.Stop()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}
