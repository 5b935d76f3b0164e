package supervisor_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/supervisor"
)

func orphans(t *testing.T, config string) []int {
	t.Helper()
	pids, err := supervisor.Orphans(config)
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

func TestOrphans(t *testing.T) {
	config := filepath.Join(t.TempDir(), "turnserver.conf")
	run := func(args ...string) supervisor.Process {
		cmd, lines := command("serve", args...)
		return started(t.Context(), t, cmd, lines)
	}
	orphan := run("-c", config, "--pidfile=")
	run(config)                       // somebody reads the file
	other := run("-c", config+".bak") // a turnserver of its own
	if got := orphans(t, config); !slices.Equal(got, []int{orphan.PID()}) {
		t.Fatalf("Orphans = %v, want %d", got, orphan.PID())
	}

	// Its pid may be another's by now.
	if err := supervisor.KillOrphan(other.PID(), config); err != nil {
		t.Error(err)
	}
	if gone(other.PID()) == nil {
		t.Error("KillOrphan killed a process that does not run with our configuration")
	}
	if err := supervisor.KillOrphan(orphan.PID(), config); err != nil {
		t.Error(err)
	}
	if err := gone(orphan.PID()); err != nil {
		t.Errorf("after KillOrphan: %v", err)
	}
	_ = orphan.Wait()
	if err := supervisor.KillOrphan(orphan.PID(), config); err != nil {
		t.Errorf("of a pid that is gone: %v", err)
	}
}

func TestZombieIsNoOrphan(t *testing.T) {
	config := filepath.Join(t.TempDir(), "turnserver.conf")
	cmd := exec.Command("/proc/self/exe", "-c", config)
	cmd.Env = []string{helperEnv + "=crash"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	realtest.Eventually(t, 10*time.Second, func() error { return gone(cmd.Process.Pid) })
	if got := orphans(t, config); len(got) != 0 {
		t.Errorf("Orphans = %v, want none", got)
	}
	if err := supervisor.KillOrphan(cmd.Process.Pid, config); err != nil {
		t.Error(err)
	}
}
