package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

const aloneEnv = "TURNWARDEN_TEST_ALONE"

// alone runs the test once more in namespaces of its own, where the traffic of lo is
// that of the test and what it mounts is gone with it, and says whether this is that run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(aloneEnv) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		realtest.Missing(t, "namespaces need root")
	}
	realtest.Require(t, "unshare", "ip")
	if out, err := exec.Command("unshare", "--net", "--mount", "true").CombinedOutput(); err != nil {
		realtest.Missing(t, "no namespaces here: "+string(out))
	}
	cmd := exec.Command("unshare", "--net", "--mount", "--", "sh", "-c", `ip link set lo up && exec "$0" "$@"`, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneEnv+"="+t.Name(), binaryEnv+"="+program())
	log := filepath.Join(t.TempDir(), "log")
	<-realtest.Spawn(t, cmd, log)
	out, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !cmd.ProcessState.Success() {
		t.Errorf("in namespaces of its own: %v", cmd.ProcessState)
	}
	t.Logf("\n%s", out)
	return false
}
