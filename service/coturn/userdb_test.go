package coturn_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/turnwarden/turnwarden/service/coturn"
	"github.com/turnwarden/turnwarden/service/realtest"
)

const realm = "turn.example.org"

// newUserDB names a database in a directory of its own. Tests that are run by
// root give turnserver another uid, as the packages do.
func newUserDB(t *testing.T) coturn.UserDB {
	t.Helper()
	realtest.Require(t, "turnadmin", "sqlite3", "turnserver")
	dir := openTempDir(t)
	db := coturn.UserDB{Path: filepath.Join(dir, "turndb"), Realm: realm}
	if os.Getuid() == 0 {
		db.As = &syscall.Credential{Uid: 65534, Gid: 65534}
		chown(t, dir, db)
	}
	return db
}

func preparedUserDB(t *testing.T) coturn.UserDB {
	t.Helper()
	db := newUserDB(t)
	check(t, db.Prepare(t.Context(), "turnadmin"))
	return db
}

func chown(t *testing.T, path string, db coturn.UserDB) {
	t.Helper()
	if db.As == nil {
		return
	}
	check(t, os.Chown(path, int(db.As.Uid), int(db.As.Gid)))
}

// sqlite runs statements as the test's own uid.
func sqlite(t *testing.T, path, statements string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sqlite3", "-batch", "-bail", path)
	cmd.Stdin = strings.NewReader(".timeout 5000\n" + statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n")
}

// openTempDir is a TempDir that another uid can enter.
func openTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{filepath.Dir(dir), dir} {
		check(t, os.Chmod(path, 0o755))
	}
	return dir
}

// script makes a program that stands in for turnadmin or sqlite3.
func script(t *testing.T, name, body string) string {
	t.Helper()
	path := filepath.Join(openTempDir(t), name)
	// No child of another test may be forked with this file open for writing:
	// to execute it would fail with ETXTBSY.
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o600)
	syscall.ForkLock.RUnlock()
	check(t, err)
	check(t, os.Chmod(path, 0o755))
	return path
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPrepare(t *testing.T) {
	const tables = "SELECT count(*) FROM sqlite_master WHERE type = 'table';"
	tests := map[string]struct {
		before func(t *testing.T, db coturn.UserDB)
		mode   os.FileMode
		users  string
	}{
		"new file":   {func(*testing.T, coturn.UserDB) {}, 0o600, ""},
		"empty file": {func(t *testing.T, db coturn.UserDB) { create(t, db, "") }, 0o644, ""},
		"with a user and a rollback journal": {func(t *testing.T, db coturn.UserDB) {
			create(t, db, "")
			check(t, coturn.NewTurnadmin("turnadmin", db).Put(t.Context(), "alice", "secret"))
			if mode := sqlite(t, db.Path, "PRAGMA journal_mode;"); mode != "delete" {
				t.Fatalf("journal mode %s before", mode)
			}
		}, 0o644, "alice"},
		"three of eight tables": {func(t *testing.T, db coturn.UserDB) {
			create(t, db, "CREATE TABLE turnusers_lt (realm varchar(127) default '', name varchar(512), hmackey char(128), PRIMARY KEY (realm, name)); CREATE TABLE oauth_key (kid); CREATE TABLE admin_user (name); INSERT INTO turnusers_lt VALUES ('"+realm+"', 'bob', '00');")
		}, 0o644, "bob"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := newUserDB(t)
			tt.before(t, db)
			for range 2 { // the second time nothing is left to do
				check(t, db.Prepare(t.Context(), "turnadmin"))
			}
			fi, err := os.Stat(db.Path)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Mode() != tt.mode {
				t.Errorf("mode %v, want %v", fi.Mode(), tt.mode)
			}
			if owner := fi.Sys().(*syscall.Stat_t).Uid; db.As != nil && owner != db.As.Uid {
				t.Errorf("owned by uid %d", owner)
			}
			if mode := sqlite(t, db.Path, "PRAGMA journal_mode;"); mode != "wal" {
				t.Errorf("journal mode %s", mode)
			}
			if n := sqlite(t, db.Path, tables); n != "8" {
				t.Errorf("%s tables, want 8", n)
			}
			users := sqlite(t, db.Path, "SELECT name FROM turnusers_lt;")
			if diff := cmp.Diff(tt.users, users); diff != "" {
				t.Errorf("users -want +got:\n%s", diff)
			}
		})
	}
}

func create(t *testing.T, db coturn.UserDB, statements string) {
	t.Helper()
	check(t, os.WriteFile(db.Path, nil, 0o600))
	check(t, os.Chmod(db.Path, 0o644))
	if statements != "" {
		sqlite(t, db.Path, statements)
	}
	chown(t, db.Path, db)
}

