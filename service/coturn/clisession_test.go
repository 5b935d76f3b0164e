package coturn_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/coturn"
)

// Words that would reach the CLI as something else never do: "stop" ends coturn.
func TestCLIRefusesWords(t *testing.T) {
	cli := coturn.NewCLI(func() coturn.Runtime { return coturn.Runtime{} }, func() int { return 3478 })
	for _, word := range []string{" ", "a b", "1\r\nstop", "*", "ä", "\xff", "\x00"} {
		if _, err := cli.List(t.Context(), word); err == nil || errors.Is(err, coturn.ErrNoCLI) {
			t.Errorf("username %q: %v", word, err)
		}
	}
	for _, id := range []string{"", "stop", "-1", "1 2", "1\r\nstop", "123456789012345678901"} {
		if err := cli.Cancel(t.Context(), "1", id); err == nil || errors.Is(err, coturn.ErrNoCLI) {
			t.Errorf("id %q: %v", id, err)
		}
	}
}

// What no coturn is known to say.
func TestCLIRefusesStrangers(t *testing.T) {
	const asks = "TURN Server\r\nEnter password: \r\n"
	tests := map[string]struct {
		answers []string // to the connection, and to each line it is sent
		want    string
	}{
		"silent end":      {[]string{""}, "closed the connection"},
		"no password":     {[]string{"TURN Server\r\n> "}, "asks for no password"},
		"other password":  {[]string{asks, asks, "> "}, "refuses our password"},
		"gone after it":   {[]string{asks, ""}, "closed the connection"},
		"no port":         {[]string{asks, "> ", "  total-current-allocs: 1\r\n> "}, "no listener-port"},
		"other port":      {[]string{asks, "> ", "  tls-listener-port: 3478\r\n  listener-port: 3479\r\n> "}, "on port 3479, our turnserver on 3478"},
		"no allocations":  {[]string{asks, "> ", "  listener-port: 3478\r\n> "}, "no total-current-allocs"},
		"unknown command": {[]string{asks, "> ", "  listener-port: 3478\r\n  total-current-allocs: 1\r\n> ", "Unknown command\r\n> "}, `unexpected answer "Unknown command"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cli := coturn.NewCLI(func() coturn.Runtime { return fakeCLI(t, tt.answers) }, func() int { return 3478 })
			err := cli.Cancel(t.Context(), "1")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// fakeCLI answers one connection.
func fakeCLI(t *testing.T, answers []string) coturn.Runtime {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, _ := l.Accept()
		for r := bufio.NewReader(conn); len(answers) > 0; answers = answers[1:] {
			_, _ = io.WriteString(conn, answers[0])
			if answers[0] != "" {
				_, _ = r.ReadString('\n')
			}
		}
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return coturn.Runtime{CLI: true, CLIPort: l.Addr().(*net.TCPAddr).Port, CLIPassword: "s3cret"}
}
