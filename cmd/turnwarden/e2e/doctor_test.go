package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/doctor"
	"github.com/turnwarden/turnwarden/service/realtest"
)

// diagnosed is what doctor prints for programs.
type diagnosed struct {
	Worst    doctor.Severity
	Findings []doctor.Finding
	Diff     string
}

// examined runs doctor on a host's configuration, as a command of its own.
func examined(t *testing.T, h *host, args ...string) (d diagnosed, out string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := turnwarden(append([]string{"doctor", "--config.file=" + h.yml}, args...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code is the outcome
	if len(args) > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &d); err != nil {
			t.Fatalf("%v: %s %s", err, stdout.String(), stderr.String())
		}
	}
	return d, stdout.String() + stderr.String(), cmd.ProcessState.ExitCode()
}

// found returns what a check found, empty for nothing.
func (d diagnosed) found(check string) string {
	for _, f := range d.Findings {
		if f.Check == check && f.Severity != doctor.Fine {
			return f.Found
		}
	}
	return ""
}

// TestDoctorOnARunningHost: what serves is not ill, a stranger on the port is, and nothing
// of the host is changed by looking.
func TestDoctorOnARunningHost(t *testing.T) {
	t.Parallel()
	h, z, _ := registered(t, options{})
	conf, err := os.ReadFile(h.conf)
	if err != nil {
		t.Fatal(err)
	}
	d, out, code := examined(t, h, "--output=json")
	for _, check := range []string{
		"turnserver", "turnadmin", "sqlite3", "turnwarden.yml", "turnserver.conf", "realm", "authentication", "userdb",
		"interface", "capacity", "ports", "addresses", "zookeeper", "zookeeper-acl", "disk", "secret-files", "readable-files",
	} {
		if found := d.found(check); found != "" {
			t.Errorf("%s: %s", check, found)
		}
	}
	// The configuration of the tests is no example of security.
	for _, check := range []string{"loopback-peers", "denied-private", "denied-metadata", "multicast-peers", "quota"} {
		if d.found(check) == "" {
			t.Errorf("%s finds nothing", check)
		}
	}
	if d.Worst != doctor.Error || code != 4 || !strings.Contains(d.Diff, "\n-allow-loopback-peers\n") {
		t.Errorf("worst %s, exit code %d\n%s", d.Worst, code, out)
	}
	if now, err := os.ReadFile(h.conf); err != nil || !bytes.Equal(now, conf) {
		t.Errorf("turnserver.conf was changed: %v", err)
	}
	if _, out, _ := examined(t, h); !strings.Contains(out, "error    loopback-peers: "+h.conf) || !strings.Contains(out, "-> remove the line") {
		t.Errorf("in words:\n%s", out)
	}
	names, _, err := z.Client(t).Children("/turn")
	if err != nil || strings.Contains(strings.Join(names, " "), "doctor") {
		t.Errorf("left in ZooKeeper: %v, %v", names, err)
	}

	// What the diff mends is mended, by the judgement of the node itself too.
	cmd := exec.Command("patch", h.conf)
	cmd.Stdin = strings.NewReader(d.Diff)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d, _, _ = examined(t, h, "--output=json")
	for _, check := range []string{"loopback-peers", "denied-private", "denied-metadata", "multicast-peers", "quota", "turnserver.conf"} {
		if found := d.found(check); found != "" {
			t.Errorf("after the diff: %s: %s", check, found)
		}
	}

	z.Pause()
	if d, _, _ := examined(t, h, "--output=json"); !strings.Contains(d.found("zookeeper"), "no session with") {
		t.Errorf("a ZooKeeper that hangs: %q", d.found("zookeeper"))
	}
	z.Cont()
}

func TestDoctorOnASickHost(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{conf: []string{"no-such-option", "user=alice:verysecret"}})
	realtest.StartTurnServer(t, realtest.TurnOptions{Addr: h.addr()})
	d, out, code := examined(t, h, "--output=json")
	if code != 4 || !strings.Contains(d.found("turnserver.conf"), "no-such-option") || d.found("static-credentials") == "" || strings.Contains(out, "verysecret") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	h = newHost(t, options{})
	realtest.StartTurnServer(t, realtest.TurnOptions{Addr: h.addr()})
	if d, _, _ := examined(t, h, "--output=json"); d.found("ports") == "" {
		t.Error("a stranger on the port is not found")
	}
	// Without its configuration nothing is guessed of a host.
	h = newHost(t, options{set: map[string]string{"node": "no/name"}})
	if d, out, code := examined(t, h, "--output=json"); code != 4 || !strings.Contains(d.found("turnwarden.yml"), "node") || d.found("realm") != "" {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	h = newHost(t, options{})
	if err := os.Remove(h.conf); err != nil {
		t.Fatal(err)
	}
	if d, out, code := examined(t, h, "--output=json"); code != 4 || !strings.Contains(d.found("turnserver.conf"), "no such file") || d.found("realm") != "" {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}
