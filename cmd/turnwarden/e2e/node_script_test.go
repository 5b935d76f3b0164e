package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestScriptsNode runs the commands of testdata/node against a node that serves.
func TestScriptsNode(t *testing.T) {
	t.Parallel()
	h := newHost(t, options{})
	h.serve(t)
	realtest.Eventually(t, 20*time.Second, func() error { // until its traffic has been measured
		if out, _ := h.ask(t, "status"); !strings.Contains(out, "  up  ") {
			return fmt.Errorf("not up:\n%s", out)
		}
		return nil
	})
	testscript.Run(t, testscript.Params{Dir: "testdata/node", Setup: inScript(map[string]string{"SOCKET": h.socket()})})
}
