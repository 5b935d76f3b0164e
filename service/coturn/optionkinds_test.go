package coturn

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// Yes and no are asked of the program: at any other value of such an option it exits, and
// says why. make test-coturn asks those of all suites.
func TestOptionKinds(t *testing.T) {
	programs := map[string]string{}
	if os.Getenv("TURNWARDEN_COTURN") != "" {
		for _, suite := range []string{"bullseye", "trixie", "sid"} {
			programs[suite] = realtest.FetchCoturn(t, suite).Turnserver
		}
	} else {
		realtest.Require(t, "turnserver")
		programs["installed"] = "turnserver"
	}
	for name, program := range programs {
		t.Run(name, func(t *testing.T) {
			v, err := DetectVersion(t.Context(), program)
			if err != nil {
				t.Fatal(err)
			}
			var others strings.Builder
			for option, o := range confOptions {
				r := optionReleases[option]
				if v.Before(r.since) || r.until != (Version{}) && !v.Before(r.until) || o.leftOut != "" || o.refused != "" || changedKind[option] {
					continue
				}
				switch {
				case o.kind != kindBool:
					others.WriteString(option + "=maybe\n")
				case !strings.Contains(try(t, program, option+"=maybe\n"), "Unknown boolean value: maybe"):
					t.Errorf("%s=maybe is taken: it is no option of yes and no", option)
				}
			}
			if out := try(t, program, others.String()); strings.Contains(out, "Unknown boolean value") {
				t.Errorf("an option of yes and no is taken for another: %s", out)
			}
		})
	}
}

// changedKind are options that some releases read as yes or no, and others not at all.
var changedKind = map[string]bool{"new-log-timestamp": true, "response-origin-only-with-rfc5780": true}

// try has turnserver read a file after which it exits, whatever else is in it.
func try(t *testing.T, program, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "turnserver.conf")
	if err := os.WriteFile(path, []byte("no-udp-relay\nno-tcp-relay\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, Args(path)...)
	cmd.Dir = dir
	out, _ := cmd.CombinedOutput()
	return string(out)
}
