package cli

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/turnwarden/turnwarden/service/doctor"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/admin"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"two\nlines\tžluť █": "two\nlines\tžluť █", "\x1b]0;title\a": `\u001b]0;title\u0007`, "\u009b2J": `\u009b2J`,
		"\u202egnp.exe": `\u202egnp.exe`, "a\rb\x7f'\"\\": `a\u000db\u007f'"\`, "\U000e0001": `\udb40\udc01`, "a\x9b2J": "a\ufffd2J",
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
		if got := out.String(); strings.ContainsAny(got, "\x1b\r\a") || !strings.Contains(got, `\u001b[2Jx`) {
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

	// Whoever can add a user can give it any name, and have any word in the log.
	socket := impostor(t, act+"\n\u009b2J\trow")
	for _, c := range []struct {
		command Command
		args    []string
	}{
		{Users, []string{"users", "list"}},
		{Users, []string{"users", "prune", "--yes", "*"}},
		{Status, []string{"status"}},
		{Status, []string{"status", "--output=json"}},
		{Logs, []string{"logs"}},
		{Rotate, []string{"rotate"}},
	} {
		args := c.args
		if err := runs(t, c.command, &out, append(args, "--socket="+socket)...); err != nil {
			fmt.Fprintln(sanitized{&out}, err)
		}
		if got := out.String(); strings.ContainsRune(got, '\u009b') || args[1%len(args)] == "list" && strings.Contains(got, "\n\\u009b") {
			t.Errorf("%q: %q", args, got)
		}
		untouched(strings.Join(args, " "))
	}

	// A server may show any certificate.
	err := runs(t, Probe, &out, "probe", "turns:"+shows(t, act+".example.org"))
	if e, ok := errors.AsType[*ExitError](err); !ok || e.Code != 16 {
		t.Errorf("probe: %v", err)
	}
	untouched("probe")
	fmt.Fprintln(sanitized{&out}, err)
	untouched("the error of probe")
}

// runs has a command print as main has it.
func runs(t *testing.T, c Command, out io.Writer, args ...string) error {
	t.Helper()
	app := kingpin.New("turnwarden", "")
	_, run := c(app)
	if _, err := app.Parse(args); err != nil {
		t.Fatal(err)
	}
	return run(t.Context(), nil, sanitized{out})
}

// impostor answers on an admin socket what a node could not help passing on.
func impostor(t *testing.T, word string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	answer := func(v any) func(w http.ResponseWriter, _ *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/users", answer([]admin.User{{Name: word, Generation: 7, State: word}, {Name: word}}))
	mux.HandleFunc("/v1/status", answer(transport.Status{Node: word, State: word, Version: word, Reasons: []string{word}}))
	mux.HandleFunc("/v1/logs", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, word+"\n") })
	mux.HandleFunc("/", answer(admin.Step{Step: word, Detail: word, Error: word, Done: true}))
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return socket
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
