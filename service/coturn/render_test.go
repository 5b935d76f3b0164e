package coturn_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

func TestRender(t *testing.T) {
	c, err := coturn.ReadConf("testdata/conf/full.conf", coturn.ModeUser)
	if err != nil {
		t.Fatal(err)
	}
	old, young := coturn.Version{Major: 4, Minor: 6, Patch: 1}, coturn.Version{Major: 4, Minor: 17, Patch: 1}
	tests := map[string]coturn.Runtime{
		"4.6.1":         {Version: old, CLI: true, CLIPort: 5766, CLIPassword: "s3cret"},
		"4.6.1-no-cli":  {Version: old},
		"4.17.1":        {Version: young, CLI: true, CLIPort: 5766, CLIPassword: "s3cret"},
		"4.17.1-no-cli": {Version: young},
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			want := readTestFile(t, "testdata/conf/full-"+name+".golden")
			if diff := cmp.Diff(string(want), string(c.Render(r))); diff != "" {
				t.Errorf("rendered (-want +got):\n%s", diff)
			}
		})
	}
}

func TestArgsHoldNoSecret(t *testing.T) {
	want := []string{"-c", "/run/x.conf", "--log-file=stdout", "--no-stdout-log", "--pidfile="}
	if diff := cmp.Diff(want, coturn.Args("/run/x.conf")); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestCLIPasswordRedactsItself(t *testing.T) {
	r := coturn.Runtime{CLIPassword: "s3cret"}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("starting", "runtime", r, "password", r.CLIPassword)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(r), fmt.Sprintf("%+v %#v %s %q", r, r, r.CLIPassword, r.CLIPassword), log.String(), string(text)} {
		if strings.Contains(s, "s3cret") || !strings.Contains(s, "***") {
			t.Errorf("%s: want *** for the password", s)
		}
	}
}

func TestCheckReadable(t *testing.T) {
	realtest.Require(t, "test")
	if os.Geteuid() != 0 {
		realtest.Missing(t, "only root can ask as another user")
	}
	dir := t.TempDir()
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	write := func(name string, directory, file os.FileMode, uid int) string {
		path := filepath.Join(dir, name, "turnserver.conf")
		for _, err := range []error{
			os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600), os.Chown(path, uid, -1),
			os.Chmod(path, file), os.Chmod(filepath.Dir(path), directory),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	// The test's directory is for its owner alone.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		path string
		as   *syscall.Credential
		ok   bool
	}{
		"own file":           {write("own", 0o755, 0o600, 65534), nobody, true},
		"file of root":       {write("root", 0o755, 0o600, 0), nobody, false},
		"closed directory":   {write("closed", 0o700, 0o600, 65534), nobody, false},
		"missing":            {dir + "/none", nobody, false},
		"ourselves":          {write("ours", 0o700, 0o600, 0), nil, true},
		"ourselves, missing": {dir + "/none", nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := coturn.CheckReadable(t.Context(), tt.path, tt.as)
			if tt.ok != (err == nil) {
				t.Fatalf("got %v, want readable: %v", err, tt.ok)
			}
			if err != nil && !strings.HasPrefix(err.Error(), tt.path+": unreadable for uid ") {
				t.Errorf("got %v, want the path and the uid", err)
			}
		})
	}
}
