package e2e

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	machine "github.com/turnwarden/turnwarden/cmd/turnwarden/host"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport/gate"
)

// BenchmarkMint says what share of the throughput of a process that does nothing but write
// a constant body a node has, which makes a credential for each client beside all its other
// work: as clients of net/http have it, and with a client that costs next to nothing.
func BenchmarkMint(b *testing.B) {
	const path = "/turncredential?userid=alice&ttl=600"
	h := newHost(b, options{without: "lt-cred-mech", conf: []string{"use-auth-secret"}, set: map[string]string{
		"credentials.mode": "secret", "credentials.userdb": "sqlite", "probe.interval": "5s", "traffic.interval": "10s",
	}})
	h.serve(b)
	own := "http://" + h.rest() + path
	response, err := http.Get(own)
	if err != nil {
		b.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s, %v", response.Status, body, err)
	}
	constant := startConstant(b, string(body))
	for name, as := range map[string]realtest.Asker{"http-client": realtest.HTTPClient, "least-client": realtest.LeastClient} {
		b.Run(name, func(b *testing.B) { realtest.Paired(b, as, own, constant+path) })
	}
}

// constantEnv makes this test binary a server that answers with its value.
const constantEnv = "TURNWARDEN_TEST_CONSTANT"

func constantMain(body string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	answer, conns := []byte(body), gate.New(l.(gate.Socket), 100)
	constant := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) })
	panic(machine.NewServer(constant, conns, slog.New(slog.DiscardHandler)).Serve(conns))
}

// startConstant returns the URL of such a server.
func startConstant(b *testing.B, body string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), constantEnv+"="+body)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Wait() }) // its context has ended
	addr, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return "http://" + strings.TrimSpace(addr)
}
