package transport_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service"
	"github.com/turnwarden/turnwarden/service/fleet"
	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/transport"
	"github.com/turnwarden/turnwarden/transport/transporttest"
)

// startAgent serves the status that is stored until the test ends.
func startAgent(t *testing.T, status *atomic.Pointer[service.GatewayStatus]) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	agent := transport.NewAgent(func() service.GatewayStatus { return *status.Load() })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- agent.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func TestAgent(t *testing.T) {
	stale := transporttest.Node("stale", "up", 900)
	stale.Doubt = fleet.Stale
	var status atomic.Pointer[service.GatewayStatus]
	addr := startAgent(t, &status)
	ask := func(send string) string {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, send)
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		answer, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		return string(answer)
	}
	all := transporttest.Fleet(transporttest.Node("down", "down", 0), transporttest.Node("drain", "draining", 0), transporttest.Node("full", "full", 0), transporttest.Node("half", "up", 500.4), transporttest.Node("little", "up", .1), stale)
	status.Store(&all)
	for send, want := range map[string]string{
		"half\n": "up 51%", "little\r\n": "up 1%", "drain\n": "up 0%", "full\n": "up 0%", "down\n": "down", "stale\n": "down", "nobody\n": "down",
		"": "up 17%", "\n": "up 17%", // half and little and full, of three times 1000
		strings.Repeat("x", 200) + "\n": "down",
	} {
		if got := ask(send); got != want+"\n" {
			t.Errorf("%.20q: got %q, want %q", send, got, want)
		}
	}
	for want, s := range map[string]service.GatewayStatus{
		"down": transporttest.Fleet(), "up 0%": transporttest.Fleet(transporttest.Node("full", "full", 0)), "up 100%": transporttest.Fleet(transporttest.Node("a", "up", 1000)),
	} {
		status.Store(&s)
		if got := ask(""); got != want+"\n" {
			t.Errorf("%d nodes: got %q, want %q", len(s.Fleet.Nodes), got, want)
		}
	}
}

// TestAgentFlood: who connects and says nothing does not keep HAProxy out for long.
func TestAgentFlood(t *testing.T) {
	var status atomic.Pointer[service.GatewayStatus]
	s := transporttest.Fleet(transporttest.Node("a", "up", 1000))
	status.Store(&s)
	addr := startAgent(t, &status)
	for range 300 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	realtest.Eventually(t, 10*time.Second, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_, _ = io.WriteString(c, "a\n")
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "up 100%\n" {
			return fmt.Errorf("%q %v", line, err)
		}
		return nil
	})
}

// TestHAProxy has Debian's haproxy take the weights of its servers from the agent.
func TestHAProxy(t *testing.T) {
	realtest.Require(t, "haproxy")
	var status atomic.Pointer[service.GatewayStatus]
	s := transporttest.Fleet(transporttest.Node("turn-1", "up", 730), transporttest.Node("turn-2", "draining", 0))
	status.Store(&s)
	agent, _, _ := strings.Cut(startAgent(t, &status), ":")
	_, port, _ := net.SplitHostPort(startAgent(t, &status))
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "stats"), filepath.Join(dir, "haproxy.cfg")
	ip := realtest.Loopback(t)
	server := func(name string) string {
		return fmt.Sprintf("  server %s %s:3478 weight 100 check-send-proxy agent-check agent-addr %s agent-port %s agent-inter 500ms agent-send \"%s\\n\"\n", name, ip, agent, port, name)
	}
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`global
  stats socket %s mode 600
defaults
  mode tcp
  timeout connect 1s
  timeout client 1s
  timeout server 1s
listen turn
  bind %s:%d
  balance roundrobin
%s%s%s  server fleet %s:3478 weight 100 agent-check agent-addr %s agent-port %s agent-inter 500ms
`, socket, ip, realtest.FreePort(t, ip), server("turn-1"), server("turn-2"), server("turn-3"), ip, agent, port)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	cmd := exec.Command("haproxy", "-db", "-f", config)
	exited := realtest.Spawn(t, cmd, log)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			b, _ := os.ReadFile(log)
			t.Logf("%s", b)
		}
	})
	sees := func(want map[string]string) {
		t.Helper()
		realtest.Eventually(t, 20*time.Second, func() error {
			got, err := haproxyServers(socket)
			if err != nil {
				return err
			}
			for name, w := range want {
				if got[name] != w {
					return fmt.Errorf("%s is %q, want %q", name, got[name], w)
				}
			}
			return nil
		})
	}
	sees(map[string]string{"turn-1": "UP 73", "turn-2": "UP 0", "turn-3": "DOWN", "fleet": "UP 73"})
	s2 := transporttest.Fleet(transporttest.Node("turn-1", "down", 0), transporttest.Node("turn-2", "up", 300), transporttest.Node("turn-3", "up", 1000))
	status.Store(&s2)
	sees(map[string]string{"turn-1": "DOWN", "turn-2": "UP 30", "turn-3": "UP 100", "fleet": "UP 65"})
}

// haproxyServers reads state and weight of each server from the stats socket.
func haproxyServers(socket string) (map[string]string, error) {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "show stat -1 4 -1\n"); err != nil {
		return nil, err
	}
	rows, err := csv.NewReader(c).ReadAll()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[strings.TrimPrefix(name, "# ")] = i
	}
	servers := map[string]string{}
	for _, row := range rows[1:] {
		state, _, _ := strings.Cut(row[column["status"]], " ")
		if state == "no" { // "no check": the agent alone decides
			state = "UP"
		}
		servers[row[column["svname"]]] = state
		if state == "UP" || state == "DRAIN" {
			servers[row[column["svname"]]] = "UP " + row[column["weight"]]
		}
	}
	return servers, nil
}
