package coturn_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestDetectVersion(t *testing.T) {
	realtest.Require(t, "turnserver")
	want, err := exec.Command("turnserver", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := coturn.DetectVersion(t.Context(), "turnserver")
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(want)), got.String()) {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

// coturn 4.6.2 logs before it answers, and opens a log file in order to.
func TestDetectVersionThatLogs(t *testing.T) {
	dir := t.TempDir()
	kept := filepath.Join(dir, "turn_1_other.log")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := coturn.DetectVersion(t.Context(), fakeTurnserver(t, `
log=`+dir+`/turn_$$_2026-11-22.log
: > $log
echo "0: (1): INFO: log file opened: $log"
echo "0: (1): INFO: log file opened: `+kept+`"
echo "0: (1): INFO: System cpu num is 2"
echo 4.6.2`))
	if want := (coturn.Version{Major: 4, Minor: 6, Patch: 2}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if left, err := filepath.Glob(dir + "/*"); err != nil || len(left) != 1 || left[0] != kept {
		t.Errorf("got %q, want its own log file removed and %s kept", left, kept)
	}
}

func TestDetectVersionFails(t *testing.T) {
	realtest.Require(t, "true", "false")
	plain := writeConf(t, "4.6.1")
	tests := map[string]struct{ turnserver, want string }{
		"not in PATH":     {"no-such-turnserver", "no such program; install coturn"},
		"no such path":    {"/nonexistent/turnserver", "no such program; install coturn"},
		"not executable":  {plain, "not a program that uid"},
		"directory":       {filepath.Dir(plain), "not a program that uid"},
		"other program":   {"true", "printed no version (exit status 0)"},
		"failing program": {"false", "printed no version (exit status 1)"},
		"turnadmin":       {"/opt/turnadmin-tools/turnserver", `contains "turnadmin"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := coturn.DetectVersion(t.Context(), tt.turnserver)
			if err == nil || !strings.HasPrefix(err.Error(), tt.turnserver+": ") || !strings.Contains(err.Error(), tt.want) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, tt.want)
			}
		})
	}
}

// Before 4.6.0 there is no --version: the answer is the usage, of which only 4.5.2's has
// acme-redirect.
func TestDetectVersionByUsage(t *testing.T) {
	usage := func(options string) string {
		return `cat >&2 <<'END'
turnserver: unrecognized option '--version'

Usage: turnserver [options]
Options:
` + options + `
END
exit 255`
	}
	build, err := coturn.Detect(t.Context(), fakeTurnserver(t, usage(" --acme-redirect <URL>\tRedirect ACME")))
	if err != nil || build.Version != coturn.Oldest || build.Prometheus {
		t.Errorf("4.5.2: got %+v, %v", build, err)
	}
	build, err = coturn.Detect(t.Context(), fakeTurnserver(t, usage(" --acme-redirect <URL>\n --prometheus\t\tEnable prometheus metrics")))
	if err != nil || build.Version != coturn.Oldest || !build.Prometheus {
		t.Errorf("4.5.2 with Prometheus: got %+v, %v", build, err)
	}
	for name, script := range map[string]string{
		"a release before 4.5.2": usage(" --no-loopback-peers"),
		"coturn 4.5.1":           "echo 4.5.1",
	} {
		path := fakeTurnserver(t, script)
		_, err := coturn.DetectVersion(t.Context(), path)
		if want := path + ": " + name + " found; coturn 4.5.2 or later accepted; upgrade coturn"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestUntried(t *testing.T) {
	for v, want := range map[coturn.Version]bool{
		coturn.Newest: false, coturn.Oldest: false, {}: false,
		{Major: 4, Minor: 17, Patch: 9}: false, {Major: 4, Minor: 18, Patch: 1}: true, {Major: 5}: true,
	} {
		if v.Untried() != want {
			t.Errorf("%v: %t, want %t", v, !want, want)
		}
	}
}

func TestDetectVersionGivesUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := coturn.DetectVersion(ctx, fakeTurnserver(t, "exec tail -f /dev/null"))
	if err == nil || !strings.Contains(err.Error(), "no answer to --version: context deadline exceeded") {
		t.Errorf("got %v, want no answer", err)
	}
}

func TestVersionFeatures(t *testing.T) {
	tests := map[string]struct {
		version    coturn.Version
		cli, drain bool
	}{
		"4.6.1":  {coturn.Version{Major: 4, Minor: 6, Patch: 1}, false, false},
		"4.6.3":  {coturn.Version{Major: 4, Minor: 6, Patch: 3}, false, true},
		"4.9.9":  {coturn.Version{Major: 4, Minor: 9, Patch: 9}, false, true},
		"4.10.0": {coturn.Version{Major: 4, Minor: 10, Patch: 0}, true, true},
		"5.0.0":  {coturn.Version{Major: 5, Minor: 0, Patch: 0}, true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if v := tt.version; v.HasCLIFlag() != tt.cli || v.CanDrain() != tt.drain || v.String() != name {
				t.Errorf("got %v: cli %v, drain %v, want %v, %v", v, v.HasCLIFlag(), v.CanDrain(), tt.cli, tt.drain)
			}
		})
	}
}

// fakeTurnserver writes a shell script that stands for turnserver.
func fakeTurnserver(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "turnserver")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// What a build can do it is asked, because the release does not tell: until 4.14 the
// Prometheus endpoint was compiled in or not.
func TestDetectPrometheus(t *testing.T) {
	const unknown = `[ "$1" = --version ] || echo "turnserver: unrecognized option '$1'" >&2`
	tests := map[string]struct {
		script string
		want   bool
	}{
		"Debian's 4.6.1":         {unknown + "\necho 4.6.1", false},
		"one that refuses":       {`[ "$1" = --version ] || { ` + unknown + "; exit 255; }\necho 4.6.2", false},
		"musl's words":           {`[ "$1" = --version ] || echo "turnserver: unrecognized option: prometheus" >&2` + "\necho 4.6.2", false},
		"upstream's 4.6.2":       {"echo '0: (1): INFO: System cpu num is 2'\necho 4.6.2", true},
		"upstream's 4.17.1":      {"echo 4.17.1", true},
		"one that starts to run": {`[ "$1" = --version ] || { echo "2026-11-22T16:05:26.533+0000 INFO Listener address to use: 127.0.0.1"; exit 0; }` + "\necho 4.17.1", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := coturn.Detect(t.Context(), fakeTurnserver(t, tt.script))
			if err != nil || got.Prometheus != tt.want {
				t.Errorf("got %+v, %v, want Prometheus %t", got, err, tt.want)
			}
		})
	}
	realtest.Require(t, "turnserver")
	got, err := coturn.Detect(t.Context(), "turnserver")
	if known := got.Version == (coturn.Version{Major: 4, Minor: 6, Patch: 1}); err != nil || known && got.Prometheus {
		t.Errorf("got %+v, %v", got, err)
	}
}
