package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestUpgradeRefused has upgrades fail in every way that can be found before it is too late:
// the version that runs goes on as if nobody had asked, says why, and can be upgraded after.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	h := installed(t, options{})
	h.serve(t)
	calls, child, pid := h.open(t, 1), h.child(t), h.cmd.Process.Pid
	before := mustFetch(t, h.rest())
	yml, err := os.ReadFile(h.yml)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := os.ReadFile(h.conf)
	if err != nil {
		t.Fatal(err)
	}
	// script is a program that does something before it goes on as the good one.
	script := func(lines string) func() {
		return func() { h.installText(t, "#!/bin/sh\n"+lines+"\n", 0o700) }
	}
	edit := func(path string, from []byte, old, now string) func() {
		return func() { h.write(t, path, strings.Replace(string(from), old, now, 1)) }
	}
	good := fmt.Sprintf("exec %q", program()) + ` "$@"`
	for name, c := range map[string]struct {
		change func()
		want   []string
	}{
		"there is none":      {func() { _ = os.Remove(h.program) }, []string{h.program, "no such file"}},
		"not executable":     {func() { h.installText(t, "x", 0o600) }, []string{h.program, "permission denied"}},
		"no program":         {func() { h.installText(t, "\x7fELF and then nothing", 0o700) }, []string{"cannot be run", "exec format error"}},
		"dies":               {script("kill -SEGV $$"), []string{"its self-check ended with signal: segmentation fault"}},
		"complains":          {script("echo it needs another kernel >&2; exit 7"), []string{"exit status 7", "it needs another kernel"}},
		"an older version":   {script(`echo "turnwarden: unknown long flag '--self-check'" >&2; exit 2`), []string{"unknown long flag"}},
		"another format":     {script(`sed 's/^{"version":1,/{"version":7,/' | ` + good), []string{"hands over in format 7", "reads format 1", "restart turnwarden instead"}},
		"cut off":            {script("head -c 100 | " + good), []string{"read the handover", "unexpected EOF"}},
		"replaced meanwhile": {script(`case "$*" in *--self-check*) touch -d yesterday "$0"; ` + good + `; esac; exit 1`), []string{"replaced again after its self-check"}},
		"mistakes in turnwarden.yml": {
			edit(h.yml, yml, "capacity_mbps: 1000", "capacity_mbps: lots\n  colour: red"),
			[]string{"traffic.capacity_mbps", "colour", "turnwarden.yml:"},
		},
		"a mistake in turnserver.conf": {edit(h.conf, conf, "lt-cred-mech\n", "lt-cred-mech\nno-auth\n"), []string{"no-auth"}},
		"another address":              {edit(h.yml, yml, h.rest(), "127.0.0.1:0"), []string{"changed since turnwarden was started: api.listen", "restart turnwarden"}},
		"another turnserver.conf":      {edit(h.conf, conf, "max-port=29999", "max-port=29998"), []string{"changed since turnwarden was started: " + h.conf}},
		"a turnserver.conf elsewhere": {func() {
			h.write(t, h.conf+".new", string(conf))
			edit(h.yml, yml, h.conf, h.conf+".new")()
		}, []string{"changed since turnwarden was started: coturn.config_file", "restart turnwarden"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.change()
			defer func() {
				h.write(t, h.yml, string(yml))
				h.write(t, h.conf, string(conf))
				h.install(t, program())
			}()
			out, code := h.ask(t, "upgrade")
			if code != codeError || !strings.Contains(out, "goes on: ") {
				t.Errorf("exit code %d\n%s", code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if after, err := fetch(h.rest()); err != nil || after != before {
				t.Errorf("credential %+v, %v; want %+v", after, err, before)
			}
			if code, body, err := h.get("/-/ready"); err != nil || code != 200 {
				t.Errorf("ready: %d %s %v", code, body, err)
			}
		})
	}
	if log := h.tail(); !strings.Contains(log, `msg="not upgraded: this version goes on"`) {
		t.Errorf("the log does not say it:\n%s", log)
	}
	alive(t, calls)
	if out, code := h.ask(t, "upgrade"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	alive(t, calls)
	if now := h.child(t); now != child || h.cmd.Process.Pid != pid {
		t.Errorf("turnserver %d, before %d", now, child)
	}
}
