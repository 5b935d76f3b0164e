package main

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

func visit(t *testing.T, d *door) visitor {
	t.Helper()
	c, err := net.Dial("tcp", d.Addr().String())
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

// TestDoor: whoever is here when the door shuts is answered, whoever comes waits, and who
// wants nothing is sent away.
func TestDoor(t *testing.T) {
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
	d := newDoor(&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}, l, l.(socket), (*http.Server).Serve)
	ended := make(chan error, 1)
	go func() { ended <- d.run() }()

	for range 2 { // twice, as after an upgrade that has failed
		idle, slow, stream, half := visit(t, d), visit(t, d), visit(t, d), visit(t, d)
		idle.say(ask("/quick"))
		idle.hear("quick")
		slow.say(ask("/slow"))
		<-begun
		stream.say(ask("/stream"))
		<-begun
		request := ask("/quick")
		half.say(request[:20])
		realtest.Eventually(t, 20*time.Second, func() error {
			if n := d.each(func(net.Conn, *guest) {}); n != 4 {
				return fmt.Errorf("%d are here", n)
			}
			return nil
		})
		shut := make(chan error, 1)
		go func() { shut <- d.shut(t.Context(), 0, time.Minute) }()
		stream.hear(errShut.Error())
		_ = idle.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("who wants nothing: %v", err)
		}
		late := visit(t, d)
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
		d.open()
		late.hear("quick")
		late.Close()
	}
	cut := visit(t, d)
	cut.say(ask("/slow"))
	<-begun
	shut := make(chan error, 1)
	go func() { shut <- d.shut(t.Context(), 0, time.Millisecond) }()
	_ = cut.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := cut.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(fmt.Sprint(err), "reset") {
		t.Errorf("beyond the limit: %v", err)
	}
	release <- struct{}{}
	if err := <-shut; err != nil {
		t.Error(err)
	}
	d.end(nil) // while it is shut
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestDoorGivesUp: who cannot be waited for any longer is served on.
func TestDoorGivesUp(t *testing.T) {
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
	d := newDoor(&http.Server{Handler: slow, ReadHeaderTimeout: time.Minute}, l, l.(socket), (*http.Server).Serve)
	ended := make(chan error, 1)
	go func() { ended <- d.run() }()
	v := visit(t, d)
	v.say(ask("/"))
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.shut(ctx, 0, time.Minute); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 requests") {
		t.Errorf("shut = %v", err)
	}
	d.open()
	release <- struct{}{}
	v.hear("slow")
	d.end(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestDoorHTTP2: who is kept and wants nothing does not hold the door, whatever he speaks.
func TestDoorHTTP2(t *testing.T) {
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
	d := newDoor(&http.Server{Handler: handler, TLSConfig: s.TLS.Clone(), ReadHeaderTimeout: time.Minute}, l, l.(socket),
		func(h *http.Server, l net.Listener) error { return h.ServeTLS(l, "", "") })
	ended := make(chan error, 1)
	go func() { ended <- d.run() }()
	get := func() {
		t.Helper()
		resp, err := s.Client().Get("https://" + d.Addr().String())
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
		if err := d.shut(t.Context(), time.Minute, time.Minute); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("shut after %v", took)
		}
		d.open()
	}
	d.end(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
