package realtest

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// CreateDatabase lets turnadmin, who knows the schema, create the tables. Users
// are written with sqlite3, which, unlike turnadmin, waits for a lock.
func CreateDatabase(t testing.TB, path string) {
	t.Helper()
	out, err := exec.Command("turnadmin", "-l", "-b", path).CombinedOutput()
	if err != nil {
		t.Fatalf("create user database: %v\n%s", err, out)
	}
	// Every call leaves a log file behind; coturn has no option against it.
	if m := regexp.MustCompile(`log file opened: (\S+)`).FindSubmatch(out); m != nil {
		_ = os.Remove(string(m[1]))
	}
	sql(t, path, "PRAGMA journal_mode=WAL")
}

// AddUser adds a user of the realm or replaces its password.
func AddUser(t testing.TB, path, realm, user, password string) {
	t.Helper()
	key := md5.Sum([]byte(user + ":" + realm + ":" + password)) // RFC 8489, 9.2.2
	sql(t, path, fmt.Sprintf("INSERT OR REPLACE INTO turnusers_lt(realm, name, hmackey) VALUES('%s', '%s', '%x')", realm, user, key))
}

func sql(t testing.TB, path, statement string) {
	t.Helper()
	if out, err := exec.Command("sqlite3", "-cmd", ".timeout 5000", path, statement).CombinedOutput(); err != nil {
		t.Fatalf("run %q: %v\n%s", statement, err, out)
	}
}
