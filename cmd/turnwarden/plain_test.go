package main

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/doctor"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"two\nlines\tžluť █": "two\nlines\tžluť █", "\x1b]0;title\a": `\x1b]0;title\a`, "\u009b2J": `\u009b2J`,
		"\u202egnp.exe": `\u202egnp.exe`, "a\rb\x7f'\"\\": `a\rb\x7f'"\`, "a\x9b2J": "a\ufffd2J",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestTerminal: nobody whom a command tells of can have the operator's terminal do
// something.
func TestTerminal(t *testing.T) {
	const act = "\x1b[2Jx"
	var out bytes.Buffer
	untouched := func(command string) {
		t.Helper()
		if got := out.String(); strings.ContainsAny(got, "\x1b\r\a") || !strings.Contains(got, `\x1b[2Jx`) {
			t.Errorf("%s: %q", command, got)
		}
		out.Reset()
	}
	// A process may call itself anything, and hold our port.
	s := transport.Status{State: "foreign_server", Reasons: []string{act}, Troubles: []transport.Trouble{{Detail: act}}}
	s.Server.StartError = act
	if err := writeStatus(&out, s, false); err != nil {
		t.Error(err)
	}
	untouched("status")
	diagnosis{Findings: []doctor.Finding{{Severity: doctor.Error, Found: act}}}.print(&out)
	untouched("doctor")
	newPrinter(&out).print(admin.Step{Step: "probe", Error: act})
	untouched("restart")

	// A server may show any certificate.
	addr := shows(t, act+".example.org")
	var stderr bytes.Buffer
	if code := command([]string{"probe", "turns:" + addr}, &out, &stderr, newSignals(nil, func() {}), nil); code != 16 {
		t.Errorf("exit code %d", code)
	}
	untouched("probe")
	out = stderr
	untouched("the error of probe")
}

// shows listens for TLS with a certificate of this name until the test ends.
func shows(t *testing.T, name string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(realtest.Certificate(t, name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := l.Accept(); err == nil {
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "localhost:" + port
}
