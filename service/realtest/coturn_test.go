package realtest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// The programs of another Debian run here.
func TestFetchCoturn(t *testing.T) {
	if os.Getenv("TURNWARDEN_COTURN") == "" {
		t.Skip("it downloads 20 MB: make test-coturn does")
	}
	c := realtest.FetchCoturn(t, "trixie")
	out, err := exec.Command(c.Turnserver, "--version").Output()
	if version, _, _ := strings.Cut(c.Package, "-"); err != nil || !strings.HasSuffix(strings.TrimSpace(string(out)), version) {
		t.Errorf("package %s, and --version says %q, %v", c.Package, out, err)
	}
}
