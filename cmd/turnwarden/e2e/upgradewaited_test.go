package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestUpgradeLooksAgain: what an upgrade waits for can take minutes, in which somebody makes
// a mistake in the configuration. The new version would refuse to start, and the calls end.
func TestUpgradeLooksAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hang, begun, tool := filepath.Join(dir, "hang"), filepath.Join(dir, "begun"), filepath.Join(dir, "turnadmin")
	h := installed(t, options{set: map[string]string{"coturn.turnadmin": tool}})
	h.write(t, tool, fmt.Sprintf("#!/bin/sh\n[ -e %s ] && touch %s\nwhile [ -e %[1]s ]; do sleep 0.05; done\nexec turnadmin \"$@\"\n", hang, begun))
	if err := os.Chmod(tool, 0o700); err != nil {
		t.Fatal(err)
	}
	h.serve(t)
	child := h.child(t)
	h.write(t, hang, "")
	rotate := h.begin(t, "rotate")
	realtest.Eventually(t, 20*time.Second, func() error { _, err := os.Stat(begun); return err })
	upgrade := h.begin(t, "upgrade")
	upgrade.said(t, "self-check")
	rotate.ends(t, 9*time.Second)
	yml, err := os.ReadFile(h.yml)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, h.yml, string(yml)+"colour: red\n")
	if err := os.Remove(hang); err != nil {
		t.Fatal(err)
	}
	if out, code := upgrade.ends(t, 30*time.Second); code != codeError || !strings.Contains(out, "goes on: ") || !strings.Contains(out, "colour") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if now := h.child(t); now != child {
		t.Errorf("turnserver %d, and before %d", now, child)
	}
	h.write(t, h.yml, string(yml))
	if out, code := h.ask(t, "upgrade"); code != 0 {
		t.Errorf("after that was mended: exit code %d\n%s", code, out)
	}
}
