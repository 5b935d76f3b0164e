package turnadmin_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/turnwarden/turnwarden/service/realtest"
	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/turnadmin"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

// What turnadmin is seen to do wrong, no caller may take for success.
func TestTurnadminMisbehaves(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"lies":          {"exit 0", "store the user: the userdb does not show it afterwards"},
		"fails":         {"echo no luck >&2; exit 3", "store the user: turnadmin says: exit status 3"},
		"aborts":        {"kill -ABRT $$", "store the user: turnadmin says: signal: aborted"},
		"admits it":     {`echo "0: : ERROR: Wrong password: $*"`, "store the user: turnadmin says: Wrong password: -a -b %s -u *** -r " + userdbtest.Realm + " -p ***"},
		"admits, rc 1":  {`echo "0: : ERROR: Cannot open"; exit 1`, "store the user: turnadmin says: Cannot open"},
		"wrong program": {"", "store the user: run turnadmin: fork/exec %s: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := userdbtest.Prepared(t)
			program := userdbtest.Script(t, "turnadmin", tt.body)
			want := fmt.Sprintf(strings.ReplaceAll(tt.want, "%s", "%[1]s"), db.Path)
			if tt.body == "" {
				userdbtest.Check(t, os.WriteFile(program, []byte("\x7fELF"), 0o600))
				want = fmt.Sprintf(tt.want, program)
			} else if !strings.Contains(tt.want, "%s") {
				want = tt.want
			}
			s := turnadmin.New(program, db, sqlite.DB{File: db})
			err := s.Put(t.Context(), "alice", "s3cretword")
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			userdbtest.WantUsers(t, s)
		})
	}

	t.Run("hangs", func(t *testing.T) {
		t.Parallel()
		db := userdbtest.Prepared(t)
		dir := userdbtest.TempDir(t)
		log := filepath.Join(dir, "turn_$$_2026-11-22.log")
		userdbtest.Check(t, os.Chmod(dir, 0o777))
		// Like turnadmin, it has its log file open when it hangs, and what it
		// printed about that is still in its buffer.
		program := userdbtest.Script(t, "turnadmin", "exec 9>"+log+"; sleep 1000 & echo $! >"+dir+"/child; echo $$ >"+dir+"/hangs; wait")
		s := turnadmin.New(program, db, sqlite.DB{File: db})
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { first <- s.Put(ctx, "alice", "s3cretword") }()
		realtest.Eventually(t, 10*time.Second, func() error { return hasLine(dir + "/hangs") })

		waiting, cancelWaiting := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancelWaiting()
		if err := s.Delete(waiting, "bob"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second call: %v", err)
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "s3cretword") {
			t.Errorf("the hanging call: %v", err)
		}
		if left, _ := filepath.Glob(dir + "/turn_*"); len(left) != 0 {
			t.Errorf("left behind: %v", left)
		}
		child, err := os.ReadFile(dir + "/child")
		userdbtest.Check(t, err)
		realtest.Eventually(t, 10*time.Second, func() error { return ended(strings.TrimSpace(string(child))) })
	})
}

func hasLine(path string) error {
	if text, err := os.ReadFile(path); err != nil || !strings.HasSuffix(string(text), "\n") {
		return fmt.Errorf("%s: %q %w", path, text, err)
	}
	return nil
}

// ended reports an error while the process is there and no zombie.
func ended(pid string) error {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		return fmt.Errorf("still there: %s", stat)
	}
	return nil
}

func TestTurnadminOutlastsALock(t *testing.T) {
	db := userdbtest.Prepared(t)
	ran := filepath.Join(filepath.Dir(db.Path), "ran")
	s := turnadmin.New(userdbtest.Script(t, "turnadmin", "rm -f $(turnadmin \"$@\" | sed -n 's/.*log file opened: //p'); echo ran >>"+ran), db, sqlite.DB{File: db})
	unlock := userdbtest.Lock(t, db, "IMMEDIATE")
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), "alice", "secret") }()
	realtest.Eventually(t, 10*time.Second, func() error { return hasLine(ran) })
	unlock()
	userdbtest.Check(t, <-done)
	userdbtest.WantUsers(t, s, "alice")
	if text, err := os.ReadFile(ran); err != nil || string(text) != "ran\nran\n" {
		t.Errorf("turnadmin %q, %v; want two runs, the first in vain", text, err)
	}
}

// Each run of turnadmin leaves a log file in the first of these directories
// that it can write, and no option prevents that.
func TestTurnadminLeavesNoLogFile(t *testing.T) {
	db := userdbtest.Prepared(t)
	pids := filepath.Join(filepath.Dir(db.Path), "pids")
	s := turnadmin.New(userdbtest.Script(t, "turnadmin", "echo $$ >>"+pids+"; exec turnadmin \"$@\""), db, sqlite.DB{File: db})
	userdbtest.Check(t, s.Put(t.Context(), "alice", "secret"))
	userdbtest.Check(t, s.Delete(t.Context(), "alice"))
	text, err := os.ReadFile(pids)
	userdbtest.Check(t, err)
	ran := strings.Fields(string(text))
	if len(ran) < 2 {
		t.Fatalf("turnadmin ran as %v", ran)
	}
	for _, pid := range ran {
		for _, dir := range []string{"/var/log/turnserver", "/var/log", "/var/tmp", "/tmp", "."} {
			if left, _ := filepath.Glob(filepath.Join(dir, "turn_"+pid+"_*.log")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		}
	}
}
