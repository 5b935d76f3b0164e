package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// pm2 runs deploy/ecosystem.config.cjs, with a host of the test's own.
type pm2 struct {
	t            *testing.T
	program, app string
	env          []string
}

// startPM2 installs the real one and starts the host under it.
func startPM2(t *testing.T, h *host) *pm2 {
	t.Helper()
	realtest.Require(t, "npm", "node")
	dir := t.TempDir()
	output(t, "npm", "install", "--prefix="+dir, "--no-audit", "--no-fund", "--loglevel=error", "pm2@7")
	example, err := filepath.Abs("../../../deploy/ecosystem.config.cjs")
	if err != nil {
		t.Fatal(err)
	}
	p := &pm2{
		t: t, program: filepath.Join(dir, "node_modules/.bin/pm2"), app: filepath.Join(dir, "ecosystem.config.cjs"),
		env: append(os.Environ(), "PM2_HOME="+filepath.Join(dir, "home")),
	}
	args, err := json.Marshal(h.args())
	if err != nil {
		t.Fatal(err)
	}
	// Only where things are differs from the example.
	h.write(t, p.app, fmt.Sprintf("const example = require(%q);\nObject.assign(example.apps[0], { script: %q, args: %s });\nmodule.exports = example;\n", example, program(), args))
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(filepath.Join(dir, "home/logs/*"))
			for _, log := range logs {
				b, _ := os.ReadFile(log)
				t.Logf("%s:\n%s", log, b[max(0, len(b)-5000):])
			}
		}
		p.do("kill")
	})
	p.do("start", p.app)
	return p
}

// do runs a command of pm2.
func (p *pm2) do(args ...string) string {
	p.t.Helper()
	cmd := exec.Command(p.program, args...)
	cmd.Env = p.env
	out, err := cmd.Output()
	if err != nil {
		p.t.Fatalf("pm2 %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// state is turnwarden's pid, 0 while it does not run, and what pm2 calls that.
func (p *pm2) state() (pid int, status string) {
	p.t.Helper()
	var apps []struct {
		PID int `json:"pid"`
		Env struct {
			Status string `json:"status"`
		} `json:"pm2_env"`
	}
	if err := json.Unmarshal([]byte(p.do("jlist", "--silent")), &apps); err != nil || len(apps) != 1 {
		p.t.Fatalf("pm2 jlist: %d apps, %v", len(apps), err)
	}
	return apps[0].PID, apps[0].Env.Status
}

// TestPM2 runs a node under the real pm2, as the example of deploy/ says: the credential
// outlives restarts and crashes, and there is never a second turnserver.
func TestPM2(t *testing.T) {
	if os.Getenv("TURNWARDEN_PACKAGES") == "" {
		t.Skip("it installs pm2 from npm: make test-packages")
	}
	h := newHost(t, options{set: map[string]string{"coturn.drain_timeout": "4s"}})
	p := startPM2(t, h)
	serves := func(before int) (pid int, s seed) {
		t.Helper()
		realtest.Eventually(t, 2*time.Minute, func() (err error) {
			now, status := p.state()
			if now == 0 || now == before || status != "online" {
				return fmt.Errorf("pid %d, %s", now, status)
			}
			pid = now
			s, err = fetch(h.rest())
			return err
		})
		h.waitReady(t)
		return pid, s
	}
	pid, s := serves(0)
	child := h.child(t)

	// pm2 signals whole trees of processes unless it is told not to: a child that it ends
	// takes its calls along before turnwarden has unlisted the node and drained.
	h.open(t, 1)
	start := time.Now()
	p.do("restart", "turnwarden")
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("with a call and a drain of 4 s, pm2 restart took %v", took)
	}
	next, again := serves(pid)
	if again.UserID != s.UserID {
		t.Errorf("after a restart the credential is %s, before it was %s", again.UserID, s.UserID)
	}
	if now := h.child(t); now == 0 || now == child {
		t.Errorf("turnserver %d, before it was %d", now, child)
	}

	if err := syscall.Kill(next, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_, again = serves(next)
	if again.UserID != s.UserID {
		t.Errorf("after a crash the credential is %s, before it was %s", again.UserID, s.UserID)
	}
	if h.child(t) == 0 {
		t.Error("no turnserver")
	}

	p.do("stop", "turnwarden")
	if now, status := p.state(); now != 0 || status != "stopped" {
		t.Errorf("pid %d, %s", now, status)
	}
	if left := h.child(t); left != 0 {
		t.Errorf("turnserver %d is left", left)
	}

	// No restart mends a mistake.
	h.write(t, h.yml, "coturn: {drain_timeout: 5}\n")
	p.do("start", "turnwarden")
	realtest.Eventually(t, time.Minute, func() error {
		if now, status := p.state(); now != 0 || status != "stopped" {
			return fmt.Errorf("pid %d, %s", now, status)
		}
		return nil
	})
}
