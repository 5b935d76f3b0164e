package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

const aloneEnv = "TURNWARDEN_TEST_ALONE"

// alone runs the test once more in a network namespace of its own, where the traffic
// of lo is that of the test, and says whether this is that run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		realtest.Missing(t, "network namespaces need root")
	}
	realtest.Require(t, "unshare", "ip")
	if out, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		realtest.Missing(t, "no network namespaces here: "+string(out))
	}
	cmd := exec.Command("unshare", "--net", "--", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name())
	log := filepath.Join(t.TempDir(), "log")
	<-realtest.Spawn(t, cmd, log)
	out, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !cmd.ProcessState.Success() {
		t.Errorf("in a network namespace of its own: %v", cmd.ProcessState)
	}
	t.Logf("\n%s", out)
	return false
}
