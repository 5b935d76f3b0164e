package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
)

// TestEarlyReload: a turnserver that has just been started, and would be ended by the
// signal that has it read its certificates again, is not sent it.
func TestEarlyReload(t *testing.T) {
	t.Parallel()
	cert, key := realtest.Certificate(t, "turn.example.org", time.Now().Add(-time.Hour), time.Now().AddDate(0, 0, 30))
	dir := t.TempDir()
	// Another build takes seconds until it heeds any signal (a wide relay range).
	script, begun := filepath.Join(dir, "turnserver"), filepath.Join(dir, "begun")
	text := "#!/bin/bash\ncase \"$*\" in *--version*) exec turnserver --version;; esac\ntouch " + begun + "\nsleep 2\nexec turnserver \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, options{conf: []string{"cert=" + cert, "pkey=" + key}, set: map[string]string{"coturn.turnserver": script}})
	h.start(t)
	realtest.Eventually(t, time.Minute, func() error { _, err := os.Stat(begun); return err })
	var said string
	realtest.Eventually(t, time.Minute, func() (err error) {
		if said, _ = h.ask(t, "reload"); strings.Contains(said, "no turnwarden") {
			err = errors.New(said)
		}
		return err
	})
	h.waitReady(t)
	if n := h.metric(t, `turnwarden_turnserver_restarts_total{reason="signal"}`); n != "0" {
		t.Errorf("turnserver was ended %s times by a signal; reload said:\n%s\n%s", n, said, h.tail())
	}
}