// Each failure is one line with the path, the uid where it matters, and what
// to do; a file that the attempt created is gone again.
func TestPrepareRefuses(t *testing.T) {
	uid := fmt.Sprint(os.Getuid())
	if uid == "0" {
		uid = "65534"
	}
	chmod := func(t *testing.T, path string, mode os.FileMode) {
		if os.Getuid() == 0 {
			check(t, os.Chown(path, 0, 0))
		}
		check(t, os.Chmod(path, mode))
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	prepare := func(t *testing.T, db coturn.UserDB) {
		check(t, db.Prepare(t.Context(), "turnadmin"))
	}
	tests := map[string]struct {
		turnadmin string
		path      string // below the directory
		before    func(t *testing.T, db coturn.UserDB)
		want      string // %[1]s is the path, %[2]s its directory, %[3]s the uid
	}{
		"no turnadmin": {
			turnadmin: "/nonexistent/turnadmin",
			want:      `turnadmin cannot be run: exec: "/nonexistent/turnadmin": stat /nonexistent/turnadmin: no such file or directory: install the package coturn or set coturn.turnadmin to its path`,
		},
		"no sqlite3": {
			turnadmin: "/bin/true",
			before:    func(t *testing.T, _ coturn.UserDB) { t.Setenv("PATH", t.TempDir()) },
			want:      `sqlite3 cannot be run: exec: "sqlite3": executable file not found in $PATH: install the package sqlite3`,
		},
		"no directory": {
			path: "missing/turndb",
			want: "directory %[2]s of the userdb does not exist: create it, owned by uid %[3]s",
		},
		"directory below a file": {
			path:   "file/turndb",
			before: func(t *testing.T, db coturn.UserDB) { create(t, coturn.UserDB{Path: filepath.Dir(db.Path)}, "") },
			want:   "create userdb: open %[1]s: not a directory: correct userdb= in turnserver.conf",
		},
		"directory in place of the file": {
			before: func(t *testing.T, db coturn.UserDB) {
				check(t, os.Mkdir(db.Path, 0o700))
			},
			want: "userdb %[1]s is not a file (drwx------): give userdb= in turnserver.conf the path of a file",
		},
		"directory unwritable": {
			before: func(t *testing.T, db coturn.UserDB) { chmod(t, filepath.Dir(db.Path), 0o555) },
			want:   "directory %[2]s of the userdb cannot be written by uid %[3]s, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		},
		"directory unwritable, file there": {
			before: func(t *testing.T, db coturn.UserDB) { prepare(t, db); chmod(t, filepath.Dir(db.Path), 0o555) },
			want:   "directory %[2]s of the userdb cannot be written by uid %[3]s, and SQLite keeps its -wal and -shm files there: chown it to that uid and let that pass the directories above, or move the userdb",
		},
		"file read-only": {
			before: func(t *testing.T, db coturn.UserDB) { prepare(t, db); chmod(t, db.Path, 0o444) },
			want:   "userdb %[1]s cannot be read and written by uid %[3]s: chown it to that uid, mode 0600",
		},
		"file unreadable": {
			before: func(t *testing.T, db coturn.UserDB) { prepare(t, db); chmod(t, db.Path, 0o000) },
			want:   "userdb %[1]s cannot be read and written by uid %[3]s: chown it to that uid, mode 0600",
		},
		"not a database": {
			before: func(t *testing.T, db coturn.UserDB) {
				create(t, db, "")
				check(t, os.WriteFile(db.Path, []byte(strings.Repeat("user=alice:secret\n", 100)), 0o600))
			},
			want: "userdb %[1]s is not an sqlite database: move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"another program's table": {
			before: func(t *testing.T, db coturn.UserDB) {
				create(t, db, "CREATE TABLE turnusers_lt (realm, name, hmackey);")
			},
			want: "userdb %[1]s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"turnadmin that does nothing": {
			turnadmin: "/bin/true",
			want:      "userdb %[1]s lacks coturn's table turnusers_lt (realm, name, hmackey): move the file away, a new one is then created, or correct userdb= in turnserver.conf",
		},
		"locked": {
			before: func(t *testing.T, db coturn.UserDB) { prepare(t, db); lock(t, db, "IMMEDIATE") },
			want:   "userdb %[1]s is locked by another program for more than 3s: end that program (fuser -v %[1]s names it)",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			db := newUserDB(t)
			if tt.path != "" {
				db.Path = filepath.Join(filepath.Dir(db.Path), tt.path)
			}
			if tt.before != nil {
				tt.before(t, db)
			}
			_, missing := os.Lstat(db.Path)
			turnadmin := "turnadmin"
			if tt.turnadmin != "" {
				turnadmin = tt.turnadmin
			}
			err := db.Prepare(t.Context(), turnadmin)
			if err == nil {
				t.Fatal("accepted")
			}
			want := strings.NewReplacer("%[1]s", db.Path, "%[2]s", filepath.Dir(db.Path), "%[3]s", uid).Replace(tt.want)
			if diff := cmp.Diff(want, err.Error()); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if files, _ := filepath.Glob(db.Path + "*"); missing != nil && len(files) != 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}
