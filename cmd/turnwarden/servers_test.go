package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/transport"
)

// servers runs turnwarden servers.
func servers(args ...string) (out string, code int) {
	cmd := exec.Command(os.Args[0], append([]string{"servers"}, args...)...)
	cmd.Env = append(os.Environ(), "TURNWARDEN_TEST_RUN_MAIN=1")
	b, _ := cmd.CombinedOutput()
	return string(b), cmd.ProcessState.ExitCode()
}

func TestServers(t *testing.T) {
	t.Parallel()
	h, z, _ := registered(t, options{set: map[string]string{"node": "turn-1"}})
	g := startGateway(t, []string{z.Addr()}, nil)
	for _, file := range []string{h.yml, g.yml} {
		out, code := servers("--config.file=" + file)
		if code != exitOK || !strings.Contains(out, "NODE ") || !strings.Contains(out, "turn-1  up     ██████████  ") || !strings.HasSuffix(out, "1 nodes; free and capacity in Mbit/s\n") {
			t.Errorf("%d\n%s", code, out)
		}
		out, code = servers("--config.file="+file, "--output=json")
		var s transport.FleetStatus
		if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK || !s.Live || len(s.Nodes) != 1 || s.Nodes[0].Node != "turn-1" || s.Nodes[0].Generation != 1 {
			t.Errorf("%d %v\n%s", code, err, out)
		}
	}
	standalone := newHost(t, options{})
	if out, code := servers("--config.file=" + standalone.yml); code != exitUsage || !strings.Contains(out, "registry.zookeeper: found nothing") {
		t.Errorf("%d\n%s", code, out)
	}
}

func TestBar(t *testing.T) {
	for want, n := range map[string][2]float64{"░░░░░░░░░░": {0, 1000}, "█░░░░░░░░░": {.1, 1000}, "█████░░░░░": {500, 1000}, "██████████": {1000, 0}} {
		if got := bar(n[0], n[1]); got != want {
			t.Errorf("%v: %s, want %s", n, got, want)
		}
	}
}
