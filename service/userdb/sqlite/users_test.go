package sqlite_test

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/turnwarden/turnwarden/service/userdb/sqlite"
	"github.com/turnwarden/turnwarden/service/userdb/userdbtest"
)

// A sqlite3 that does nothing, and says so to nobody, has stored nothing.
func TestSQLiteLies(t *testing.T) {
	db := userdbtest.Prepared(t)
	t.Setenv("PATH", filepath.Dir(userdbtest.Script(t, "sqlite3", "exit 0"))+":"+os.Getenv("PATH"))
	for name, s := range map[string]userdbtest.Store{"users": sqlite.NewUsers(sqlite.DB{File: db}), "secrets": sqlite.NewSecrets(sqlite.DB{File: db})} {
		if err := s.Put(t.Context(), "alice", "s3cretword"); err == nil || !strings.Contains(err.Error(), "does not show it afterwards") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Neither the password nor the key, which is as good, may be where every user
// of the host can read it.
func TestSQLiteShowsNoSecret(t *testing.T) {
	db := userdbtest.Prepared(t)
	seen := filepath.Join(filepath.Dir(db.Path), "seen")
	sqlite3, err := exec.LookPath("sqlite3")
	userdbtest.Check(t, err)
	spy := userdbtest.Script(t, "sqlite3", "cat /proc/$$/cmdline /proc/$$/environ >>"+seen+"; exec "+sqlite3+" \"$@\"")
	t.Setenv("PATH", filepath.Dir(spy)+":"+os.Getenv("PATH"))
	for _, s := range []userdbtest.Store{sqlite.NewUsers(sqlite.DB{File: db}), sqlite.NewSecrets(sqlite.DB{File: db})} {
		userdbtest.Check(t, s.Put(t.Context(), "alice", "s3cretword"))
		userdbtest.Check(t, s.Delete(t.Context(), "alice"))
	}
	text, err := os.ReadFile(seen)
	userdbtest.Check(t, err)
	if !strings.Contains(string(text), db.Path) {
		t.Fatalf("the spy saw only %q", text)
	}
	key := fmt.Sprintf("%x", md5.Sum([]byte("alice:"+userdbtest.Realm+":s3cretword")))
	if words := []string{"s3cretword", key, fmt.Sprintf("%x", "s3cretword")}; slices.ContainsFunc(words, func(w string) bool { return strings.Contains(string(text), w) }) {
		t.Errorf("a secret in %q", text)
	}
}
